"""The coordinator service over a scripted coordinator: guards, problems, pages, streams and its description."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from coordinator.protocol import BackfillRejected, BackfillRequest, CoordinatorUnavailable, NotFound, Planned
from coordinator.service.access import TokenGuard, listening_socket
from coordinator.service.examples import ANSWERS, QUESTIONS
from coordinator.wire import Kind, Problem
from streams.errors import BrokerError, RegistryError, SettingsError
from streams.health import Status
from streams.log import configure_logging
from streams.settings import CoordinatorSettings
from tests.support.progress import until
from tests.support.scripted import JOB, LEASE, REQUEST, SHARD, Scripted, change
from tests.support.serving import Service, serving

TOKEN = "päss:word:with:colons"


@pytest.fixture(scope="module")
def shared() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


@pytest.fixture(scope="module")
def services(shared: Scripted) -> Iterator[dict[str | None, Service]]:
    """The service, started once without a token and once with one."""
    with serving(shared, max_body_bytes=4_096) as open_one, serving(shared, token=TOKEN) as guarded_one:
        yield {None: open_one, TOKEN: guarded_one}


@pytest.fixture
def scripted(shared: Scripted) -> Iterator[Scripted]:
    yield shared
    shared.reset()


@pytest.fixture
def service(services: dict[str | None, Service], scripted: Scripted) -> Iterator[Service]:
    service = services[None]
    yield service
    service.health.set("feed", Status.OK)


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    # Without TLS: reading the authorities that are trusted takes longer than most tests.
    with httpx.Client(base_url=service.url, timeout=10, verify=False) as client:
        yield client


def problem_of(response: httpx.Response, kind: Kind) -> Problem:
    """Check that an answer is a problem of a kind, whole, and return it."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = Problem.model_validate_json(response.content)
    assert (problem.type, problem.title) == (kind.uri, kind.title)
    assert problem.status == response.status_code == kind.status
    assert problem.detail
    assert problem.instance == response.request.url.raw_path.decode().partition("?")[0]
    return problem


# What it answers


def test_a_new_job_is_201_with_its_place_and_a_known_one_is_200(http: httpx.Client, scripted: Scripted) -> None:
    created = http.post("/v1/backfills", json=REQUEST)
    assert created.status_code == 201
    assert created.headers["location"] == f"/v1/backfills/{JOB.id}"
    scripted.does["request"] = lambda _: Planned(job=JOB, created=False, queued=0)
    known = http.post("/v1/backfills", json=REQUEST)
    assert (known.status_code, known.json()["queued"]) == (200, 0)
    assert scripted.asked[0][1] == BackfillRequest.model_validate(REQUEST)


def test_a_dry_run_plans_and_requests_nothing(http: httpx.Client, scripted: Scripted) -> None:
    assert http.post("/v1/backfills?dry_run=true", json=REQUEST).status_code == 200
    assert [call[0] for call in scripted.asked] == ["plan"]


def test_a_misspelt_dry_run_does_nothing_at_all(http: httpx.Client, scripted: Scripted) -> None:
    refused = http.post("/v1/backfills?dryrun=true", json=REQUEST)
    assert problem_of(refused, Kind.INVALID).field == "dryrun"
    assert scripted.asked == []


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_job_is_steered_with_a_reason_or_without(http: httpx.Client, scripted: Scripted, verb: str) -> None:
    assert http.post(f"/v1/backfills/{JOB.id}:{verb}").json()["id"] == JOB.id
    assert http.post(f"/v1/backfills/{JOB.id}:{verb}", json={"reason": "why: so"}).status_code == 200
    assert scripted.asked == [(verb, JOB.id, {"reason": None}), (verb, JOB.id, {"reason": "why: so"})]


def test_ids_with_colons_are_told_from_the_verb(http: httpx.Client, scripted: Scripted) -> None:
    for path in ("/v1/shards/a:b:retry", "/v1/shards/a%3Ab:retry"):
        assert http.post(path).status_code == 200
    assert http.get("/v1/shards/a:b:retry").status_code == 200
    assert http.post("/v1/backfills/x:y:resume").status_code == 200
    asked = [(call[0], call[1]) for call in scripted.asked]
    assert asked == [("retry", "a:b"), ("retry", "a:b"), ("shard", "a:b:retry"), ("resume", "x:y")]


