"""Verdicts on schema ids without a registry that works; with one they are tested in integration."""

from __future__ import annotations

from schemas.contract import load_contract
from streams.clock import Deadline
from streams.registry import Registry
from streams.settings import RegistrySettings
from streams.subject_versions import _PATIENCE_SECONDS, SubjectVersions
from tests.support.progress import until
from tests.support.waiting import mute_server


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


def versions_at(port: int, clock: Clock, timeout: float) -> SubjectVersions:
    registry = Registry(RegistrySettings(url=f"http://127.0.0.1:{port}", timeout=timeout))
    return SubjectVersions(registry, "w.raw.bars-value", load_contract("ohlcv"), "FULL", clock)


def test_a_registry_that_hangs_holds_up_who_needs_it_once_and_leaves_ids_unjudged() -> None:
    clock = Clock()
    with mute_server() as port:
        versions = versions_at(port, clock, timeout=30)
        if_half_of_them_waited = Deadline(10 * _PATIENCE_SECONDS)
        for n in range(20):
            clock.time += 10
            assert versions.verdicts([n], wait=False) == {n: None}
            assert versions.ask(n) is None
        assert not if_half_of_them_waited.passed()


def test_a_look_that_failed_is_begun_again_after_a_second_and_not_for_every_batch() -> None:
    clock = Clock()
    with mute_server() as port:
        versions = versions_at(port, clock, timeout=0.05)
        versions.ask(1)
        until(lambda: versions._looking is not None and not versions._looking.is_alive(), 30, "the end of the look")
        first = versions._looking
        for _ in range(100):
            assert versions.verdicts([1], wait=True) == {1: None}
        assert versions._looking is first
        clock.time += 1.1
        versions.ask(1)
        assert versions._looking is not first
