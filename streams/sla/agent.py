"""The SLA agent: folds the observations of its partitions into windows, and writes the breaches that follow."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import Any

from streams import topics
from streams.clock import monotonic, now_ms
from streams.errors import SeamlessError
from streams.events import EventCodec
from streams.health import Health
from streams.log import get_logger
from streams.metrics import Metrics
from streams.operating.follower import Follower
from streams.partitioning import partition_of
from streams.registry import Registry, RegistryUnavailable
from streams.settings import Settings
from streams.sla.account import Account
from streams.sla.carrier import Carried, Carrier
from streams.sla.intake import Intake
from streams.sla.job_facts import JobFacts
from streams.sla.missing import read_between
from streams.sla.objectives import Objectives
from streams.sla.owned import Owned
from streams.sla.partition import PartitionWindows
from streams.sla.records import TICK, of_report, of_watermark, told
from streams.sla.store import Codecs, PartitionStore, agent_group
from streams.sla.verdict import Links
from streams.sla.voice import Voice
from streams.topic_admin import TopicAdmin
from streams.transactions import TransactionAborted

__all__ = ["Agent"]

MS = 1_000_000
_TURN_S = 0.1
_TICK_S = 1.0
_LOOK_S = 2.0
_REGISTRY_PAUSE_S = 1.0
_KNOWN_S = 5.0

log = get_logger("sla")


class Agent:
    """One agent; what `Carrier` hands records to. Everything happens on one event loop.

    Raises:
        SeamlessError: if the topics or schemas are not there.
    """

    def __init__(self, settings: Settings, registry: Registry, metrics: Metrics, health: Health) -> None:
        self._settings, self._health = settings, health
        world = settings.world
        self._observations, self._reports = topics.sla_observations(world), topics.conformance_reports(world)
        counts = _partitions(
            settings, [self._observations, self._reports, topics.sla_breaches(world), topics.sla_state(world)]
        )
        if counts[self._observations] > counts[topics.sla_state(world)]:
            raise SeamlessError(
                f"{topics.sla_state(world)} has fewer partitions than {self._observations}: run `seamless topics apply`"
            )
        self._partitions, self._breach_partitions = counts[self._observations], counts[topics.sla_breaches(world)]
        self._codecs = Codecs(settings, registry)
        self._told = EventCodec(registry, self._observations, "sla_observation")
        self._report = EventCodec(registry, self._reports, "conformance_report")
        agent = settings.sla_agent
        self._operations, self._followed = Follower(settings, metrics), settings
        self._objectives = Objectives(settings)
        self._links = Links(world, agent.runbook_url, agent.dashboard_url)
        self._owned: dict[int, Owned] = {}
        self._taking: dict[int, asyncio.Future[None]] = {}
        self._retake: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self._account = Account(metrics)
        self._voice = Voice(settings, self._told)
        self._jobs = JobFacts(settings, registry)
        self._carrier = Carrier(settings, agent_group(world), [self._observations, self._reports], self)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            SeamlessError: if it cannot go on; whoever starts it again finds everything as it was written last.
        """
        self._operations.start()
        await asyncio.to_thread(self._operations.wait, _KNOWN_S)
        self._adopt()
        await self._carrier.start()
        tasks = [asyncio.create_task(work) for work in (self._turns(), self._ticks(), self._looks())]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in [*tasks, stopping]:
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await self.revoked([(self._observations, p) for p in self._owned])
            await self._carrier.stop()
            self._voice.close()
            await asyncio.to_thread(self._jobs.close)
            await asyncio.to_thread(self._operations.close)

    # What the carrier calls

    async def assigned(self, places: Collection[tuple[str, int]]) -> None:
        """Take partitions over from whoever held them."""
        mine = [partition for topic, partition in places if topic == self._observations]
        for partition in mine:
            if partition not in self._owned:
                self._taking[partition] = asyncio.ensure_future(self._take(partition))
        try:
            await asyncio.gather(*self._taking.values())
        except Exception as error:  # faust would log it and go on
            self._fail(error)
        finally:
            self._taking.clear()

    async def revoked(self, places: Collection[tuple[str, int]]) -> None:
        """Write what there is of partitions, and let them go."""
        gone = [p for topic, p in places if topic == self._observations]
        for partition in gone:
            self._retake.pop(partition, None)
        await asyncio.gather(*(self._let_go(self._owned.pop(p)) for p in gone if p in self._owned))

    async def record(self, carried: Carried) -> None:
        """Take a record, and before it those that were left out on the way."""
        try:
            await self._record(carried)
        except Exception as error:  # faust would log it and go on with the next
            self._fail(error)

    # How

    async def _record(self, carried: Carried) -> None:
        if carried.topic == self._reports:
            await self._hand_on(carried)
            return
        if (taking := self._taking.get(carried.partition)) is not None:
            await asyncio.wait([taking])
        owned = self._owned.get(carried.partition)
        if owned is None:
            return
        answer = owned.intake.judge(carried.offset)
        if answer == "old":
            carried.ack()
            return
        if answer == "missing":
            await self._make_up(owned, carried.offset)
        await self._fold(owned, carried)

    async def _fold(self, owned: Owned, carried: Carried) -> None:
        told_of = None
        if carried.value is not None and (datum := await self._event(self._told, carried)) is not None:
            told_of = told(datum)
        owned.unacknowledged.append((carried.offset, carried.ack))
        owned.intake.took(carried.offset)
        if carried.value is None and carried.key == TICK:
            owned.windows.tick(carried.offset, carried.timestamp_ms * MS)
            if owned.windows.output.breaches:
                self._wake.set()
        else:
            owned.windows.fold(carried.offset, told_of)

    async def _make_up(self, owned: Owned, until: int) -> None:
        """Fold the records that are missing before one, if they are there."""
        wanted, found = owned.intake.next, 0
        batches = read_between(self._settings, self._observations, owned.partition, wanted, until)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for each in batch:
                carried = Carried(
                    self._observations,
                    owned.partition,
                    each.offset() or 0,
                    each.key(),
                    each.value(),
                    each.timestamp()[1],
                )
                await self._fold(owned, carried)
            found += len(batch)
        if found:  # none are where a transaction left its mark
            log.info("sla_records_made_up", partition=owned.partition, wanted=wanted, until=until, records=found)

    async def _event(self, codec: EventCodec, carried: Carried) -> dict[str, Any] | None:
        """Return the event of a record; None of one that is none, as nobody's windows may wait for it."""
        assert carried.value is not None
        while True:
            try:
                if codec.knows(carried.value):
                    return codec.decode(carried.value)
                return await asyncio.to_thread(codec.decode, carried.value)
            except RegistryUnavailable as error:  # it is away, and what is told of meanwhile waits
                log.warning("sla_registry_awaited", error=str(error))
                await asyncio.sleep(_REGISTRY_PAUSE_S)
            except Exception as error:  # an unknown schema, or whatever damage leads to
                self._account.unreadable(carried.topic, carried.partition, carried.offset, error)
                return None

    async def _hand_on(self, carried: Carried) -> None:
        report = None if carried.value is None else await self._event(self._report, carried)
        datum = report and of_report(report, carried.topic, carried.partition, carried.offset)
        if datum:
            self._voice.hand_on(datum, carried.ack)
        else:
            carried.ack()

    async def _take(self, partition: int) -> None:
        began = monotonic()
        store = PartitionStore(self._settings, self._codecs, partition, self._breach_partitions)
        states = await asyncio.to_thread(store.take_over)
        home = partial(partition_of, partitions=self._partitions)
        homes = [each for each in self._objectives.of_datasets() if home(str(each.series)) == partition]
        grace = self._settings.sla_agent.grace_ms * MS
        windows = PartitionWindows(self._objectives, self._links, grace, homes, states)
        self._owned[partition] = Owned(partition, store, windows, Intake(windows.offset + 1))
        log.info("sla_partition_taken", partition=partition, states=len(states), offset=windows.offset + 1,
                 seconds=round(monotonic() - began, 3))  # fmt: skip

    def _adopt(self) -> bool:
        """Watch what is promised now; return whether that is something else than before."""
        before, self._followed = self._followed, self._operations.settings
        if self._followed.sla == before.sla:
            return False
        self._objectives = Objectives(self._followed)
        return True

    async def _take_anew(self) -> None:
        """Write all partitions and take them again, as at a restart: what is promised has changed."""
        held, waits = list(self._owned.values()), dict[int, asyncio.Future[None]]()
        for owned in held:  # records of it wait until it is back
            self._taking[owned.partition] = waits[owned.partition] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.gather(*(self._renew(owned) for owned in held))
        finally:
            for partition, wait in waits.items():
                if self._taking.get(partition) is wait:
                    del self._taking[partition]
                wait.set_result(None)
        log.info("sla_objectives_changed", partitions=sorted(waits))

    async def _renew(self, owned: Owned) -> None:
        partition = owned.partition
        if self._owned.get(partition) is not owned:
            return
        del self._owned[partition]
        self._retake[partition] = monotonic()
        await self._let_go(owned)
        if self._retake.pop(partition, None) is not None:  # else it was revoked meanwhile
            await self._take(partition)

    async def _let_go(self, owned: Owned) -> None:
        try:
            self._account.wrote(await owned.write(), owned.windows, owned.partition)
        except TransactionAborted as error:
            log.info("sla_partition_lost", partition=owned.partition, reason=error.reason, error=str(error))
        self._account.gone(owned.partition)
        await owned.close()
        log.info("sla_partition_given_up", partition=owned.partition, offset=owned.windows.offset + 1)

    async def _write(self, owned: Owned) -> None:
        try:
            output = await owned.write()
        except TransactionAborted as error:
            if self._owned.get(owned.partition) is owned:
                del self._owned[owned.partition]
                # Whoever took it over may know better whose it is; if it stays ours, it is taken back.
                pause = self._settings.sla_agent.session_timeout_s if error.superseded else 0.0
                self._retake[owned.partition] = monotonic() + pause
                log.warning("sla_partition_lost", partition=owned.partition, reason=error.reason, error=str(error))
                self._account.gone(owned.partition)
                await owned.close()
            return
        self._account.wrote(output, owned.windows, owned.partition)

    async def _turns(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TURN_S)
            self._wake.clear()
            self._health.beat()
            if self._failure is not None:
                raise self._failure
            if (failure := self._carrier.failed) is not None:
                raise SeamlessError(f"the carrier of records has ended: {failure}") from failure
            self._voice.listen()
            if self._adopt():
                await self._take_anew()
            for partition in [p for p, at in self._retake.items() if at <= monotonic()]:
                del self._retake[partition]
                await self._take(partition)
            held = list(self._owned.values())
            for owned in held:
                newest, owned.windows.output.newest = owned.windows.output.newest, {}
                for dataset, (event_time, at) in newest.items():
                    self._voice.hand_on(of_watermark(self._settings.world, dataset, event_time, at))
            due = [owned for owned in held if owned.due(self._settings.sla_agent.checkpoint_s)]
            await asyncio.gather(*(self._write(owned) for owned in due))
            for owned in self._owned.values():
                behind = self._carrier.behind(self._observations, owned.partition, owned.intake.next)
                self._account.behind(owned.partition, behind)

    async def _ticks(self) -> None:
        """Tell the time when a second has ended and its grace is over, so that windows close as early as they may."""
        grace = self._settings.sla_agent.grace_ms / 1_000
        while True:
            await asyncio.sleep(_TICK_S - (now_ms() / 1_000 - grace) % _TICK_S + 0.001)
            self._voice.tick(self._owned, now_ms())

    async def _looks(self) -> None:
        """Look at the backfill jobs whose deadlines have passed."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for owned in list(self._owned.values()):
                for series in owned.windows.job_series():
                    closed = owned.windows.closed
                    found = None if closed is None else await asyncio.to_thread(self._jobs.of, series, closed)
                    if found is not None and self._owned.get(owned.partition) is owned:
                        owned.windows.look(series, *found)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._wake.set()


def _partitions(settings: Settings, names: list[str]) -> dict[str, int]:
    found = TopicAdmin(settings.kafka).existing(names)
    if missing := [name for name in names if name not in found]:
        raise SeamlessError(f"there is no topic {', '.join(missing)}: run `seamless topics apply`")
    return {name: topic.partitions for name, topic in found.items()}
