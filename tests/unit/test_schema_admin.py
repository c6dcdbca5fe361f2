"""Which schemas a world needs, and what is wrong with them, without a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import load_contract
from streams.errors import ContractError, SettingsError
from streams.schema_admin import wanted_file, wanted_subjects
from streams.schema_checks import check_contract, is_contract, problems_of_raw
from streams.settings import DatasetSettings, Settings

VENDOR: dict[str, Any] = {
    "type": "record",
    "name": "VendorBar",
    "fields": [
        {"name": n, "type": "string"} for n in ("ticker", "date", "o", "h", "l", "c")
    ],
}  # fmt: skip


def settings(**datasets: DatasetSettings) -> Settings:
    return Settings(world="w", datasets=datasets or {"bars": DatasetSettings(contract="ohlcv")})


def written(folder: Path, schema: Any) -> str:
    path = folder / "schema.avsc"
    path.write_text(json.dumps(schema))
    return str(path)


def broken_contract(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(load_contract("ohlcv").schema)) | changes


def test_a_world_needs_the_contract_twice_the_raw_schema_and_the_events() -> None:
    wanted = {w.subject: (w.role, w.source, w.compatibility) for w in wanted_subjects(settings())}
    assert wanted == {
        "w.raw.bars-value": ("raw", "ohlcv", "BACKWARD"),
        "w.normalized.bars-value": ("contract", "ohlcv", "FULL_TRANSITIVE"),
        "w.history.bars-value": ("contract", "ohlcv", "FULL_TRANSITIVE"),
        "w.quarantine.bars-value": ("event", "quarantined_row", "FULL_TRANSITIVE"),
        "w.quarantine.state.bars-value": ("event", "quarantine_state", "FULL_TRANSITIVE"),
        "w.conformance.state.bars-value": ("event", "conformance_state", "FULL_TRANSITIVE"),
        "w.conformance.reports-value": ("event", "conformance_report", "FULL_TRANSITIVE"),
        "w.backfill.shards-value": ("event", "backfill_shard", "FULL_TRANSITIVE"),
        "w.backfill.shards.urgent-value": ("event", "backfill_shard", "FULL_TRANSITIVE"),
        "w.backfill.dlq-value": ("event", "backfill_shard", "FULL_TRANSITIVE"),
        "w.backfill.progress-value": ("event", "backfill_progress", "FULL_TRANSITIVE"),
        "w.backfill.control-value": ("event", "backfill_control", "FULL_TRANSITIVE"),
        "w.backfill.leases-value": ("event", "backfill_lease", "FULL_TRANSITIVE"),
        "w.sla.observations-value": ("event", "sla_observation", "FULL_TRANSITIVE"),
        "w.sla.breaches-value": ("event", "sla_breach", "FULL_TRANSITIVE"),
        "w.sla.state-value": ("event", "sla_state", "FULL_TRANSITIVE"),
        "w.schema.governance-value": ("event", "schema_governance", "FULL_TRANSITIVE"),
        "w.schema.audit-value": ("event", "schema_audit", "FULL_TRANSITIVE"),
        "w.operations-value": ("event", "operation", "FULL_TRANSITIVE"),
    }


def test_one_dataset_leaves_out_the_topics_of_the_others_only() -> None:
    both = settings(a=DatasetSettings(contract="ohlcv"), b=DatasetSettings(contract="trade"))
    assert {w.dataset for w in wanted_subjects(both, "a")} == {None, "a"}
    with pytest.raises(SettingsError, match="nosuch"):
        wanted_subjects(both, "nosuch")


def test_a_vendors_schema_stands_under_the_raw_subject_only(tmp_path: Path) -> None:
    path = written(tmp_path, VENDOR)
    wanted = wanted_subjects(settings(bars=DatasetSettings(contract="ohlcv", raw_schema=path)))
    assert [w.subject for w in wanted if w.schema == VENDOR] == ["w.raw.bars-value"]
    assert not any(w.problems for w in wanted)


def test_a_raw_schema_that_the_contract_cannot_conform_names_the_field(tmp_path: Path) -> None:
    path = written(tmp_path, VENDOR | {"fields": VENDOR["fields"][:-1]})
    wanted = wanted_subjects(settings(bars=DatasetSettings(contract="ohlcv", raw_schema=path)))
    assert {w.subject for w in wanted if w.problems} == {"w.raw.bars-value"}
    assert "field close" in next(w.problems[0] for w in wanted if w.problems)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rules": [{"name": "r", "sql": "hihg >= low", "bit": 40}]}, "rule r: there is no column 'hihg'"),
        ({"rules": [{"name": "r", "sql": "high >=", "bit": 40}]}, "rule r: the SQL does not compile"),
        ({"rules": [{"name": "r", "sql": "high + low", "bit": 40}]}, "rule r: the SQL must be true or false"),
        ({"identity": ["nope"]}, "identity names the field 'nope'"),
    ],
)
def test_a_broken_contract_is_found_before_the_registry_is_asked(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = written(tmp_path, broken_contract(**changes))
    wanted = wanted_subjects(settings(bars=DatasetSettings(contract=path)))
    broken = {w.subject: w.problems for w in wanted if w.problems}
    assert set(broken) == {"w.raw.bars-value", "w.normalized.bars-value", "w.history.bars-value"}
    assert all(complaint in problems[0] for problems in broken.values())


def test_an_unknown_role_is_refused_by_field(tmp_path: Path) -> None:
    schema = broken_contract()
    schema["fields"][2]["role"] = "prize"
    with pytest.raises(ContractError, match="field open: role 'prize' is unknown"):
        check_contract(schema)


def test_a_missing_file_is_a_problem_of_its_subjects_and_no_trace() -> None:
    wanted = wanted_subjects(settings(bars=DatasetSettings(contract="ohlcv", raw_schema="nosuch.avsc")))
    assert [w.subject for w in wanted if w.problems] == ["w.raw.bars-value"]


def test_a_schema_means_to_be_a_contract_if_a_field_has_a_role() -> None:
    assert is_contract(load_contract("quote").schema)
    assert not is_contract(VENDOR)
    assert not is_contract({"type": "record", "name": "X", "fields": "none"})


def test_a_zone_that_does_not_exist_is_a_problem_of_its_field() -> None:
    strange = VENDOR | {
        "fields": [f | {"timezone": "Mars/Olympus"} for f in VENDOR["fields"][:1]] + VENDOR["fields"][1:]
    }
    assert "field ticker: timezone 'Mars/Olympus'" in problems_of_raw(strange, load_contract("ohlcv"))[0]


def test_a_file_under_a_contract_subject_must_be_a_contract(tmp_path: Path) -> None:
    path = Path(written(tmp_path, VENDOR))
    assert wanted_file(settings(), path, "w.normalized.bars-value").problems
    assert not wanted_file(settings(), path, "w.raw.bars-value").problems
    assert wanted_file(settings(), path, "elsewhere-value").compatibility == "BACKWARD"


def test_a_file_under_a_raw_subject_must_fit_its_contract(tmp_path: Path) -> None:
    path = Path(written(tmp_path, VENDOR | {"fields": VENDOR["fields"][:3]}))
    problems = wanted_file(settings(), path, "w.raw.bars-value").problems
    assert {p.split(":")[0] for p in problems} == {"field high", "field low", "field close"}
