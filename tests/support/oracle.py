"""What the normalizer must have written, computed in one pass over the raw topic without Kafka's help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.avro import AvroRecord, parse_record
from schemas.codec import Decoder, Encoder
from schemas.conformance import ConformancePipeline, Origin, Rejected
from schemas.contract import load_contract
from streams.registry import UnknownSchemaId
from tests.support.worlds import DATASET, World

__all__ = ["Expected", "assert_exactly_once", "expected_of"]


@dataclass(frozen=True)
class Expected:
    """Per partition: payloads of the normalized topic in order, and rejected rows by raw offset."""

    normalized: dict[int, list[bytes]]
    quarantined: dict[int, dict[int, Rejected]]
    dropped: int


def expected_of(world: World) -> Expected:
    """Judge each partition of the raw topic as one batch."""
    contract = load_contract(world.settings.dataset(DATASET).contract)
    wanted = world.settings.dataset(DATASET)
    pipeline = ConformancePipeline(
        contract,
        world.settings.mode_of(DATASET),
        dataset=DATASET,
        world=world.name,
        interval_ns=wanted.interval_ns(),
        calendar=wanted.calendar,
        lateness_ns=wanted.lateness_ns(),
        memory=world.settings.conformance.memory,
    )

    def resolve(schema_id: int) -> AvroRecord | str:
        try:
            return parse_record(world.registry.schema_by_id(schema_id))
        except UnknownSchemaId as error:
            return f"unknown: {error}"

    decoder, encoder = Decoder(resolve), Encoder(contract.record, world.contract_schema.id)
    messages = world.read(world.topic("raw"))
    normalized: dict[int, list[bytes]] = {}
    quarantined: dict[int, dict[int, Rejected]] = {}
    dropped = 0
    for partition in sorted({m.partition() or 0 for m in messages}):
        mine = [m for m in messages if m.partition() == partition]
        offsets = np.array([m.offset() for m in mine], np.int64)
        decoded = decoder.decode([m.value() for m in mine])
        origin = Origin(np.full(len(mine), partition, np.int32), offsets)
        result = pipeline.run(decoded.parts, origin=origin, failures=decoded.failures)
        normalized[partition] = encoder.encode(result.batch)
        quarantined[partition] = {int(offsets[r.row]): r for r in result.rejected}
        dropped += len(result.dropped)
    return Expected(normalized, quarantined, dropped)


def assert_exactly_once(world: World) -> None:
    """The normalized topic equals the oracle's output byte for byte; the quarantine holds each rejected row once."""
    expected = expected_of(world)
    for partition, payloads in expected.normalized.items():
        found = [m.value() for m in world.read(world.topic("normalized")) if m.partition() == partition]
        assert len(found) == len(payloads), f"partition {partition}: {len(found)} rows instead of {len(payloads)}"
        assert found == payloads, f"partition {partition} holds other rows than it should"
    codec = world.event_codec("quarantine", "quarantined_row")
    quarantined = [codec.decode(m.value() or b"") for m in world.read(world.topic("quarantine"))]
    found_rows = sorted((row["partition"], row["offset"]) for row in quarantined)
    assert found_rows == sorted((p, o) for p, rows in expected.quarantined.items() for o in rows)