def test_leases_are_released_by_partition_and_queue(http: httpx.Client, scripted: Scripted) -> None:
    assert http.post("/v1/leases/3:release?urgent=true", json={"reason": "stuck"}).json() == LEASE.model_dump(
        mode="json"
    )
    assert scripted.asked == [("release", 3, {"urgent": True, "reason": "stuck"})]


def test_filters_reach_the_coordinator(http: httpx.Client, scripted: Scripted) -> None:
    http.get("/v1/backfills?dataset=a&state=done").raise_for_status()
    http.get("/v1/shards?job=j&state=failed&limit=7&after=s").raise_for_status()
    http.get("/v1/leases?stalled=true").raise_for_status()
    http.get("/v1/coverage?dataset=d&symbol=B&symbol=A").raise_for_status()
    assert scripted.asked == [
        ("jobs", {"dataset": "a", "state": "done"}),
        ("shards", {"job": "j", "state": "failed", "limit": 7, "after": "s"}),
        ("leases", {"stalled": True}),
        ("coverage", "d", {"symbols": ("B", "A")}),
    ]


def test_pages_hold_every_job_once_newest_first_also_when_one_at_the_border_is_gone(
    http: httpx.Client, scripted: Scripted
) -> None:
    jobs = [JOB.model_copy(update={"id": f"job-{n}"}) for n in range(5)]
    scripted.does["jobs"] = lambda **_: jobs
    seen, after = [], None
    while True:
        page = http.get("/v1/backfills", params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [job["id"] for job in page["items"]]
        after = page["next"]
        if after is None:
            break
        scripted.does["jobs"] = lambda **_: [job for job in jobs if job.id != "job-1"]
    assert seen == [f"job-{n}" for n in range(5)]


@pytest.mark.parametrize("path", ["/v1/backfills", "/v1/shards", "/v1/leases", "/v1/coverage?dataset=d"])
@pytest.mark.parametrize("limit", ["0", "1001", "-1", "all"])
def test_a_page_is_bounded(http: httpx.Client, path: str, limit: str) -> None:
    refused = http.get(path + ("&" if "?" in path else "?") + f"limit={limit}")
    assert problem_of(refused, Kind.INVALID).field == "limit"


# Problems


@pytest.mark.parametrize(
    ("error", "kind", "field"),
    [
        (BackfillRejected("the end is before the start", field="end"), Kind.REJECTED, "end"),
        (NotFound("there is no job x"), Kind.NOT_FOUND, None),
        (CoordinatorUnavailable("Kafka is away"), Kind.UNAVAILABLE, None),
        (BrokerError("Kafka is away"), Kind.UNAVAILABLE, None),
        (RegistryError("the registry is away"), Kind.UNAVAILABLE, None),
        (SettingsError("that is wrong"), Kind.INTERNAL, None),
    ],
)
def test_an_error_with_a_message_is_a_problem_that_says_it(
    http: httpx.Client, scripted: Scripted, error: Exception, kind: Kind, field: str | None
) -> None:
    scripted.raises("request", error)
    answer = http.post("/v1/backfills", json=REQUEST)
    problem = problem_of(answer, kind)
    assert (problem.detail, problem.field) == (str(error), field)
    assert ("retry-after" in answer.headers) == (kind is Kind.UNAVAILABLE)


@pytest.mark.usefixtures("logging_as_it_was")
def test_what_nobody_foresaw_is_a_problem_that_tells_nothing_of_the_inside_but_the_log_does(
    http: httpx.Client, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(json=True)
    scripted.raises("job", ZeroDivisionError("secret inside"))
    answer = http.get("/v1/backfills/x")
    problem_of(answer, Kind.INTERNAL)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "ZeroDivisionError: secret inside" in capsys.readouterr().err
    assert http.get("/v1/shards/x").status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbols": []}, "symbols"),
        ({"symbols": ["A", 7]}, "symbols.1"),
        ({"start": "2022-01-01"}, "start"),
        ({"start": "2022-01-01T00:00:00"}, "start"),
        ({"dataset": None}, "dataset"),
        ({"target_rows": 0}, "target_rows"),
        ({"covered": {"A": [{"start": "2022-01-01T00:00:00Z"}]}}, "covered.A.0.end"),
        ({"sorce": "files"}, "sorce"),
        ({"covered": {"\ud800": 1}}, "covered."),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(http: httpx.Client, change: dict[str, Any], field: str) -> None:
    body = json.dumps({**REQUEST, **change})
    answer = http.post("/v1/backfills", content=body, headers={"Content-Type": "application/json"})
    problem = problem_of(answer, Kind.INVALID)
    assert problem.field is not None
    assert problem.field.startswith(field)
    assert problem.errors is not None
    assert problem.errors[0].field == problem.field


def test_a_thousand_wrong_fields_are_counted_and_twenty_of_them_told(http: httpx.Client) -> None:
    problem = problem_of(http.post("/v1/backfills", json={**REQUEST, "symbols": ["A", *[1] * 1_000]}), Kind.INVALID)
    assert problem.errors is not None
    assert len(problem.errors) == 20
    assert "1000 fields are wrong" in problem.detail


@pytest.mark.parametrize("body", [b"{", b"", b'{"dataset": \xff}', b"[" * 3_000], ids=["half", "none", "bytes", "deep"])
def test_a_body_that_is_no_json_is_a_problem(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/backfills", content=body, headers={"Content-Type": "application/json"})
    problem_of(answer, Kind.MALFORMED if body else Kind.INVALID)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", Kind.NO_SUCH_ROUTE),
        ("GET", "/v1/backfills/", Kind.NO_SUCH_ROUTE),
        ("GET", "/docs", Kind.NO_SUCH_ROUTE),
        ("GET", "/redoc", Kind.NO_SUCH_ROUTE),
        ("GET", "/v1/shards/%2F%C3%A4/x", Kind.NO_SUCH_ROUTE),
        ("PUT", "/v1/backfills", Kind.METHOD_NOT_ALLOWED),
        ("DELETE", "/v1/backfills/x", Kind.METHOD_NOT_ALLOWED),
        ("POST", "/v1/backfills/x:delete", Kind.METHOD_NOT_ALLOWED),
        ("POST", "/v1/leases/many:release", Kind.INVALID),
    ],
)
def test_what_is_not_there_is_a_problem(http: httpx.Client, method: str, path: str, kind: Kind) -> None:
    answer = http.request(method, path)
    problem_of(answer, kind)
    assert ("allow" in answer.headers) == (kind is Kind.METHOD_NOT_ALLOWED)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_said_to_be_json_is_refused(http: httpx.Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = http.post("/v1/backfills", content=json.dumps(REQUEST).encode(), headers=headers)
    problem_of(answer, Kind.UNSUPPORTED_MEDIA_TYPE)


# Bodies


def test_a_body_is_bounded_with_a_length_and_without(http: httpx.Client, scripted: Scripted) -> None:
    body = json.dumps({**REQUEST, "requested_by": "x" * 8_000}).encode()
    headers = {"Content-Type": "application/json"}
    whole = http.post("/v1/backfills", content=body, headers=headers)
    assert "4,096 bytes" in problem_of(whole, Kind.TOO_LARGE).detail
    chunked = http.post("/v1/backfills", content=iter([body[:5_000], body[5_000:]]), headers=headers)
    assert "max_body_bytes" in problem_of(chunked, Kind.TOO_LARGE).detail
    assert scripted.asked == []
    fits = iter([json.dumps(REQUEST).encode()])
    assert http.post("/v1/backfills", content=fits, headers=headers).status_code == 201


def test_a_body_without_an_end_is_refused_while_it_comes_in(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            b"POST /v1/backfills HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"400\r\n" + b" " * 1_024 + b"\r\n"
        for _ in range(64):  # all that is thrown away; then it must be answered, though the body goes on
            connection.sendall(piece)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


# The token


@pytest.fixture
def guarded(services: dict[str | None, Service], scripted: Scripted) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=services[TOKEN].url, timeout=10, verify=False) as client:
        yield client


CHANGES = [
    "/v1/backfills",
    "/v1/backfills?dry_run=true",
    "/v1/backfills/x:cancel",
    "/v1/backfills/x:pause",
    "/v1/backfills/x:resume",
    "/v1/shards/x:skip",
    "/v1/shards/x:retry",
    "/v1/leases/0:release",
]


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "given",
    [None, b"Bearer", b"Bearer wrong", b"Basic " + TOKEN.encode(), TOKEN.encode(), b"Bearer p\xe4ss:word:with:colons"],
    ids=["none", "empty", "wrong", "basic", "bare", "latin"],
)
def test_nothing_changes_without_the_token(
    guarded: httpx.Client, scripted: Scripted, path: str, given: bytes | None
) -> None:
    headers = [] if given is None else [(b"Authorization", given)]
    answer = guarded.post(path, json=REQUEST, headers=headers)
    problem_of(answer, Kind.UNAUTHORISED)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="seamless"')
    assert scripted.asked == []
    assert TOKEN not in answer.text


def test_every_route_that_changes_something_is_among_those_tried(guarded: httpx.Client) -> None:
    paths = guarded.get("/openapi.json").json()["paths"]
    changing = {path for path, methods in paths.items() if set(methods) - {"get"}}
    tried = {path.partition("?")[0].replace("/x:", "/{}:").replace("/0:", "/{}:") for path in CHANGES}
    assert {
        path.replace("{job}", "{}").replace("{shard}", "{}").replace("{partition}", "{}") for path in changing
    } == tried


def test_the_token_opens_with_its_colons_and_umlauts_whatever_the_case_of_bearer(
    guarded: httpx.Client, scripted: Scripted
) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = [(b"Authorization", f"{scheme} {TOKEN}".encode())]
        assert guarded.post("/v1/backfills/x:cancel", headers=headers).status_code == 200
    assert len(scripted.asked) == 3


READING = [
    "/v1/backfills",
    "/v1/backfills/x",
    "/v1/shards",
    "/v1/shards/x",
    "/v1/leases",
    "/v1/coverage?dataset=d",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_goes_no_further_than_its_guard_so_that_nobody_can_log_it(method: str) -> None:
    seen: list[Any] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def never(*_: Any) -> Any:
        raise AssertionError("nothing is to be read or answered")

    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"x-other", b"kept")]
    scope = {"type": "http", "method": method, "path": "/", "headers": headers}
    asyncio.run(TokenGuard(behind, TOKEN.encode())(scope, never, never))
    assert [s["headers"] for s in seen] == [[(b"x-other", b"kept")]]


