"""Processes, ports and the state file of the embedded stack, tested on real ones without any JVM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

import psutil
import pytest

from operations.stack import EmbeddedStack, find_stack
from operations.stack.aot import AotCache, keep_recording
from operations.stack.filelock import exclusive
from operations.stack.health import inspect
from operations.stack.ports import free_ports, is_free, require_free
from operations.stack.probe import kafka_answers, registry_answers
from operations.stack.processes import ProcessRef, spawn, tail
from operations.stack.state import STATE_FILE, PartState, Ports, StackState, read_state, write_state
from streams.clock import Deadline
from streams.errors import StackError
from tests.support.progress import until

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(tmp_path: Path, command: list[str] = SLEEPER, *, die_with_parent: bool = False) -> ProcessRef:
    log = tmp_path / "process.log"
    return spawn(command, log=log, cwd=tmp_path, env=os.environ, die_with_parent=die_with_parent)


def state_of(tmp_path: Path, process: ProcessRef | None) -> StackState:
    part = process and PartState(version="1", pid=process.pid, created=process.created, started_at=AT)
    ports = Ports(kafka=1, controller=2, registry=3)
    return StackState(dir=tmp_path, ports=ports, started_at=AT, kafka=part, registry=part)


def test_a_process_is_seen_alive_and_after_a_kill_dead_at_once(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.alive()
    assert (process.resident_bytes() or 0) > 0
    process.kill()
    assert not process.alive()
    assert process.resident_bytes() is None


def test_another_process_under_the_same_pid_is_not_taken_for_ours(tmp_path: Path) -> None:
    process = start(tmp_path)
    former = ProcessRef(process.pid, process.created - 10)
    try:
        assert not former.alive()
        former.kill()
        former.send(signal.SIGTERM)
        assert process.alive()
    finally:
        process.kill()


def test_an_end_by_itself_is_waited_for_and_what_it_said_is_in_the_log(tmp_path: Path) -> None:
    process = start(tmp_path, [sys.executable, "-c", "print('one'); print('two'); print('three')"])
    assert process.wait(Deadline(10))
    assert tail(tmp_path / "process.log", 2) == "two\nthree"


def test_waiting_stops_at_the_deadline(tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        assert not process.wait(Deadline(0.05))
    finally:
        process.kill()


def test_a_guarded_process_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from operations.stack.processes import spawn\n"
        f"child = spawn({SLEEPER!r}, log=Path('log'), cwd=Path('.'), env=os.environ, die_with_parent=True)\n"
        "print(child.pid, child.created, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, created = parent.stdout.readline().split()
        orphan = ProcessRef(int(pid), float(created))
        assert orphan.alive()
        parent.kill()
    assert orphan.wait(Deadline(10))


def test_a_missing_log_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "nothing.log", 10) == ""


def test_a_process_whose_first_thread_has_ended_runs_while_others_do_and_is_killed_whole(tmp_path: Path) -> None:
    lingering = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
    ending = "; ctypes.CDLL(None).pthread_exit(None)"
    process = start(tmp_path, [sys.executable, "-c", lingering + ending])
    shown = psutil.Process(process.pid)
    until(lambda: shown.status() == psutil.STATUS_ZOMBIE, 10, "the first thread has ended")
    assert process.alive()
    process.kill()
    assert not process.alive()


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)


@pytest.mark.skipif(not EPHEMERAL.exists(), reason="only Linux tells which ports outgoing connections get")
def test_a_free_port_is_never_one_that_an_outgoing_connection_may_take_meanwhile() -> None:
    first = int(EPHEMERAL.read_text("ascii").split()[0])
    assert first < 12_000 or all(port < first for port in free_ports(50))


def test_a_taken_port_that_was_asked_for_is_refused_by_the_name_of_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(StackError, match=rf"Port {port} \(from --kafka-port\) is in use"):
            require_free(port, option="--kafka-port")


def test_nobody_listening_is_no_answer() -> None:
    (port,) = free_ports(1)
    assert not kafka_answers(port)
    assert not registry_answers(port)


def test_a_server_that_is_neither_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not kafka_answers(port, timeout_s=0.1)
        assert not registry_answers(port, timeout_s=0.1)


def test_the_state_reads_back_as_written_and_names_both_addresses(tmp_path: Path) -> None:
    state = state_of(tmp_path, ProcessRef(1, 2.5))
    write_state(state)
    assert read_state(tmp_path) == state
    shown = json.loads((tmp_path / STATE_FILE).read_text("utf-8"))
    assert shown["bootstrap_servers"] == "127.0.0.1:1"
    assert shown["registry_url"] == "http://127.0.0.1:3/apis/ccompat/v7"
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_damaged_state_is_explained_and_none_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    (tmp_path / STATE_FILE).write_text('{"dir": ', "utf-8")
    with pytest.raises(StackError, match="damaged"):
        read_state(tmp_path)


def test_a_stack_is_found_only_while_its_processes_run(tmp_path: Path) -> None:
    assert find_stack(tmp_path) is None
    process = start(tmp_path)
    write_state(state_of(tmp_path, process))
    found = find_stack(tmp_path)
    process.kill()
    assert found is not None
    assert find_stack(tmp_path) is None
    assert {part.condition for part in inspect(found, AT)} == {"dead"}


def test_a_stack_that_was_stopped_is_stopped_and_not_dead(tmp_path: Path) -> None:
    assert {part.condition for part in inspect(state_of(tmp_path, None), AT)} == {"stopped"}


def test_the_folder_comes_from_the_environment_if_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "elsewhere"))
    assert EmbeddedStack().dir == tmp_path / "elsewhere"
    assert EmbeddedStack(tmp_path).dir == tmp_path


def test_stopping_where_nothing_was_started_says_so_and_starts_nothing(tmp_path: Path) -> None:
    assert EmbeddedStack(tmp_path).stop() is False
    with pytest.raises(StackError, match="seamless up"):
        _ = EmbeddedStack(tmp_path).bootstrap_servers


def test_a_heap_that_is_no_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="lots"):
        EmbeddedStack(tmp_path, kafka_heap="lots")


def test_a_recording_becomes_the_cache_and_one_that_was_broken_off_does_not(tmp_path: Path) -> None:
    cache = AotCache.of(tmp_path, "kafka", "4.3.1", "abc")
    broken, good = cache.training_output(), cache.training_output()
    assert broken != good
    broken.with_name(f"{broken.name}.config").write_bytes(b"half")
    keep_recording(broken)
    assert cache.use_flags() == []
    good.write_bytes(b"classes")
    keep_recording(good)
    (kept,) = tmp_path.iterdir()
    assert cache.use_flags() == [f"-XX:AOTCache={kept}"]
    assert AotCache.of(tmp_path, "kafka", "4.3.1", "of another JVM").use_flags() == []
    cache.discard()
    assert cache.use_flags() == []


def test_a_newer_recording_replaces_the_cache(tmp_path: Path) -> None:
    cache = AotCache.of(tmp_path, "kafka", "4.3.1", "abc")
    for content in (b"older", b"newer", b"newer"):
        output = cache.training_output()
        output.write_bytes(content)
        keep_recording(output)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b"newer"


def test_a_damaged_cache_is_not_used_and_not_kept(tmp_path: Path) -> None:
    cache = AotCache.of(tmp_path, "kafka", "4.3.1", "abc")
    output = cache.training_output()
    output.write_bytes(b"classes")
    keep_recording(output)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"clashes")
    assert cache.use_flags() == []
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_released_by_the_death_of_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from operations.stack.filelock import exclusive\n"
        "with exclusive(Path('lock'), wait_s=0, refusal=RuntimeError):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(TimeoutError, match="held by another"),
            exclusive(tmp_path / "lock", wait_s=0, refusal=lambda: TimeoutError("held by another")),
        ):
            sleep(0)
        holder.kill()
    with exclusive(tmp_path / "lock", wait_s=5, refusal=lambda: TimeoutError("still held")):
        pass
