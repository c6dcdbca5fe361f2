"""Proves from the topics that every range of a job was written exactly once; makes and checks certificates.

What must be there is taken from the progress topic, what is there from the history topic, both up to their high
watermarks; a coordinator is asked only whether there is such a job. See `coordinator.audit` for what counts as whose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from coordinator.absent import expected_bars, gaps
from coordinator.audit import NAMED, Audit, Expected, Problem
from coordinator.certificate import Certificate, CertificateError, LeftOut, ShardProof
from coordinator.cursor import Cursor, CursorError
from coordinator.doubles import Doubles
from coordinator.feed import Feed
from coordinator.history_rows import HistoryRows
from coordinator.protocol import BackfillCoordinator, NotFound
from coordinator.records import ControlPlane
from coordinator.shards import Job, Progress, ShardState
from coordinator.strangers import Strangers
from coordinator.tiling import left_out, overlaps, strays
from coordinator.topic_reader import TopicReader
from coordinator.written import rows_of
from schemas.contract import Contract
from schemas.grid import Grid, make_grid
from streams import topics
from streams.clock import Deadline
from streams.normalizer_job import registered_contract
from streams.partitioning import partition_of
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["Verdict", "check", "verify"]

_CATCH_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        shards, rows: how many were looked at, and found.
        problems: why the job is not proven complete; empty if it is.
        notes: what is worth knowing and proves nothing.
        certificate: of what was found; None if there are problems.
    """

    job: str
    dataset: str
    shards: int
    rows: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    certificate: Certificate | None = None

    @property
    def complete(self) -> bool:
        """Whether every range was written exactly once."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "job": self.job,
            "dataset": self.dataset,
            "complete": self.complete,
            "shards": self.shards,
            "rows": self.rows,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
            "root": self.certificate.root if self.certificate else None,
        }


def verify(settings: Settings, coordinator: BackfillCoordinator, job: str) -> Verdict:
    """Compare what a job planned and counted with what is in history.

    Raises:
        NotFound: if there is no such job.
        CoordinatorUnavailable: if the coordinator does not answer.
        BrokerError, RegistryError: if the topics cannot be read.
    """
    coordinator.job(job)
    with Registry(settings.registry) as registry:
        asked, mine, others = _read_plan(settings, registry, job)
        grid = _grid(settings, asked.dataset)
        problems, out = _plan_problems(asked, mine, grid)
        names = {*mine, *(p.shard.id for p in others)}
        done = [p for p in mine.values() if p.state is ShardState.DONE]
        found = _audit(settings, registry, asked.dataset, [_expected(p) for p in done], grid, names.__contains__)
    problems = (*problems, *found.problems)
    certificate = None if problems else _certificate(settings.world, asked, found.proofs, out)
    notes = (*_out_notes(out), *_others(asked, others), *found.notes)
    return Verdict(job, asked.dataset, len(asked.shards), found.rows, problems, notes, certificate)


def check(settings: Settings, certificate: Certificate) -> Verdict:
    """Compare a certificate with what is in history now; the root is checked first.

    Raises:
        CertificateError: if the certificate was changed.
        SettingsError: if its dataset is not configured.
        BrokerError, RegistryError: if the topics cannot be read.
    """
    certificate.require_whole()
    if certificate.world != settings.world:
        raise CertificateError(
            f"the certificate is about the world {certificate.world}, and the settings are about {settings.world}: "
            f"use --world {certificate.world}"
        )
    expected = [
        Expected(p.shard, p.epoch, p.dataset, p.symbols, p.start, p.end, p.rows, p.digest) for p in certificate.proofs
    ]
    with Registry(settings.registry) as registry:
        grid = _grid(settings, certificate.dataset)
        # Which other shards there are, a certificate does not say: rows with any name may be theirs.
        found = _audit(settings, registry, certificate.dataset, expected, grid, lambda _: True)
    problems = list(found.problems)
    if not problems:
        now = {proof.shard: proof for proof in found.proofs}
        problems = [
            Problem("changed", p.shard, "its rows are at other offsets than the certificate says", p.rows)
            for p in certificate.proofs
            if now[p.shard].spans != p.spans
        ]
    shown = certificate if not problems else None
    return Verdict(certificate.job, certificate.dataset, len(expected), found.rows, tuple(problems), found.notes, shown)


# What must be there -------------------------------------------------------------------------------------------------


def _read_plan(settings: Settings, registry: Registry, job: str) -> tuple[Job, dict[str, Progress], list[Progress]]:
    """Return the job, its shards by id, and the dataset's other shards."""
    with closing(Feed(settings, ControlPlane.prepare(settings, registry))) as feed:
        feed.catch_up(Deadline(_CATCH_UP_SECONDS))
        with feed.reading() as view:
            asked = view.job(job)
            if asked is None:
                raise NotFound(f"the progress topic of the world {settings.world} knows no job {job}: use --world")
            mine = {progress.shard.id: progress for progress in view.shards_of(job)}
            return asked, mine, [p for p in view.dataset(asked.dataset) if p.shard.id not in mine]


def _plan_problems(
    job: Job, mine: Mapping[str, Progress], grid: Grid | None
) -> tuple[tuple[Problem, ...], tuple[LeftOut, ...]]:
    problems = [
        Problem("unfinished", shard, "the progress topic does not know it") for shard in job.shards if shard not in mine
    ]
    for progress in mine.values():
        if progress.state is not ShardState.DONE:
            why = f": {progress.error}" if progress.error else ""
            problems.append(
                Problem("unfinished", progress.shard.id, f"it is {progress.state.value}, and not done{why}")
            )
    shards = [progress.shard for progress in mine.values()]
    twice: dict[tuple[str, str], list[str]] = {}
    for symbol, one, other in overlaps(shards):
        twice.setdefault((one, other), []).append(symbol)
    for (one, other), symbols in twice.items():
        text = f"it fetches the same as {other}, of {', '.join(symbols[:NAMED])}"
        problems.append(Problem("overlap", one, text, len(symbols)))
    problems += [Problem("outside", shard, "it fetches what the job did not ask for") for shard in strays(job, shards)]
    holes = [h for h in left_out(job, shards) if grid is None or expected_bars(grid, h.start, h.end)]
    return tuple(problems), tuple(holes)


