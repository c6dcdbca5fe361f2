"""The client of the coordinator service: the same answers and errors as in process, or CoordinatorUnavailable."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from coordinator.distributed import DistributedBackfillCoordinator
from coordinator.protocol import (
    BackfillCoordinator,
    BackfillRejected,
    BackfillRequest,
    CoordinatorUnavailable,
    NotFound,
    Page,
    Planned,
)
from coordinator.service import problems
from coordinator.shards import ShardState
from operations.testing.proxy import Proxy
from streams.errors import SettingsError
from tests.support.progress import until
from tests.support.scripted import COVERED, JOB, LEASE, REQUEST, SHARD, Scripted, change
from tests.support.serving import Service, serving

TOKEN = "päss:word:with:colons"
ASKED = BackfillRequest.model_validate(REQUEST)

CALLS: dict[str, Callable[[BackfillCoordinator], Any]] = {
    "plan": lambda c: c.plan(ASKED),
    "request": lambda c: c.request(ASKED),
    "jobs": lambda c: c.jobs(),
    "job": lambda c: c.job("a:b"),
    "cancel": lambda c: c.cancel("a:b", reason="why: so"),
    "pause": lambda c: c.pause("a:b"),
    "resume": lambda c: c.resume("a:b"),
    "shards": lambda c: c.shards(job="j", state=ShardState.FAILED, limit=3, after="s"),
    "shard": lambda c: c.shard("a:b"),
    "leases": lambda c: c.leases(),
    "release": lambda c: c.release(3, urgent=False, reason="ä"),
    "skip": lambda c: c.skip("a:b", reason="r"),
    "retry": lambda c: c.retry("a:b"),
    "coverage": lambda c: c.coverage("d", symbols=("B", "A")),
    "watch": lambda c: c.watch("a:b"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


@pytest.fixture
def scripted(shared: Scripted) -> Iterator[Scripted]:
    yield shared
    shared.reset()


@pytest.fixture(scope="module")
def running(shared: Scripted) -> Iterator[Service]:
    with serving(shared, token=TOKEN) as made:
        yield made


@pytest.fixture
def service(running: Service, scripted: Scripted) -> Iterator[Service]:
    yield running
    until(lambda: running.hub.listeners == 0, 10, "the end of what the test watched")


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    host, port = service.url.removeprefix("http://").split(":")
    with Proxy(host, int(port)) as made:
        yield made


@contextmanager
def client_of(url: str, token: str | None = TOKEN, **options: Any) -> Iterator[DistributedBackfillCoordinator]:
    client = DistributedBackfillCoordinator(url, token, **{"timeout_s": 5.0, "retries": 1, **options})
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def client(service: Service) -> Iterator[DistributedBackfillCoordinator]:
    with client_of(service.url) as made:
        yield made


@contextmanager
def answering(response: bytes | None) -> Iterator[str]:
    """Serve one answer to everything; None answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if response is not None:
                    connection.recv(65_536)
                    connection.sendall(response)
                    connection.close()

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


def test_it_is_a_coordinator_and_its_calls_are_all_tried_here(client: DistributedBackfillCoordinator) -> None:
    assert isinstance(client, BackfillCoordinator)
    methods = {name for name in vars(BackfillCoordinator) if not name.startswith("_")} - {"close"}
    assert set(CALLS) == methods


def test_answers_are_those_of_the_coordinator_behind_the_service(
    client: DistributedBackfillCoordinator, scripted: Scripted
) -> None:
    expected = {
        "plan": Planned(job=JOB, created=True, queued=4),
        "request": Planned(job=JOB, created=True, queued=4),
        "jobs": [JOB],
        "shards": Page(items=(SHARD,)),
        "shard": SHARD,
        "leases": [LEASE],
        "release": LEASE,
        "skip": SHARD,
        "retry": SHARD,
        "coverage": [COVERED],
    }
    for name, call in CALLS.items():
        if name != "watch":
            assert call(client) == expected.get(name, JOB), name
    assert ("cancel", "a:b", {"reason": "why: so"}) in scripted.asked
    assert ("shards", {"job": "j", "state": ShardState.FAILED, "limit": 3, "after": "s"}) in scripted.asked
    assert ("release", 3, {"urgent": False, "reason": "ä"}) in scripted.asked
    assert ("coverage", "d", {"symbols": ("A", "B")}) in scripted.asked
    assert ("request", ASKED, {}) in scripted.asked


