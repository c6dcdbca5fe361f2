"""Any chain of evolutions that the check lets pass keeps every stored row readable, and all of them normalize alike."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import parse_record
from schemas.codec import Decoder
from schemas.codec_reference import ReferenceCodec
from schemas.compatibility import breaks
from schemas.conformance import ConformancePipeline
from schemas.contract import load_contract
from streams.subject_versions import judge_versions
from tests.support.bars import good_bar
from tests.support.evolutions import really_reads
from tests.support.examples import examples

CONTRACT = load_contract("ohlcv")
Schema = dict[str, Any]
WIDER = {"int": "long", "long": "double", "float": "double"}
KINDS: dict[str, Any] = {"string": "", "long": 0, "double": 0.5, "boolean": False}
OTHERS: dict[str, Any] = {"string": "x", "long": 7, "double": 1.5, "boolean": True}


def first() -> Schema:
    """A vendor's bar: the contract's fields, volume counted in whole numbers."""
    fields = [{"name": f["name"], "type": f["type"]} for f in copy.deepcopy(CONTRACT.schema["fields"])]
    next(f for f in fields if f["name"] == "volume")["type"] = "int"
    return {"type": "record", "name": "Bar", "namespace": "vendor", "fields": fields}


@st.composite
def evolved(draw: st.DrawFn, schema: Schema, number: int) -> Schema:
    """Change a schema somehow: about half of what comes out is compatible with what was before."""
    new = copy.deepcopy(schema)
    fields = new["fields"]
    own = [f for f in fields if f["name"].startswith("extra")]
    volume = next(f for f in fields if f["name"] == "volume")
    step = draw(st.sampled_from(["add", "add", "remove", "rename", "widen", "nullable", "default", "order", "doc"]))
    if step == "add":
        kind = draw(st.sampled_from(sorted(KINDS)))
        default = {"default": KINDS[kind]} if draw(st.booleans()) else {}
        fields.insert(draw(st.integers(0, len(fields))), {"name": f"extra{number}", "type": kind, **default})
    elif step == "widen" and isinstance(volume["type"], str):
        volume["type"] = WIDER.get(volume["type"], "string")
    elif step == "nullable" and isinstance(volume["type"], str):
        volume["type"] = draw(st.permutations(["null", volume["type"]]))
    elif step == "order":
        new["fields"] = draw(st.permutations(fields))
    elif step == "doc":
        new["doc"] = f"version {number}"
    elif own:
        chosen = draw(st.sampled_from(own))
        if step == "remove":
            fields.remove(chosen)
        elif step == "rename":
            known = [chosen["name"], *chosen.get("aliases", [])] if draw(st.booleans()) else []
            chosen.update(name=f"extra{number}", aliases=known)
        elif step == "default" and "default" in chosen:
            chosen["default"] = OTHERS[chosen["type"]]
    return new


@st.composite
def chains(draw: st.DrawFn, level: str) -> list[Schema]:
    """A chain of versions, each of which the check let pass."""
    chain = [first()]
    for number in range(draw(st.integers(1, 12))):
        new = draw(evolved(chain[-1], number))
        if new != chain[-1] and not breaks(level, new, list(enumerate(chain, 1))):
            chain.append(new)
    return chain


def row(schema: Schema, minute: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in schema["fields"]:
        if f["name"].startswith("extra"):
            values[f["name"]] = KINDS[f["type"]]
    volume = next(f for f in schema["fields"] if f["name"] == "volume")["type"]
    return good_bar("A", minute) | values | {"volume": 10.0 if "double" in volume else 10}


@pytest.mark.parametrize("level", ["BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"])
@examples(40)
@given(data=st.data())
def test_every_stored_row_of_a_chain_stays_readable_and_normalizes(level: str, data: st.DataObject) -> None:
    chain = data.draw(chains(level))
    for n, old in enumerate(chain):
        assert really_reads(chain[-1], old, (row(old, n),))
        if level == "FULL_TRANSITIVE":
            assert really_reads(old, chain[-1], (row(chain[-1], n),))
    verdicts = judge_versions([(n, n, s) for n, s in enumerate(chain, 1)], CONTRACT, level)
    assert all(v.reason is None for v in verdicts.values())
    records = {n: parse_record(s) for n, s in enumerate(chain, 1)}
    stored = [ReferenceCodec(records[n], n).encode_one(row(s, n)) for n, s in enumerate(chain, 1)]
    decoded = Decoder(records.get).decode(stored)
    assert not decoded.failures
    found = ConformancePipeline(CONTRACT, "blocking", interval_ns=60 * 10**9).run(decoded.parts)
    assert found.report.violations == 0
    assert found.accepted["volume"].to_list() == [10.0] * len(chain)
    assert found.accepted["close"].to_list() == [100.5] * len(chain)
