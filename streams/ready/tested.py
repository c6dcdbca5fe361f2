"""What tests said of this version, as pytest writes it with `--seamless-report`, and whether it is enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from streams.durations import as_written
from streams.ready.verdict import Verdict, failed, passed

__all__ = ["DEFAULT_PLACE", "GROUPS", "Counts", "Report", "Run", "read_report", "report_verdict"]

CHECK = "tests"
DEFAULT_PLACE = Path("build", "test-report.json")
GROUPS = ("regression", "fault_injection", "observability")
FORMAT = 1

_OLDEST = timedelta(days=30)
_SHOWN = 3
_WRITE = (
    "Run the tests of this version with `pytest --seamless-report PATH`, as `make test` does, and name it with "
    "--test-report."
)


class _Part(BaseModel):
    # A newer release may say more than this one knows.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Counts(_Part):
    """How many tests of a group came out how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


class Run(_Part):
    """One run of pytest.

    Attributes:
        paths: what it was told to run, relative to pytest's root.
        complete: it was neither cut short nor told to leave out tests by keyword, by name or by what failed last.
        why: why it is not complete; empty if it is.
        marks: its expression of marks; empty if it has none.
        failures: the first tests that failed.
    """

    paths: tuple[str, ...]
    started_at: AwareDatetime
    finished_at: AwareDatetime
    complete: bool
    why: str = ""
    marks: str = ""
    groups: dict[str, Counts]
    failures: tuple[str, ...] = ()


class Report(_Part):
    """What runs of the tests of one version said.

    Attributes:
        version: of the installed package.
        sources: its `sources_digest`.
        commit: what the tests' checkout was at; None outside of one. For people, and judged by nobody.
    """

    format: int
    version: str
    sources: str
    commit: str | None = None
    runs: tuple[Run, ...]


def read_report(path: Path) -> Report | str:
    """Return the report of a file, or why there is none."""
    try:
        report = Report.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return f"there is no report at {path}"
    except OSError as error:
        return f"the report at {path} cannot be read: {error.strerror or error}"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{path} is no report of tests: {where + ': ' if where else ''}{first['msg']}"
    return report if report.format == FORMAT else f"the report at {path} is of format {report.format}, not {FORMAT}"


def report_verdict(report: Report | str, version: str, sources: str, now: datetime) -> Verdict:
    """Judge a report: of this version and its very sources, not old, complete, and each group passed.

    Args:
        report: or why there is none.
        version, sources: of what is installed here.
    """
    if isinstance(report, str):
        return failed(CHECK, report, _WRITE)
    if report.version != version:
        return failed(CHECK, f"the report is of version {report.version}, and {version} is installed", _WRITE)
    if report.sources != sources:
        says = f"the report is of other sources ({report.sources[:12]}) than are installed ({sources[:12]})"
        return failed(CHECK, says, _WRITE)
    oldest = min((run.finished_at for run in report.runs), default=None)
    if oldest is None or now - oldest > _OLDEST:
        told = f"of {oldest:%Y-%m-%d}, older than {as_written(_OLDEST.total_seconds())}" if oldest else "of no run"
        return failed(CHECK, f"the report is {told}", _WRITE)
    partial = next((run for run in report.runs if not run.complete), None)
    if partial is not None:
        return failed(CHECK, f"the run of {' '.join(partial.paths)} is not complete: {partial.why}", _WRITE)
    sums = {group: _sum(run.groups.get(group) for run in report.runs) for group in GROUPS}
    broken = [name for run in report.runs for name in run.failures]
    if any(counts.failed for run in report.runs for counts in run.groups.values()):
        named = ", ".join(broken[:_SHOWN]) + (f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else "")
        return failed(CHECK, f"tests failed: {named}", f"Mend what they show. {_WRITE}")
    missing = [group for group, counts in sums.items() if not counts.passed]
    if missing:
        return failed(CHECK, f"no test passed of {' and '.join(missing)}", _WRITE)
    counted = ", ".join(f"{counts.passed:,} of {group}" for group, counts in sums.items())
    skipped = sum(counts.skipped for counts in sums.values())
    return passed(
        CHECK, f"{counted} passed, {skipped} skipped, of version {version} at {report.commit or sources[:12]}"
    )


def _sum(found: Iterable[Counts | None]) -> Counts:
    each = [counts for counts in found if counts is not None]
    return Counts(
        passed=sum(counts.passed for counts in each),
        failed=sum(counts.failed for counts in each),
        skipped=sum(counts.skipped for counts in each),
    )