@pytest.mark.parametrize("name", CALLS)
def test_errors_are_those_of_the_coordinator_behind_the_service(
    client: DistributedBackfillCoordinator, scripted: Scripted, name: str
) -> None:
    scripted.raises(name, NotFound("there is no such: thing"))
    with pytest.raises(NotFound, match=r"^there is no such: thing$"):
        CALLS[name](client)
    scripted.raises(name, BackfillRejected("that makes no sense", field="some.field"))
    with pytest.raises(BackfillRejected, match=r"^that makes no sense$") as caught:
        CALLS[name](client)
    assert caught.value.field == "some.field"


@pytest.mark.parametrize("name", CALLS)
def test_a_service_that_does_not_know_is_unavailable_and_never_an_empty_answer(
    service: Service, scripted: Scripted, name: str
) -> None:
    scripted.raises(name, CoordinatorUnavailable("Kafka is away"))
    with client_of(service.url, retries=0, timeout_s=0.5) as client:
        with pytest.raises(CoordinatorUnavailable, match="Kafka is away") as caught:
            CALLS[name](client)
        assert TOKEN not in str(caught.value)


BROKEN: dict[str, bytes | None] = {
    "silent": None,
    "hangs up": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a web page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
    "an empty list": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    "an empty answer": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
    "a stranger's 404": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
    "a stranger's 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a proxy's 502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/else\r\nContent-Length: 0\r\n\r\n",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{",
}


@pytest.mark.parametrize("how", BROKEN)
def test_whatever_is_there_instead_of_a_coordinator_is_unavailable_with_its_address(how: str) -> None:
    with answering(BROKEN[how]) as url, client_of(url, timeout_s=0.05 if how == "silent" else 0.2, retries=0) as client:
        for name, call in CALLS.items():
            with pytest.raises(CoordinatorUnavailable, match=url) as caught:
                call(client)
            assert "seamless.coordinator_url" in str(caught.value), name
            assert TOKEN not in str(caught.value), name


def test_where_nothing_listens_every_call_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with client_of(url, timeout_s=0.2, retries=0) as client:
        for call in CALLS.values():
            with pytest.raises(CoordinatorUnavailable, match=url):
                call(client)


def test_an_address_that_is_none_is_a_settings_error() -> None:
    for url in ("localhost:8090", "ftp://host", "http://", ""):
        with pytest.raises(SettingsError, match=r"seamless\.coordinator_url"):
            DistributedBackfillCoordinator(url)


@pytest.mark.parametrize("token", [None, "another"])
def test_a_token_that_the_service_refuses_is_a_settings_error_that_does_not_show_it(
    service: Service, scripted: Scripted, token: str | None
) -> None:
    with client_of(service.url, token=token) as client:
        with pytest.raises(SettingsError, match=r"seamless\.coordinator\.token") as caught:
            client.cancel("x")
        assert "another" not in str(caught.value)
        assert client.job("x") == JOB
    assert [call[0] for call in scripted.asked] == ["job"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_can_be_no_id_is_not_found_as_in_process(client: DistributedBackfillCoordinator, name: str) -> None:
    for call in (client.job, client.cancel, client.shard, client.retry):
        with pytest.raises(NotFound):
            call(name)


def test_what_a_newer_service_says_besides_is_passed_over(client: DistributedBackfillCoordinator) -> None:
    body = JOB.model_dump_json()[:-1].encode() + b',"mood":"fine"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(head + body) as url, client_of(url) as client:
        assert client.job("x") == JOB


def test_lists_longer_than_a_page_come_whole_and_in_order(
    client: DistributedBackfillCoordinator, scripted: Scripted
) -> None:
    jobs = [JOB.model_copy(update={"id": f"job-{n:05d}"}) for n in range(2_500)]
    leases = [LEASE.model_copy(update={"partition": n, "shard": f"s{n}"}) for n in range(1_200)]
    covered = [COVERED.model_copy(update={"symbol": f"S{n:05d}"}) for n in range(1_001)]
    scripted.does["jobs"] = lambda **_: jobs
    scripted.does["leases"] = lambda **_: leases
    scripted.does["coverage"] = lambda dataset, symbols: [c for c in covered if symbols is None or c.symbol in symbols]
    assert client.jobs() == jobs
    assert client.leases() == leases
    assert client.coverage("d") == covered
    assert client.coverage("d", symbols=tuple(c.symbol for c in covered)) == covered


# Sent again


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service ask for no pause before a call is sent again, where the pause is not what is tested."""
    monkeypatch.setattr(problems, "RETRY_AFTER_S", 0)


def failing_first(times: int, answer: Any, effect: Callable[[], None] = lambda: None) -> Callable[..., Any]:
    """Do the thing, and yet fail the first times, as a service does that dies before it can answer."""
    left = [times]

    def do(*_: Any, **__: Any) -> Any:
        effect()
        if left[0]:
            left[0] -= 1
            raise CoordinatorUnavailable("lost on the way")
        return answer

    return do


@pytest.mark.usefixtures("no_patience")
def test_a_call_is_sent_again_until_it_is_answered(scripted: Scripted, service: Service) -> None:
    scripted.does["cancel"] = failing_first(2, JOB)
    with client_of(service.url, retries=2) as client:
        assert client.cancel("x") == JOB
    assert [call[0] for call in scripted.asked] == ["cancel"] * 3


def test_a_call_is_not_sent_more_often_or_sooner_than_it_may(scripted: Scripted, service: Service) -> None:
    scripted.does["cancel"] = failing_first(3, JOB)
    began = time.monotonic()
    with client_of(service.url, retries=1) as client, pytest.raises(CoordinatorUnavailable, match="lost on the way"):
        client.cancel("x")
    assert len(scripted.asked) == 2
    assert time.monotonic() - began >= problems.RETRY_AFTER_S > 0


def test_a_considered_no_is_not_asked_again(scripted: Scripted, client: DistributedBackfillCoordinator) -> None:
    scripted.raises("cancel", NotFound("no"))
    with pytest.raises(NotFound):
        client.cancel("x")
    assert len(scripted.asked) == 1


@pytest.mark.usefixtures("no_patience")
def test_a_retry_whose_answer_was_lost_is_not_refused_as_done_already(
    scripted: Scripted, client: DistributedBackfillCoordinator
) -> None:
    failed, queued = (
        SHARD.model_copy(update={"state": s, "epoch": e}) for s, e in ((ShardState.FAILED, 1), (ShardState.PENDING, 2))
    )
    now = [failed]

    def retry(_: str) -> Any:
        if now[0] is queued:
            raise BackfillRejected("it is pending", field="shard")
        now[0] = queued
        raise CoordinatorUnavailable("lost on the way")

    scripted.does |= {"retry": retry, "shard": lambda _: now[0]}
    assert client.retry(failed.id) == queued
    with pytest.raises(BackfillRejected, match="it is pending"):
        client.retry(failed.id)


@pytest.mark.usefixtures("no_patience")
def test_a_skip_whose_answer_was_lost_is_not_refused_as_done_already(
    scripted: Scripted, client: DistributedBackfillCoordinator
) -> None:
    skipped = SHARD.model_copy(update={"state": ShardState.SKIPPED})
    now = [SHARD]

    def skip(_: str, reason: str | None) -> Any:
        if now[0] is skipped:
            raise BackfillRejected("it has ended", field="shard")
        now[0] = skipped
        raise CoordinatorUnavailable("lost on the way")

    scripted.does |= {"skip": skip, "shard": lambda _: now[0]}
    assert client.skip(SHARD.id) == skipped
    with pytest.raises(BackfillRejected, match="it has ended"):
        client.skip(SHARD.id)


@pytest.mark.usefixtures("no_patience")
def test_a_release_whose_answer_was_lost_does_not_end_the_next_lease_too(
    scripted: Scripted, client: DistributedBackfillCoordinator
) -> None:
    now = [LEASE]

    def claimed_anew() -> None:
        now[0] = now[0].model_copy(update={"attempt": now[0].attempt + 1, "member": "another"})

    scripted.does |= {"release": failing_first(1, LEASE, claimed_anew), "leases": lambda stalled: list(now)}
    assert client.release(LEASE.partition) == LEASE
    assert sum(call[0] == "release" for call in scripted.asked) == 1


def test_closing_ends_a_call_that_waits_to_be_sent_again(scripted: Scripted, service: Service) -> None:
    scripted.raises("cancel", CoordinatorUnavailable("Kafka is away"))
    client = DistributedBackfillCoordinator(service.url, TOKEN, timeout_s=60, retries=20)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            client.cancel("x")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: bool(scripted.asked), 10, "the first try")
    client.close()
    thread.join(5)
    assert isinstance(caught[0], CoordinatorUnavailable)
    with pytest.raises(CoordinatorUnavailable, match="closed"):
        client.jobs()


# Watching


def test_a_change_after_watching_began_is_told(client: DistributedBackfillCoordinator, scripted: Scripted) -> None:
    watch = client.watch("job-1")
    scripted.tell(change("job-2"))
    scripted.tell(change("job-1"))
    assert next(watch) == change("job-1")


def test_watching_goes_on_after_a_break_and_tells_what_may_have_been_missed(proxy: Proxy, scripted: Scripted) -> None:
    with client_of(proxy.url, timeout_s=2.0, retries=4) as client:
        watch = client.watch(JOB.id)
        scripted.tell(change(JOB.id, "running"))
        assert next(watch).state == "running"
        scripted.does["job"] = lambda _: JOB.model_copy(update={"state": "done"})
        proxy.cut()
        threading.Timer(0.5, proxy.mend).start()
        told = next(watch)
        assert (told.kind, told.id, told.state) == ("job", JOB.id, "done")
        scripted.tell(change(JOB.id, "later"))
        assert next(watch).state == "later"


def test_a_watch_outlives_a_silence_that_is_longer_than_the_wait_for_an_answer(scripted: Scripted) -> None:
    with serving(scripted, heartbeat_s=1.0) as slow, client_of(slow.url, timeout_s=0.3) as client:
        watch = client.watch()
        timer = threading.Timer(0.8, scripted.tell, (change("job-1"),))
        timer.start()
        assert next(watch) == change("job-1")
        assert sum(call[0] == "watch" for call in scripted.asked) == 1
        timer.join()


def test_watching_fails_when_the_service_stays_away(proxy: Proxy) -> None:
    with client_of(proxy.url, timeout_s=0.3, retries=1) as client:
        watch = client.watch()
        proxy.cut()
        with pytest.raises(CoordinatorUnavailable, match=proxy.url):
            next(watch)


def test_a_watch_that_another_thread_closes_ends_at_once(
    client: DistributedBackfillCoordinator, service: Service
) -> None:
    watch: Any = client.watch()
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.extend(watch))
    thread.start()
    until(lambda: service.hub.listeners == 1, 10, "the listener")
    began = time.monotonic()
    watch.close()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 3
    assert heard == []
    until(lambda: service.hub.listeners == 0, 10, "the end of the stream")
