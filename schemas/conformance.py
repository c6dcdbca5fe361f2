"""The conformance pipeline: raw rows and the state of their keys in; normalized rows, rejects and a report out.

It is pure: it imports no Kafka, reads no clock and changes no state. One call judges a batch in three steps:

1. *map* raw columns to the contract's, flagging each repair (`schemas.mapping`);
2. *check* field and record rules, row by row (`schemas.rules`);
3. *judge order*: gaps, order, duplicates and revisions against the rows before (`schemas.order`), for rows without a
   violation of their own.

In `shadow` mode every decodable row passes, flagged. In `blocking` mode rows with a violation are rejected with their
reasons and duplicates are dropped. What cannot be decoded is rejected in both: no row exists that could pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.batch import ConformanceResult, Failure, Origin, Part, Reason, Rejected
from schemas.columns import numbers
from schemas.contract import Contract
from schemas.earlier import EarlierRules
from schemas.errors import ContractError
from schemas.exceptions import SchemaException
from schemas.findings import Severity
from schemas.gathering import Gathered, gather, one_batch
from schemas.grid import NANOS, make_grid
from schemas.hashing import hash_rows
from schemas.keystate import KeyStates, StateDelta
from schemas.mapping import UNREAD
from schemas.order import OrderRules, judge
from schemas.report import ConformanceReport, Mode
from schemas.rules import Hit, RuleSet, softened
from schemas.tally import count_failures, count_hits, ranges_of
from schemas.times import known_zone

__all__ = ["ConformancePipeline", "ConformanceResult", "Failure", "Origin", "Part", "Reason", "Rejected"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
DEFAULT_MEMORY = 64
DEFAULT_LATE_INTERVALS = 5
_NO_ROWS = np.zeros(0, np.int64)
_MILLIS = 1_000


class ConformancePipeline:
    """Conforms batches of one dataset to a contract.

    Args:
        contract: the contract.
        mode: `shadow` or `blocking`.
        dataset, world: names for the report.
        interval_ns: the bars' interval; None for ticks, which have no gaps.
        calendar: name of the trading calendar that gaps are judged by.
        lateness_ns: how far behind its key's newest row a row may be before it is late; default five intervals, or
            five seconds for ticks.
        memory: rows remembered per key to find duplicates and revisions.
        timezone: IANA zone of naive times.
        version: the contract's version in the registry, for the report.
        earlier: earlier versions of the contract; rows that were written with one are judged by its rules.

    Raises:
        ContractError: if a rule of the contract does not compile, the calendar or the zone is unknown, lateness is
            negative, or nothing is remembered.
    """

    def __init__(
        self,
        contract: Contract,
        mode: Mode = "shadow",
        *,
        dataset: str = "-",
        world: str = "-",
        interval_ns: int | None = None,
        calendar: str = "24/7",
        lateness_ns: int | None = None,
        memory: int = DEFAULT_MEMORY,
        timezone: str = "UTC",
        version: int | None = None,
        earlier: Mapping[int, Contract] | None = None,
    ) -> None:
        if not known_zone(timezone):
            raise ContractError(f"timezone {timezone!r} is unknown: use an IANA name such as America/New_York")
        if memory < 1:
            raise ContractError(f"memory is {memory}: at least one row per key must be remembered")
        lateness = DEFAULT_LATE_INTERVALS * (interval_ns or NANOS) if lateness_ns is None else lateness_ns
        if lateness < 0:
            raise ContractError(f"lateness is {lateness} ns: it must not be negative")
        self.contract, self.mode, self.dataset, self.world = contract, mode, dataset, world
        self.memory, self.timezone, self.version = memory, timezone, version
        self.rules = RuleSet(contract)
        self._earlier = EarlierRules(contract, earlier or {})
        self._order = OrderRules(
            grid=make_grid(interval_ns, calendar) if interval_ns is not None else None,
            lateness=lateness // (NANOS // contract.time_units),
            per_second=contract.time_units,
            identified_by_time=set(contract.identity) == {contract.key, contract.event_time},
            rejecting=frozenset(
                name
                for name in ("out_of_order", "late", "gap")
                if contract.findings[name].severity is Severity.VIOLATION
            ),
        )
        self._schema = contract.columns
        self._flags_at = self._schema.get_field_index(contract.flags)
        self._time_at = self._schema.get_field_index(contract.event_time)
        self._identity = [self._schema.get_field_index(n) for n in contract.identity if n != contract.key]
        self._content = [self._schema.get_field_index(n) for n in contract.content]

    def in_mode(self, mode: Mode) -> ConformancePipeline:
        """Return the same pipeline in a mode; what it knows of the rules is shared."""
        found = copy(self)
        found.mode = mode
        return found

    def new_states(self) -> KeyStates:
        """Return states that remember nothing yet."""
        return KeyStates(self.memory)

    def run(
        self,
        batch: pl.DataFrame | pa.Table | pa.RecordBatch | Sequence[Part],
        states: KeyStates | None = None,
        *,
        origin: Origin | None = None,
        failures: Sequence[Failure] = (),
        excepted: Sequence[SchemaException] = (),
    ) -> ConformanceResult:
        """Judge a batch against the states of its keys, which stay as they are.

        Args:
            batch: raw rows: a frame, or parts that share no rows and cover all but the failures.
            states: what is remembered of the rows before; None for nothing.
            origin: coordinates of every row, failures included.
            failures: rows that could not be decoded.
            excepted: exceptions in force; the violations that they cover become warnings.

        Raises:
            ContractError: if a column without default is missing, or a column cannot be read at all.
            ValueError: if parts and failures are not the rows of one batch, or the origin is not that of its rows.
        """
        parts = [Part(one_batch(batch))] if isinstance(batch, pl.DataFrame | pa.Table | pa.RecordBatch) else batch
        total = sum(p.batch.num_rows for p in parts) + len(failures)
        origin = origin or Origin.of_file(total)
        if len(origin.offsets) != total or len(origin.partitions) != total:
            raise ValueError(f"the origin tells of {len(origin.offsets)} rows, but the batch has {total}")
        mapped = gather(self.contract, parts, failures, self.timezone)
        judged = self._judge(
            self._stand_in_times(mapped, origin),
            origin,
            states if states is not None else self.new_states(),
            excepted,
            self._earlier.versions_of(parts, total, origin.replayed),
        )
        return self._outcome(judged, origin, failures)

    def _stand_in_times(self, mapped: Gathered, origin: Origin) -> Gathered:
        """Give rows without a readable event time the time of their record, so that shadow mode can pass them."""
        column = self.contract.event_time
        unread = [h for h in mapped.hits if h.finding.name == "invalid_timestamp" and h.column == column]
        if not unread or origin.timestamps_ms is None:
            return mapped
        rows = unread[0].mask(mapped.columns.num_rows)
        stamps = origin.timestamps_ms() if mapped.at is None else origin.timestamps_ms()[mapped.at]
        in_units = np.maximum(stamps, 0) * (self.contract.time_units // _MILLIS)
        times = np.where(rows, in_units, numbers(mapped.columns.column(self._time_at)))
        columns = self._with_column(mapped.columns, self._time_at, times)
        return Gathered(columns, mapped.at, mapped.hits, mapped.ignored)

    def _judge(
        self,
        mapped: Gathered,
        origin: Origin,
        states: KeyStates,
        excepted: Sequence[SchemaException],
        versions: Ints | None,
    ) -> _Judged:
        """Check the rules, then judge the order of the rows that broke none."""
        columns, hits = mapped.columns, list(mapped.hits)
        n = columns.num_rows
        unread: dict[str, Mask] = {}
        for hit in hits:
            if hit.finding.name in UNREAD and hit.column is not None:
                unread[hit.column] = unread.get(hit.column, False) | hit.mask(n)
        if versions is None:
            hits += self.rules.check(dict(zip(columns.schema.names, columns.columns, strict=True)), unread)
        else:
            hits += self._earlier.check(
                columns, unread, versions if mapped.at is None else versions[mapped.at], self.rules
            )
        if excepted:
            hits = [softened(hit, excepted) for hit in hits]
        bits = _bits(hits, n)
        sound = None
        if bits is not None:
            violating = self._violating(bits, hits)
            sound = np.flatnonzero(~violating) if violating.any() else None
        ordered, delta = self._judge_order(mapped, sound, origin, states)
        more = _bits(ordered, n)
        if more is not None:
            bits = more if bits is None else bits | more
        return _Judged(columns, mapped.at, hits + ordered, bits, delta, mapped.ignored)

    def _judge_order(
        self, mapped: Gathered, sound: Ints | None, origin: Origin, states: KeyStates
    ) -> tuple[list[Hit], StateDelta]:
        """Judge the order of the sound rows (None: of all)."""
        columns, at = mapped.columns, mapped.at
        keys, times = columns.column(self.contract.key), numbers(columns.column(self._time_at))
        partitions = origin.partitions if at is None else origin.partitions[at]
        if sound is not None:
            keys, times, partitions = keys.take(pa.array(sound)), times[sound], partitions[sound]

        def hashes(rows: Ints) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
            chosen = rows if sound is None else sound[rows]
            return (
                hash_rows([columns.column(i) for i in self._identity], chosen),
                hash_rows([columns.column(i) for i in self._content], chosen),
            )

        judgement = judge(self._order, states, _slots(keys, partitions, states), times, hashes)
        masks = {
            "out_of_order": judgement.out_of_order,
            "late": judgement.late,
            "gap": judgement.gap,
            "duplicate_ts": judgement.duplicate,
            "revision": judgement.revision,
        }
        hits = []
        for name, mask in masks.items():
            if mask is not None:
                rows = mask
                if sound is not None:
                    rows = np.zeros(columns.num_rows, np.bool_)
                    rows[sound] = mask
                hits.append(Hit(self.contract.findings[name], self.contract.event_time, rows))
        return hits, judgement.delta

    def _outcome(self, judged: _Judged, origin: Origin, failures: Sequence[Failure]) -> ConformanceResult:
        kept, rejected, dropped = self._part_ways(judged)
        batch, rows = judged.columns, judged.at
        if judged.bits is not None:
            batch = self._with_column(batch, self._flags_at, judged.bits)
        elif numbers(batch.column(self._flags_at)).any():
            batch = self._with_column(batch, self._flags_at, np.zeros(batch.num_rows, np.int64))
        if kept is not None:
            batch = batch.take(pa.array(kept))
            rows = kept if rows is None else rows[kept]
        rejected += [Rejected(f.row, (Reason(f.flag, None, f.detail),)) for f in failures]
        rejected.sort(key=lambda r: r.row)
        gone = dropped if judged.at is None else judged.at[dropped]
        n = judged.columns.num_rows
        report = ConformanceReport(
            dataset=self.dataset,
            world=self.world,
            mode=self.mode,
            contract=self.contract.name,
            contract_fingerprint=self.contract.fingerprint,
            contract_version=self.version,
            rows_in=n + len(failures),
            rows_out=batch.num_rows,
            rows_quarantined=len(rejected),
            rows_dropped=len(dropped),
            ranges=ranges_of(origin),
            findings=(*count_hits(judged.hits, n, judged.at, origin), *count_failures(failures, origin)),
            ignored_columns=judged.ignored,
        )
        return ConformanceResult(batch, rows, rejected, gone, judged.delta, report, self.contract)

    def _part_ways(self, judged: _Judged) -> tuple[Ints | None, list[Rejected], Ints]:
        """Return (rows that pass, or None for all; rejected rows; dropped rows), by their place in the columns."""
        if self.mode == "shadow" or judged.bits is None:
            return None, [], _NO_ROWS
        violating = self._violating(judged.bits, judged.hits)
        duplicate = (judged.bits & self.contract.findings["duplicate_ts"].mask) != 0
        if not (violating.any() or duplicate.any()):
            return None, [], _NO_ROWS
        n = len(violating)
        masks = [(h, h.mask(n)) for h in judged.hits if h.finding.severity is Severity.VIOLATION]
        rejected = [
            Rejected(
                int(i if judged.at is None else judged.at[i]),
                tuple(Reason(h.finding.name, h.column) for h, mask in masks if mask[i]),
            )
            for i in np.flatnonzero(violating)
        ]
        dropped = np.flatnonzero(duplicate & ~violating)
        return np.flatnonzero(~(violating | duplicate)), rejected, dropped

    def _violating(self, bits: Ints, hits: Sequence[Hit]) -> Mask:
        """Return which rows have a violation: bits tell, unless exceptions or earlier versions judge otherwise."""
        if not any(hit.excepted or hit.version is not None for hit in hits):
            return np.asarray((bits & self.contract.violation_mask) != 0)
        violating = np.zeros(len(bits), np.bool_)
        for hit in hits:
            if hit.finding.severity is Severity.VIOLATION:
                violating |= hit.mask(len(bits))
        return violating

    def _with_column(self, batch: pa.RecordBatch, index: int, values: Ints) -> pa.RecordBatch:
        return batch.set_column(index, self._schema.field(index), pa.array(values, pa.int64()))


@dataclass(frozen=True, slots=True)
class _Judged:
    """The same rows with all that was found, their flags (None if all are zero) and the new states."""

    columns: pa.RecordBatch
    at: Ints | None
    hits: list[Hit]
    bits: Ints | None
    delta: StateDelta
    ignored: tuple[str, ...]


def _slots(keys: pa.Array, partitions: npt.NDArray[np.int32], states: KeyStates) -> Ints:
    """Return each row's place in the states; a key is known by its partition and its symbol."""
    if not len(keys):
        return _NO_ROWS
    encoded = keys.dictionary_encode()
    symbols = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy().astype(np.int64)
    width = int(partitions.max()) + 1
    pairs = codes * width + partitions if width > 1 else codes
    present = np.flatnonzero(np.bincount(pairs, minlength=len(symbols) * width))
    table = np.zeros(len(symbols) * width, np.int64)
    symbol_of, partition_of = np.divmod(present, width)
    table[present] = states.slots(partition_of.tolist(), [symbols[i] for i in symbol_of.tolist()])
    slots: Ints = table[pairs]
    return slots


def _bits(hits: Sequence[Hit], n: int) -> Ints | None:
    """Return the rows' flags, or None if nothing was found."""
    if not hits or not n:
        return None
    bits = np.zeros(n, np.int64)
    for hit in hits:
        if hit.rows is None:
            bits |= hit.finding.mask
        else:
            bits[hit.rows] |= hit.finding.mask
    return bits