@pytest.mark.parametrize("path", READING)
def test_reading_needs_no_token(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_without_a_token_a_web_page_changes_nothing(http: httpx.Client, scripted: Scripted) -> None:
    answer = http.post("/v1/backfills/x:cancel", headers={"Origin": "http://elsewhere.example"})
    problem_of(answer, Kind.FORBIDDEN)
    assert scripted.asked == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_public_address_without_a_token_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match=r"seamless\.coordinator\.token"):
        listening_socket(CoordinatorSettings(host=host, port=0))


@pytest.mark.parametrize(
    ("host", "token"), [("127.0.0.1", None), ("127.0.0.2", None), ("localhost", None), ("0.0.0.0", "t")]
)
def test_loopback_needs_no_token_and_a_public_address_does_with_one(host: str, token: str | None) -> None:
    secret = None if token is None else SecretStr(token)
    with listening_socket(CoordinatorSettings(host=host, port=0, token=secret)) as bound:
        assert bound.getsockname()[1] > 0


@pytest.mark.parametrize("token", ["", "  ", "a\nb", "a\x00b"])
def test_a_token_that_guards_nothing_or_fits_no_header_is_refused(token: str) -> None:
    with pytest.raises(SettingsError, match=r"seamless\.coordinator\.token") as caught:
        listening_socket(CoordinatorSettings(host="0.0.0.0", port=0, token=SecretStr(token)))
    assert token.strip() == "" or token not in str(caught.value)


