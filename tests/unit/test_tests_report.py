"""The report of tests that `seamless ready` asks for, as pytest writes it: in runs of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from operations.testing.report import Grouping
from streams.build import VERSION, sources_digest
from streams.ready.tested import Counts, Report, read_report

FIRST = '''
import pytest

@pytest.fixture
def ends_badly():
    yield
    raise RuntimeError("on purpose")

@pytest.fixture
def seamless_fault_injection():
    """Stands for the real one, which takes a broker."""

def test_plain(): pass

@pytest.mark.seamless_group("observability")
def test_marked(): pass

def test_with_faults(seamless_fault_injection): pass

@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.xfail(strict=True)
def test_known(): assert False

def test_broken(): assert False

def test_that_ends_badly(ends_badly): pass
'''
SETTINGS = "[pytest]\nseamless_groups =\n    fault_injection: second/*\n"


def ran(folder: Path, *arguments: str) -> Report:
    """Run pytest, and return what it reports."""
    (folder / "pytest.ini").write_text(SETTINGS, "utf-8")
    for name, text in (("first", FIRST), ("second", "def test_named_by_its_place(): pass\n")):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"test_{name}.py").write_text(text, "utf-8")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--seamless-report", "made/r.json", *arguments],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    report = read_report(folder / "made" / "r.json")
    assert isinstance(report, Report), report
    return report


def test_runs_are_counted_by_group_and_added_to_those_of_other_paths(tmp_path: Path) -> None:
    report = ran(tmp_path, "-n", "2", "first")
    assert (report.version, report.sources, report.commit) == (VERSION, sources_digest(), None)
    [run] = report.runs
    assert run.groups == {
        "regression": Counts(passed=1, failed=2, skipped=2),
        "fault_injection": Counts(passed=1),
        "observability": Counts(passed=1),
    }
    assert sorted(run.failures) == ["first/test_first.py::test_broken", "first/test_first.py::test_that_ends_badly"]
    assert (run.paths, run.complete, run.why) == (("first",), True, "")
    assert [each.paths for each in ran(tmp_path, "second").runs] == [("first",), ("second",)]
    partial = ran(tmp_path, "first", "-k", "plain")
    assert [each.paths for each in partial.runs] == [("second",), ("first",)]
    assert "'plain'" in partial.runs[-1].why
    assert partial.runs[0].groups == {"fault_injection": Counts(passed=1)}


@pytest.mark.parametrize("line", ["chaos: tests/*", "fault_injection tests/*"])
def test_a_line_that_names_no_group_is_refused(line: str) -> None:
    with pytest.raises(pytest.UsageError, match="fault_injection: tests/chaos"):
        Grouping([line])


def test_every_pattern_of_our_own_groups_is_of_some_file(pytestconfig: pytest.Config) -> None:
    patterns = [pattern for line in pytestconfig.getini("seamless_groups") for pattern in line.split(":")[1].split()]
    assert patterns
    assert not [pattern for pattern in patterns if not list(pytestconfig.rootpath.glob(pattern))]
