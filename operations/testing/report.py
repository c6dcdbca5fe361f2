"""Writes what tests said, for `seamless ready`: counts by group, for the version and the very sources that were tested.

A run is added to what the file has of the same sources, in place of an earlier run of the same paths, so that several
calls of pytest make one report. With pytest-xdist each worker says of its tests which group they are of, and the
controller counts.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from streams.build import VERSION, sources_digest
from streams.clock import now
from streams.ready.tested import FORMAT, GROUPS, Counts, Report, Run, read_report

__all__ = ["Grouping", "ReportWriter"]

_MARK = "seamless_group"
_PROPERTY = _MARK
_SETTING = "seamless_groups"
_FAULTS = "seamless_fault_injection"
_MOST_NAMED = 20
_GIT_SECONDS = 10.0


class Grouping:
    """Says of each test which group it is of: by its mark, by its use of injected faults, else by its file's name.

    Args:
        lines: `GROUP: pattern pattern ...` each, of paths relative to pytest's root; what no line names is of
            `regression`.
    """

    def __init__(self, lines: list[str]) -> None:
        self._patterns: list[tuple[str, str]] = []
        for line in lines:
            group, colon, patterns = line.partition(":")
            if not colon or group.strip() not in GROUPS:
                raise pytest.UsageError(f"{_SETTING}: {line!r} is no line such as `{GROUPS[1]}: tests/chaos/*`")
            self._patterns += [(pattern, group.strip()) for pattern in patterns.split()]

    def of_path(self, nodeid: str) -> str:
        """Return the group of a test by its file."""
        path = nodeid.partition("::")[0]
        return next((group for pattern, group in self._patterns if fnmatch(path, pattern)), GROUPS[0])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the group of each test with it, as its report goes to another process."""
        for item in items:
            item.user_properties.append((_PROPERTY, self._of(item)))

    def _of(self, item: pytest.Item) -> str:
        mark = item.get_closest_marker(_MARK)
        if mark is not None:
            if mark.args[:1] not in [(group,) for group in GROUPS]:
                raise pytest.UsageError(f"{item.nodeid}: {_MARK} takes one of {', '.join(GROUPS)}")
            return str(mark.args[0])
        if _FAULTS in getattr(item, "fixturenames", ()):
            return "fault_injection"
        return self.of_path(item.nodeid)


class ReportWriter:
    """Counts the tests of a run, and writes them when it ends."""

    def __init__(self, config: pytest.Config, path: Path, grouping: Grouping) -> None:
        self._config, self._path, self._grouping = config, path, grouping
        self._sources, self._began = sources_digest(), now()
        self._outcomes: dict[str, tuple[str, str]] = {}
        self._broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what became of a test, or of its preparation or end, which may break as well."""
        told = dict(report.user_properties).get(_PROPERTY)
        group = str(told) if told else self._grouping.of_path(report.nodeid)
        if report.failed:
            self._outcomes[report.nodeid] = group, "failed"
        elif report.when == "call" or report.skipped:
            self._outcomes.setdefault(report.nodeid, (group, report.outcome))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take in that a file could not be read."""
        if report.failed:
            self._broken.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the report."""
        finished = now()
        why = self._incomplete(exitstatus)
        run = Run(
            paths=self._paths(),
            started_at=self._began,
            finished_at=finished,
            complete=why is None,
            why=why or "",
            marks=self._config.option.markexpr,
            groups=self._counted(),
            failures=tuple(name for name, (_, outcome) in self._outcomes.items() if outcome == "failed")[:_MOST_NAMED],
        )
        report = Report(
            format=FORMAT,
            version=VERSION,
            sources=self._sources,
            commit=_commit(self._config.rootpath),
            runs=(*self._earlier(run.paths), run),
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        beside.write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
        beside.replace(self._path)

    def _earlier(self, paths: tuple[str, ...]) -> list[Run]:
        before = read_report(self._path)
        if isinstance(before, str) or (before.version, before.sources) != (VERSION, self._sources):
            return []
        return [run for run in before.runs if run.paths != paths]

    def _incomplete(self, exitstatus: int) -> str | None:
        option = self._config.option
        if self._broken:
            return f"{self._broken[0]} could not be collected"
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return f"pytest ended with {exitstatus:d}"
        if option.keyword:
            return f"only tests with {option.keyword!r} in their names were run"
        if getattr(option, "lf", False) or getattr(option, "stepwise", False):
            return "only tests that failed before were run"
        if option.maxfail and any(outcome == "failed" for _, outcome in self._outcomes.values()):
            return "it ended with the first failures"
        if any("::" in path for path in self._config.args):
            return "single tests were named"
        if sources_digest() != self._sources:
            return "the sources changed while it ran"
        return None

    def _paths(self) -> tuple[str, ...]:
        root, came_from = self._config.rootpath, self._config.invocation_params.dir
        found = []
        for path in self._config.args:
            absolute = Path(os.path.normpath(came_from / path))
            inside = absolute.is_relative_to(root)
            found.append(absolute.relative_to(root).as_posix() if inside else absolute.name)
        return tuple(sorted(found))

    def _counted(self) -> dict[str, Counts]:
        counted = Counter(self._outcomes.values())
        groups = sorted({group for group, _ in counted})
        return {
            group: Counts(
                passed=counted[group, "passed"], failed=counted[group, "failed"], skipped=counted[group, "skipped"]
            )
            for group in groups
        }


def _commit(folder: Path) -> str | None:
    """Return the commit that a folder's checkout is at, with a + if files differ from it; None if it is no checkout."""
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(folder), *call], capture_output=True, text=True, check=True, timeout=_GIT_SECONDS
            ).stdout.strip()
            for call in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")