def test_a_port_that_is_taken_and_a_host_that_is_not_ours_are_refused_by_name() -> None:
    with listening_socket(CoordinatorSettings(port=0)) as bound:
        bound.listen()
        with pytest.raises(SettingsError, match=r"seamless\.coordinator\.port"):
            listening_socket(CoordinatorSettings(port=bound.getsockname()[1]))
    with pytest.raises(SettingsError, match=r"seamless\.coordinator\.host"):
        listening_socket(CoordinatorSettings(host="no host at all", port=0))


# Streams


def test_changes_are_told_to_those_who_listen_to_them_and_no_other(service: Service, scripted: Scripted) -> None:
    with httpx.stream("GET", f"{service.url}/v1/events?job=job-1", timeout=10) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == ": listening"
        scripted.tell(change("job-2"))
        scripted.tell(change("job-1", "failed"))
        told = next(line for line in lines if line.startswith("data:"))
        assert json.loads(told.removeprefix("data:"))["state"] == "failed"
        assert any(line == ": nothing new" for line in lines)


def test_a_client_that_hangs_up_leaves_no_thread_and_no_watch_behind(service: Service, scripted: Scripted) -> None:
    before = threading.active_count()
    for _ in range(3):
        with httpx.stream("GET", f"{service.url}/v1/events?job=job-1", timeout=10) as response:
            lines = response.iter_lines()
            assert next(lines) == ": listening"
            assert service.hub.listeners > 0
    until(lambda: service.hub.listeners == 0 and scripted.watchers == 0, 10, "the end of the streams")
    until(
        lambda: not [t for t in threading.enumerate() if t.name == "coordinator events"],
        10,
        "the end of the threads",
        lambda: f"{before} before, now {threading.enumerate()}",
    )


