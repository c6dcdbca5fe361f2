"""Calls that may hang: the caller leaves on time, stuck threads are few, and what hangs is not asked for ever."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator

import deltalake
import httpx
import pytest
from confluent_kafka import Consumer, KafkaException

from streams.clients import reader_config
from streams.clock import monotonic
from streams.provider.calls import Calls, Pending, Target, Timeout
from streams.settings import KafkaSettings, Settings
from tests.support.waiting import Hanging, eventually, mute_server, quickest

SLACK_S = 0.05


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with Hanging() as call:
        yield call


def fail() -> None:
    raise LookupError("not there")


# What comes back


def test_an_answer_in_time_is_returned() -> None:
    target = Target("storage")
    assert target.within(5.0, lambda: 7) == 7
    assert target.within(None, lambda: 7) == 7
    assert eventually(lambda: target.running == 0)


def test_an_error_in_time_is_raised_as_it_is() -> None:
    with pytest.raises(LookupError, match="not there"):
        Target("storage").within(5.0, fail)


def test_an_error_that_is_no_exception_is_raised_too() -> None:
    def panic() -> None:
        raise BaseException("panic")  # as libraries in Rust do

    with pytest.raises(BaseException, match="panic"):
        Target("storage").within(5.0, panic)


def test_a_call_sees_the_context_of_its_caller() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    name.set("alpha")
    assert Target("storage").within(5.0, name.get) == "alpha"


@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_a_call_that_hangs_is_left_on_time(hanging: Hanging, seconds: float) -> None:
    target = Target("coordinator", "http://c:8090")
    took, found = quickest(lambda: target.within(seconds, hanging), seconds + SLACK_S)
    assert isinstance(found, Timeout)
    assert seconds <= took <= seconds + SLACK_S
    assert (found.seconds, found.refused) == (seconds, False)
    assert found.reason == f"the coordinator http://c:8090 gave no answer within {seconds} s"


def test_with_no_time_left_nothing_is_called(hanging: Hanging) -> None:
    found = Target("storage").within(0.0, hanging)
    assert isinstance(found, Timeout)
    assert hanging.begun == 0


def test_a_late_answer_goes_nowhere_and_gives_the_thread_back(hanging: Hanging) -> None:
    target = Target("storage")
    assert isinstance(target.within(0.01, hanging), Timeout)
    assert (target.running, target.stuck) == (1, 1)
    hanging.release()
    assert eventually(lambda: (target.running, target.stuck) == (0, 0))


def test_a_late_error_goes_nowhere(hanging: Hanging) -> None:
    def late() -> None:
        hanging()
        raise LookupError

    target = Target("storage")
    assert isinstance(target.within(0.01, late), Timeout)
    hanging.release()
    assert eventually(lambda: target.running == 0)


# What does not grow


def test_after_a_few_that_hang_the_next_is_refused_at_once_and_starts_no_thread(hanging: Hanging) -> None:
    target = Target("storage", "/archive", most_stuck=3)
    for _ in range(3):
        assert isinstance(target.within(0.01, hanging), Timeout)
    for _ in range(20):
        began = monotonic()
        found = target.within(30.0, hanging)
        assert isinstance(found, Timeout)
        assert (found.refused, found.stuck) == (True, 3)
        assert "was not asked, as 3 earlier calls to it still hang" in found.reason
        assert monotonic() - began < 10.0
    assert hanging.begun == 3


def test_one_target_that_hangs_does_not_stop_another(hanging: Hanging) -> None:
    calls = Calls(most_stuck=1)
    assert isinstance(calls.target("storage", "s3://a").within(0.01, hanging), Timeout)
    assert calls.target("storage", "s3://b").within(5.0, lambda: 1) == 1
    assert calls.target("broker").within(5.0, lambda: 1) == 1
    assert calls.target("storage", "s3://a") is calls.target("storage", "s3://a")


def test_a_target_that_answers_again_is_asked_again(hanging: Hanging) -> None:
    target = Target("storage", most_stuck=1)
    assert isinstance(target.within(0.01, hanging), Timeout)
    assert isinstance(target.within(5.0, lambda: 1), Timeout)
    hanging.release()
    assert eventually(lambda: target.stuck == 0)
    assert target.within(5.0, lambda: 1) == 1


def test_a_while_after_the_last_call_one_gets_through_to_see_whether_it_answers_and_only_one(
    hanging: Hanging,
) -> None:
    now = 0.0
    target = Target("storage", most_stuck=2, probe_s=30.0, now=lambda: now)
    for _ in range(2):
        target.within(0.01, hanging)
    now = 29.0
    assert isinstance(target.within(5.0, lambda: 1), Timeout)
    now = 30.0
    assert isinstance(target.within(0.01, hanging), Timeout)
    assert hanging.begun == 3
    assert isinstance(target.within(5.0, lambda: 1), Timeout)
    now = 60.0
    assert target.within(5.0, lambda: 1) == 1
    # it is back, though the old calls still hang
    assert target.within(5.0, lambda: 2) == 2
    assert target.stuck == 3


def test_probes_of_what_never_answers_end_at_the_most_threads_there_may_be(hanging: Hanging) -> None:
    now = 0.0
    target = Target("storage", most_stuck=1, most_running=3, probe_s=1.0, now=lambda: now)
    for _ in range(10):
        now += 10.0
        target.within(0.01, hanging)
    found = target.within(5.0, hanging)
    assert isinstance(found, Timeout)
    assert found.refused
    assert (hanging.begun, target.running) == (3, 3)


def test_so_many_calls_run_at_once_and_the_next_waits_for_its_turn(hanging: Hanging) -> None:
    target = Target("storage", most_running=2)
    waiting = [target.start(hanging, 5.0) for _ in range(2)]
    assert isinstance(target.within(0.05, lambda: 1), Timeout)
    results: list[object] = []
    third = threading.Thread(target=lambda: results.append(target.within(30.0, lambda: 1)))
    third.start()
    hanging.release()
    third.join(30)
    assert results == [1]
    for pending in waiting:
        assert isinstance(pending, Pending)
        assert pending.wait(20)
        assert pending.result() == "late"


def test_a_hundred_callers_at_once_of_what_hangs_leave_on_time_and_leave_few_threads_behind(hanging: Hanging) -> None:
    target = Target("storage", most_stuck=4, most_running=16)
    found: list[object] = []
    callers = [
        threading.Thread(target=lambda: found.append(target.within(0.2, hanging)), daemon=True) for _ in range(100)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert len(found) == 100
    assert all(isinstance(each, Timeout) for each in found)
    assert target.running <= 16
    assert hanging.begun <= 16


def test_without_a_limit_a_call_waits_for_what_hangs_to_answer(hanging: Hanging) -> None:
    target = Target("storage", most_stuck=1)
    target.within(0.01, hanging)
    results: list[object] = []
    patient = threading.Thread(target=lambda: results.append(target.within(None, lambda: 1)))
    patient.start()
    hanging.release()
    patient.join(30)
    assert results == [1]


def test_a_system_without_threads_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    target = Target("storage")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        found = target.within(5.0, lambda: 1)
    assert isinstance(found, Timeout)
    assert found.refused
    assert target.running == 0
    assert target.within(5.0, lambda: 1) == 1


# What really hangs: sockets that accept and never answer


def test_a_coordinator_that_accepts_and_never_answers_is_left_on_time() -> None:
    with mute_server() as port:
        target = Target("coordinator")
        took, found = quickest(
            lambda: target.within(0.5, lambda: httpx.get(f"http://127.0.0.1:{port}/jobs", timeout=20)), 0.55
        )
        assert isinstance(found, Timeout)
        assert took <= 0.6
    assert eventually(lambda: target.stuck == 0)


def test_a_broker_that_accepts_and_never_answers_is_left_on_time() -> None:
    with mute_server() as port:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"))
        consumer = Consumer(reader_config(settings))
        target = Target("broker")

        def ask() -> object:
            try:
                return consumer.list_topics(timeout=2)
            except KafkaException as error:
                return error

        took, found = quickest(lambda: target.within(0.5, ask), 0.55)
        assert isinstance(found, Timeout)
        assert took <= 0.6
        assert eventually(lambda: target.stuck == 0, 30)
        consumer.close()


def test_an_object_store_that_accepts_and_never_answers_is_left_on_time() -> None:
    with mute_server() as port:
        options = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "timeout": "2s",
            "max_retries": "0",
        }
        target = Target("storage")

        def open_table() -> object:
            return deltalake.DeltaTable("s3://bucket/table", storage_options=options)

        took, found = quickest(lambda: target.within(0.5, open_table), 0.55)
        assert isinstance(found, Timeout)
        assert took <= 0.6
    assert eventually(lambda: target.stuck == 0, 40)
