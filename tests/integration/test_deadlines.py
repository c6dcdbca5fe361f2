"""A fetch is over on time though archive, coordinator or broker accept connections and never answer: real clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer

from coordinator import open_coordinator
from streams import SeamlessSLAExceeded, SLAPolicy
from streams.archive.reader import ArchiveReader
from streams.clients import reader_config
from streams.provider.account import Surroundings
from streams.provider.calls import Calls, Timeout
from streams.provider.phases import PhaseReport, Phases
from streams.settings import Settings
from streams.sla_policy import Phase
from streams.sla_resolve import resolve
from tests.support.waiting import mute_server, quickest

DEADLINE_S = 0.5
LATEST_S = 0.6
WAYS: list[Phase] = ["storage_wait", "backfill_wait", "live_wait"]


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Settings by which everything is at a place that never answers."""
    with mute_server() as port:
        yield Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": f"127.0.0.1:{port}"},
                "registry": {"url": f"http://127.0.0.1:{port}"},
                "coordinator_url": f"http://127.0.0.1:{port}",
                "coordinator": {"timeout_s": 2, "retries": 0},
                "archive": {
                    "url": "s3://bucket/archive",
                    "storage": {
                        "aws_endpoint_url": f"http://127.0.0.1:{port}",
                        "aws_allow_http": "true",
                        "aws_region": "eu-central-1",
                        "aws_access_key_id": "a",
                        "aws_secret_access_key": "b",
                        "timeout": "2s",
                    },
                },
                "datasets": {"bars": {"contract": "ohlcv", "interval": "1m"}},
            }
        )


@pytest.fixture(scope="module")
def asking(settings: Settings) -> Iterator[dict[Phase, Callable[[], object]]]:
    """What a fetch asks in each phase."""
    reader, consumer = ArchiveReader(settings), Consumer(reader_config(settings))
    with closing(open_coordinator(settings)) as coordinator:
        yield {
            "storage_wait": lambda: reader.snapshot("bars"),
            "backfill_wait": coordinator.jobs,
            "live_wait": lambda: consumer.list_topics(timeout=2),
        }
    consumer.close()


def fetch(
    settings: Settings, policy: SLAPolicy, calls: Calls, asked: dict[Phase, Callable[[], object]]
) -> tuple[list[object], PhaseReport]:
    answers = []
    with Phases(resolve(settings, "bars", None, policy), around=Surroundings(calls=calls)) as phases:
        for phase, call in asked.items():
            with phases.phase(phase) as run:
                answers.append(run.run(call))
        return answers, phases.finish()


@pytest.mark.parametrize("phase", WAYS)
def test_a_fetch_that_shall_fail_fast_raises_on_time(
    settings: Settings, asking: dict[Phase, Callable[[], object]], phase: Phase
) -> None:
    calls, policy = Calls(), SLAPolicy(total_deadline=DEADLINE_S, on_violation="fail_fast")

    def attempt() -> SeamlessSLAExceeded:
        with pytest.raises(SeamlessSLAExceeded) as caught:
            fetch(settings, policy, calls, {phase: asking[phase]})
        return caught.value

    took, error = quickest(attempt, LATEST_S)
    assert took <= LATEST_S
    assert error.during == phase


@pytest.mark.parametrize("phase", [*WAYS, None])
def test_a_fetch_that_may_be_partial_returns_on_time_whichever_hangs_and_if_all_do(
    settings: Settings, asking: dict[Phase, Callable[[], object]], phase: Phase | None
) -> None:
    calls, policy = Calls(), SLAPolicy(total_deadline=DEADLINE_S, on_violation="partial_fill")
    asked: dict[Phase, Callable[[], object]] = {
        each: asking[each] if phase in (each, None) else (lambda: "there") for each in WAYS
    }
    took, (answers, report) = quickest(lambda: fetch(settings, policy, calls, asked), LATEST_S)
    assert took <= LATEST_S
    hung = [isinstance(answer, Timeout) for answer in answers]
    # what comes after the one that hangs has no time left
    first = 0 if phase is None else WAYS.index(phase)
    assert hung == [position >= first for position in range(3)]
    assert report.partial
    assert list(report.reasons) == WAYS[first:]