def test_many_listeners_of_a_job_cost_one_watch(service: Service, scripted: Scripted) -> None:
    with (
        httpx.stream("GET", f"{service.url}/v1/events", timeout=10) as one,
        httpx.stream("GET", f"{service.url}/v1/events", timeout=10) as other,
    ):
        streams = [one.iter_lines(), other.iter_lines()]
        assert [next(lines) for lines in streams] == [": listening"] * 2
        assert scripted.watchers == 1
        scripted.tell(change("job-1"))
        for lines in streams:
            assert any("job-1" in line for line in lines)


def test_streams_end_when_watching_fails_and_begin_anew(service: Service, scripted: Scripted) -> None:
    with httpx.stream("GET", f"{service.url}/v1/events", timeout=10) as response:
        lines = response.iter_lines()
        assert next(lines) == ": listening"
        scripted.tell(CoordinatorUnavailable("Kafka is away"))
        assert [line for line in lines if line.startswith("data:")] == []  # it ends
    scripted.raises("watch", CoordinatorUnavailable("Kafka is still away"))
    refused = httpx.get(f"{service.url}/v1/events", timeout=10)
    assert problem_of(refused, Kind.UNAVAILABLE).detail == "Kafka is still away"
    scripted.does.clear()
    with httpx.stream("GET", f"{service.url}/v1/events", timeout=10) as response:
        assert next(response.iter_lines()) == ": listening"


def test_a_stream_of_an_unknown_job_is_a_problem(http: httpx.Client, scripted: Scripted) -> None:
    scripted.raises("watch", NotFound("there is no job x"))
    problem_of(http.get("/v1/events?job=x"), Kind.NOT_FOUND)


def test_streams_end_with_the_service(scripted: Scripted) -> None:
    with serving(scripted, drain_s=30) as running:
        response = httpx.Client(timeout=10).send(httpx.Request("GET", f"{running.url}/v1/events"), stream=True)
        lines = response.iter_lines()
        assert next(lines) == ": listening"
    assert [line for line in lines if line.startswith("data:")] == []
    response.close()


# Itself


def test_reading_is_answered_while_everything_that_steers_is_stuck(http: httpx.Client, scripted: Scripted) -> None:
    release = threading.Event()
    stuck: list[threading.Thread] = []

    def hang(*_: Any, **__: Any) -> Any:
        release.wait(60)
        return JOB

    scripted.does["cancel"] = hang
    try:
        for _ in range(20):
            stuck.append(threading.Thread(target=http.post, args=("/v1/backfills/x:cancel",)))
            stuck[-1].start()
        until(lambda: sum(call[0] == "cancel" for call in scripted.asked) >= 8, 10, "calls that are stuck")
        assert http.get("/v1/leases").json()["items"] == [LEASE.model_dump(mode="json")]
        assert http.get("/readyz").status_code == 200
    finally:
        release.set()
        for thread in stuck:
            thread.join(10)


def test_what_takes_too_long_is_answered_before_the_client_gives_up(scripted: Scripted) -> None:
    release = threading.Event()
    scripted.does["cancel"] = lambda *_, **__: release.wait(60) and JOB
    try:
        with (
            serving(scripted, patience_s=0.05) as impatient,
            httpx.Client(base_url=impatient.url, timeout=5) as http,
        ):
            for _ in range(20):  # also when all threads are taken
                answer = http.post("/v1/backfills/x:cancel")
                assert "no answer within 0.05 s" in problem_of(answer, Kind.UNAVAILABLE).detail
            assert sum(call[0] == "cancel" for call in scripted.asked) <= 8, "stuck calls pile up"
            release.set()
    finally:
        release.set()