def _expected(progress: Progress) -> Expected:
    shard = progress.shard
    carried: int | None = 0
    if shard.cursor is not None:
        try:
            carried = Cursor.decode(shard.cursor).rows
        except CursorError:
            carried = None
    return Expected(
        shard.id, shard.epoch, shard.dataset, shard.symbols, shard.start, shard.end, progress.rows, progress.digest,
        carried,
    )  # fmt: skip


# What is there ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    problems: tuple[Problem, ...]
    proofs: tuple[ShardProof, ...]
    rows: int
    notes: tuple[str, ...]


def _audit(
    settings: Settings,
    registry: Registry,
    dataset: str,
    expected: Sequence[Expected],
    grid: Grid | None,
    known: Callable[[str], bool],
) -> _Found:
    """Read history; `known` tells whether there is a shard of a name."""
    contract = Contract.parse(registered_contract(registry, settings.world, dataset).schema)
    decode = HistoryRows(registry, contract)
    with TopicReader(settings, topics.history(settings.world, dataset)) as history, Doubles() as doubles:
        audit = Audit(expected, partial(partition_of, partitions=history.partitions), doubles)
        strangers = Strangers(expected)
        for rows in rows_of(history, lambda tag: tag is None or tag[0] in audit or not known(tag[0])):
            if rows.tag is not None and rows.tag[0] in audit:
                audit.take(*rows.tag, decode.check(rows))
            else:
                strangers.take(decode.check(rows))
        problems = audit.problems() + strangers.problems()
        missing = {p.shard for p in problems if p.kind == "missing"}
        notes = _retention_notes(history) if missing else []
        if missing and grid is not None:
            notes += _absent_notes(history, decode, [e for e in expected if e.shard in missing], grid)
    return _Found(tuple(problems), tuple(audit.proofs()), audit.found_rows(), tuple(notes))


def _absent_notes(history: TopicReader, decode: HistoryRows, shards: Sequence[Expected], grid: Grid) -> list[str]:
    """Say which bars the shards that lost rows do not have: those are among them."""
    times: dict[tuple[str, str], list[int]] = {(e.shard, symbol): [] for e in shards for symbol in e.symbols}
    wanted = {e.shard for e in shards}
    for rows in rows_of(history, lambda tag: tag is not None and tag[0] in wanted):
        checked = decode.check(rows)
        for symbol, time in zip(checked.symbols, checked.times.tolist(), strict=True):
            if rows.tag is not None and (rows.tag[0], symbol) in times:
                times[rows.tag[0], symbol].append(time)
    notes = []
    for e in shards:
        found = [g for s in e.symbols for g in gaps(grid, s, np.array(times[e.shard, s], np.int64), e.start, e.end)]
        for gap in found[:NAMED]:
            bars = f"{gap.bars:,} bar{'' if gap.bars == 1 else 's'}"
            notes.append(f"{e.shard}: {bars} of {gap.symbol} absent between {_when(gap.after)} and {_when(gap.before)}")
        if len(found) > NAMED:
            notes.append(f"{e.shard}: and {len(found) - NAMED:,} gaps more")
    return notes


def _retention_notes(history: TopicReader) -> list[str]:
    return [
        f"retention removed the records of {history.topic}, partition {partition}, before offset {oldest}"
        for partition, oldest in sorted(history.oldest.items())
        if oldest > 0
    ]


def _out_notes(out: Sequence[LeftOut]) -> list[str]:
    notes = [
        f"no shard fetches {h.symbol} from {_when(h.start)} to {_when(h.end)}: the caller had it, or it was yet to come"
        for h in out[:NAMED]
    ]
    return notes + ([f"and {len(out) - NAMED:,} ranges more"] if len(out) > NAMED else [])


def _others(job: Job, others: Iterable[Progress]) -> list[str]:
    """Say which other shards have written to the job's ranges, as readers of history see their rows, too."""
    symbols = set(job.symbols)
    return [
        f"{p.shard.id} of {p.shard.job} wrote {p.rows:,} rows in the same ranges ({p.shard.source}, {p.state.value}): "
        "readers take the newest as_of of each row"
        for p in others
        if p.rows and p.shard.start < job.end and p.shard.end > job.start and not symbols.isdisjoint(p.shard.symbols)
    ][:NAMED]


def _certificate(world: str, job: Job, proofs: tuple[ShardProof, ...], out: tuple[LeftOut, ...]) -> Certificate:
    return Certificate(
        world=world,
        job=job.id,
        dataset=job.dataset,
        symbols=job.symbols,
        start=job.start,
        end=job.end,
        source=job.source,
        as_of=job.as_of,
        contract_version=job.contract_version,
        proofs=proofs,
        left_out=out,
    ).sealed()


def _grid(settings: Settings, dataset: str) -> Grid | None:
    wanted = settings.dataset(dataset)
    interval = wanted.interval_ns()
    return None if interval is None else make_grid(interval, wanted.calendar)


def _when(nanos: int) -> str:
    return datetime.fromtimestamp(nanos / 1e9, UTC).isoformat().replace("+00:00", "Z")
