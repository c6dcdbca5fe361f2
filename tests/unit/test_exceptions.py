"""Exceptions: a violation passes as a warning until a day, reports say so, and wrong or expired ones are found."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.conformance import ConformancePipeline
from schemas.contract import load_contract
from schemas.errors import ContractError
from schemas.exceptions import Exceptions, SchemaException, exceptable, load_exceptions
from schemas.report import merge_reports
from tests.support.bars import good_bar

CONTRACT = load_contract("ohlcv")
TODAY = date(2026, 11, 25)
ENTRY = """
[[exception]]
dataset = "bars"
rule = "non_positive_price"
field = "low"
reason = "the vendor sends 0"
owner = "data"
approver = "risk"
expires = 2026-11-30
"""


def excepting(rule: str | None = None, field: str | None = None, **more: Any) -> SchemaException:
    known = {"reason": "why", "owner": "data", "approver": "risk", "expires": date(2026, 11, 30)}
    return SchemaException(**{"dataset": "bars", "rule": rule, "field": field, **known, **more})


def judge(*exceptions: SchemaException, **row: Any) -> Any:
    frame = pl.DataFrame([good_bar("A", 0), good_bar("A", 1, **row)]).drop("flags")
    return ConformancePipeline(CONTRACT, "blocking", interval_ns=60 * 10**9).run(frame, excepted=exceptions)


def test_a_covered_violation_passes_as_a_warning_with_its_bit_set_and_the_report_says_by_what() -> None:
    refused = judge(low=-1.0)
    assert [r.row for r in refused.rejected] == [1]
    passed = judge(excepting("non_positive_price", "low"), low=-1.0)
    assert not passed.rejected
    assert passed.accepted["flags"][1] & CONTRACT.findings["non_positive_price"].mask
    (finding,) = [f for f in passed.report.findings if f.flag == "non_positive_price"]
    assert (finding.severity, finding.excepted, finding.count) == ("warning", True, 1)
    assert passed.report.violations == 0
    assert "by exception" in str(passed.report.table().columns[1]._cells)


def test_an_exception_for_one_field_covers_no_other_with_the_same_finding() -> None:
    both = {"low": -1.0, "open": -1.0}
    found = judge(excepting("non_positive_price", "low"), **both)
    assert [[(x.flag, x.column) for x in r.reasons] for r in found.rejected] == [[("non_positive_price", "open")]]


def test_an_exception_for_a_field_covers_its_rules_and_one_for_a_rule_all_its_fields() -> None:
    assert not judge(excepting(field="low"), low=-1.0).rejected
    assert not judge(excepting(field="low"), low=float("nan")).rejected
    assert not judge(excepting("non_positive_price"), low=-1.0, open=-1.0).rejected
    assert judge(excepting(field="open"), low=-1.0).rejected
    # A rule over several fields is about each of them.
    assert judge(high=90.0).rejected
    assert not judge(excepting(field="high"), high=90.0).rejected


def test_a_row_that_passes_by_exception_is_remembered_as_any_other() -> None:
    frame = pl.DataFrame([good_bar("A", 0, low=-1.0), good_bar("A", 2)]).drop("flags")
    pipeline = ConformancePipeline(CONTRACT, "blocking", interval_ns=60 * 10**9)
    assert pipeline.run(frame, excepted=[excepting(field="low")]).report.count("gap") == 1
    assert pipeline.run(frame).report.count("gap") == 0


def test_merged_reports_keep_what_passed_by_exception_apart() -> None:
    merged = merge_reports([judge(excepting(field="low"), low=-1.0).report, judge(low=-1.0).report])
    found = {(f.severity, f.excepted, f.count) for f in merged.findings if f.column == "low"}
    assert found == {("warning", True, 1), ("violation", False, 1)}


def test_what_no_value_could_pass_for_is_not_excepted() -> None:
    frame = pl.DataFrame([good_bar("A", 0)]).drop("flags").with_columns(close=pl.lit("much"))
    pipeline = ConformancePipeline(CONTRACT, "blocking")
    assert pipeline.run(frame, excepted=[excepting(field="close")]).rejected
    assert "dtype_mismatch" not in exceptable(CONTRACT)
    assert {"non_positive_price", "high_below_low", "non_finite"} <= set(exceptable(CONTRACT))


def written(folder: Path, text: str) -> Exceptions:
    path = folder / "exceptions.toml"
    path.write_text(text)
    return load_exceptions(path)


def test_an_exception_holds_up_to_its_last_day_and_is_told_of_a_week_before(tmp_path: Path) -> None:
    found = written(tmp_path, ENTRY)
    assert found.active("bars", date(2026, 11, 30))
    assert not found.active("bars", date(2026, 12, 1))
    assert not found.active("others", TODAY)
    assert not found.expiring("bars", date(2026, 11, 23))
    assert found.expiring("bars", date(2026, 11, 24))
    assert not found.expiring("bars", date(2026, 12, 1))


def test_the_shipped_file_has_none_and_its_example_is_one(tmp_path: Path) -> None:
    assert load_exceptions() == Exceptions()
    shipped = (Path(__file__).parents[2] / "schemas" / "exceptions.toml").read_text()
    example = "\n".join(line.removeprefix("# ") for line in shipped.splitlines()[2:])
    (entry,) = written(tmp_path, example).entries
    assert not Exceptions((entry,)).problems({"ohlcv.us.1d": CONTRACT}, TODAY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("owner =", "ownr ="), "exception 1: ownr is unknown: it may have approver, dataset, expires"),
        (('owner = "data"', ""), "exception 1: owner is missing"),
        (('approver = "risk"', 'approver = "Data"'), "the approver is the owner"),
        (("expires = 2026-11-30", 'expires = "soon"'), "expires must be a date"),
        (("expires = 2026-11-30", "expires = 2026-11-30T00:00:00Z"), "expires must be a date"),
        (('rule = "non_positive_price"\nfield = "low"', ""), "name the rule, the field, or both"),
        (('field = "low"', "field = 3"), "field must be text"),
        (("[[exception]]", "[[exceptions]]"), "write each exception as a table"),
        (("[[exception]]", "[[exception"), "cannot be read"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in ENTRY
    with pytest.raises(ContractError, match=says.replace("[", r"\[")):
        written(tmp_path, ENTRY.replace(*change))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (excepting("non_finite"), None),
        (excepting("unknown_schema"), None),
        (excepting("non_finite", expires=date(2026, 11, 24)), "it has expired"),
        (excepting("non_finite", dataset="nosuch"), "there is no dataset 'nosuch' (known: bars)"),
        (excepting("non_finite", "nosuch"), "has no field 'nosuch'"),
        (excepting("nosuch"), "there is no rule 'nosuch': use one of non_finite"),
        (excepting("gap"), "gap is only a warning"),
        (excepting("dtype_mismatch"), "dtype_mismatch cannot be excepted"),
        (excepting("unknown_schema", "low"), "leave out the field"),
    ],
)
def test_problems_name_the_entry_and_the_remedy(entry: SchemaException, says: str | None) -> None:
    problems = Exceptions((entry,)).problems({"bars": CONTRACT}, TODAY)
    if says is None:
        assert not problems
    else:
        (problem,) = problems
        assert problem.startswith(f"exception {entry}: ")
        assert says in problem