def test_a_call_under_way_when_the_service_ends_is_answered(scripted: Scripted) -> None:
    release = threading.Event()
    scripted.does["cancel"] = lambda *_, **__: release.wait(60) and JOB
    answers: list[httpx.Response] = []

    def call(url: str) -> None:
        answers.append(httpx.post(f"{url}/v1/backfills/x:cancel", timeout=30))

    try:
        with serving(scripted, drain_s=0.3) as ending:
            thread = threading.Thread(target=call, args=(ending.url,))
            thread.start()
            until(lambda: bool(scripted.asked), 10, "the call")
        thread.join(10)
        assert "ending" in problem_of(answers[0], Kind.UNAVAILABLE).detail
    finally:
        release.set()


def test_it_is_alive_and_not_ready_while_the_view_does_not_answer(http: httpx.Client, scripted: Scripted) -> None:
    assert http.get("/readyz").json() == {"status": "ok", "reasons": []}
    scripted.raises("leases", CoordinatorUnavailable("the view is behind"))
    behind = http.get("/readyz")
    assert (behind.status_code, behind.json()["reasons"]) == (503, ["the view is behind"])
    assert http.get("/healthz").status_code == 200


def test_a_view_that_hangs_is_not_ready_and_hangs_nobody_else(scripted: Scripted) -> None:
    release = threading.Event()
    scripted.does["leases"] = lambda **_: release.wait(60) and []
    try:
        with serving(scripted, probe_s=0.1) as stuck, httpx.Client(base_url=stuck.url, timeout=10) as http:
            answers = [http.get("/readyz") for _ in range(3)]
            assert {answer.status_code for answer in answers} == {503}
            assert "no answer within 0.1 s" in answers[-1].json()["reasons"][0]
            assert sum(call[0] == "leases" for call in scripted.asked) == 1, "stuck looks pile up"
            assert http.get("/healthz").status_code == 200
            assert http.get("/metrics").status_code == 200
            release.set()
    finally:
        release.set()


def test_a_stopped_part_is_told_by_healthz(service: Service, http: httpx.Client) -> None:
    service.health.set("feed", Status.STOPPED, "it ended")
    answer = http.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "stopped", "reasons": ["feed: it ended"]})


def test_metrics_count_jobs_in_progress_and_stalled_leases(http: httpx.Client, scripted: Scripted) -> None:
    scripted.does["jobs"] = lambda **_: [JOB, JOB.model_copy(update={"state": "done"})]
    text = http.get("/metrics").text
    assert 'backfill_jobs_in_progress{world_id="live"} 1.0' in text
    assert 'backfill_stalled_leases{world_id="live"} 1.0' in text


# Its description


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = http.get("/openapi.json").json()
    return answer


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_its_description_is_valid_by_the_openapi_specification(document: dict[str, Any]) -> None:
    schema = json.loads(Path(__file__).with_name("openapi_spec.json").read_text("utf-8"))
    errors = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in Draft202012Validator(schema).iter_errors(document)]
    assert errors == []
    assert document["openapi"].startswith("3.1.")
    broken = {**document, "paths": {"no slash": {}}}
    assert not Draft202012Validator(schema).is_valid(broken)


def test_every_operation_is_described_with_examples_that_fit_their_schemas(document: dict[str, Any]) -> None:
    found = dict(operations(document))
    assert {operation["operationId"] for operation in found.values()} == set(ANSWERS)
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        bodies = list(operation["responses"].values())
        if operation["operationId"] in QUESTIONS:
            bodies.append(operation["requestBody"])
        for body in bodies:
            for media_type, content in body["content"].items():
                schema = {**content["schema"], "components": document["components"]}
                problems = [e.message for e in Draft202012Validator(schema).iter_errors(content["example"])]
                assert problems == [], f"{name}, {media_type}"


def test_every_operation_tells_its_problems_and_whether_it_needs_the_token(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if operation["tags"] == ["process"]:
            continue
        statuses = {status for status in operation["responses"] if status >= "400"}
        assert {"422", "500", "503"} <= statuses, name
        assert ("404" in statuses) == ("{" in name), name
        assert ("401" in statuses) == ("security" in operation) == name.startswith("post"), name
        for status in statuses:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"], name


def test_every_reference_in_it_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    named = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= set(document["components"]["schemas"])
    assert {"Problem", "ProgressEvent", "JobStatus"} <= set(document["components"]["schemas"])
    assert SHARD.id in text
