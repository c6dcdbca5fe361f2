"""Downloads of the embedded stack: verified against the lock, complete or absent, safe side by side."""

from __future__ import annotations

import gc
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from jgo.maven import MavenContext, PythonResolver
from psutil import Process

from operations.stack import download
from operations.stack.artifacts import LOCK_PATH, Artifact, StackLock, missing, read_lock, write_lock
from operations.stack.install import install
from operations.stack.settings import KAFKA_COORDINATES, REGISTRY_COORDINATE
from streams.errors import StackError


class Repository:
    """A Maven repository on this machine; it counts what is asked of it and can break off answers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.broken_answers = 0
        self.port = 0

    def holds(self, artifact: Artifact, content: bytes) -> None:
        folder = f"{artifact.group.replace('.', '/')}/{artifact.name}/{artifact.version}"
        self.files[f"/{folder}/{artifact.filename}"] = content


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    state = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = state.files.get(self.path)
            if self.path.endswith((".jar", ".gz")):
                state.asked.append(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if content is not None and state.broken_answers > 0:
                state.broken_answers -= 1
                content = content[: len(content) // 2]
                self.close_connection = True
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing: requests are part of the tests."""

    def local(repo_cache: Path, progress: download.ProgressCallback | None = None) -> MavenContext:
        address = f"http://127.0.0.1:{server.server_port}"
        return MavenContext(
            PythonResolver(progress_callback=progress), repo_cache=repo_cache, remote_repos={"local": address}
        )

    monkeypatch.setattr(download, "maven_context", local)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def artifact(name: str, content: bytes, packaging: str = "jar", classifier: str = "") -> Artifact:
    return Artifact(
        "org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content), packaging, classifier
    )


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def test_what_is_missing_is_downloaded_and_what_is_there_is_not_asked_for(
    repository: Repository, tmp_path: Path
) -> None:
    one, two = artifact("one", b"1" * 1000), artifact("two", b"2" * 1000)
    repository.holds(one, b"1" * 1000)
    repository.holds(two, b"2" * 1000)
    (tmp_path / one.filename).write_bytes(b"1" * 1000)
    download.download([one, two], tmp_path, title="test")
    assert len(repository.asked) == 1
    assert leftovers(tmp_path) == {"one-1.0.jar", "two-1.0.jar"}
    assert missing([one, two], tmp_path) == []


def test_a_download_that_is_not_what_the_lock_says_is_refused_and_not_kept(
    repository: Repository, tmp_path: Path
) -> None:
    locked = artifact("one", b"honest content")
    repository.holds(locked, b"altered content")
    with pytest.raises(StackError, match=r"org.example:one:1.0 does not match the lock") as refusal:
        download.download([locked], tmp_path, title="test")
    assert locked.sha256 in str(refusal.value)
    assert leftovers(tmp_path) == set()


def test_a_file_damaged_in_the_cache_is_loaded_again(repository: Repository, tmp_path: Path) -> None:
    locked = artifact("one", b"honest content")
    repository.holds(locked, b"honest content")
    (tmp_path / locked.filename).write_bytes(b"hacked content")
    download.download([locked], tmp_path, title="test")
    assert (tmp_path / locked.filename).read_bytes() == b"honest content"


def test_a_connection_that_breaks_is_tried_again(repository: Repository, tmp_path: Path) -> None:
    locked = artifact("one", b"x" * 100_000)
    repository.holds(locked, b"x" * 100_000)
    repository.broken_answers = 2
    download.download([locked], tmp_path, title="test")
    assert missing([locked], tmp_path) == []


def test_what_no_repository_has_is_explained_and_the_rest_is_kept(repository: Repository, tmp_path: Path) -> None:
    there, not_there = artifact("there", b"1"), artifact("not-there", b"2")
    repository.holds(there, b"1")
    with pytest.raises(StackError, match=r"org.example:not-there:1.0 could not be downloaded.*Check the network"):
        download.download([there, not_there], tmp_path, title="test")
    assert leftovers(tmp_path) == {"there-1.0.jar"}


def test_an_answer_that_is_refused_leaves_no_connection_open(repository: Repository, tmp_path: Path) -> None:
    gc.disable()  # which would close it sooner or later, with a warning in whatever runs then
    try:
        with pytest.raises(StackError, match="could not be downloaded"):
            download.download([artifact("not-there", b"1")], tmp_path, title="test")
        server = repository.port
        assert [c for c in Process().net_connections("tcp") if c.raddr and c.raddr.port == server] == []
    finally:
        gc.enable()


def test_two_at_once_download_once(repository: Repository, tmp_path: Path) -> None:
    locked = artifact("one", b"x" * 100_000)
    repository.holds(locked, b"x" * 100_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: download.download([locked], tmp_path, title="test"), range(4)))
    assert len(repository.asked) == 1


def test_an_installation_is_unpacked_once_and_its_archive_is_not_kept(repository: Repository, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("quarkus-run.jar")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"jar"))
    jar = artifact("broker", b"broker")
    archive = artifact("registry", packed.getvalue(), "tar.gz", "all")
    repository.holds(jar, b"broker")
    repository.holds(archive, packed.getvalue())
    lock = StackLock(kafka=(jar,), registry=archive)
    first, second = install(tmp_path, lock), install(tmp_path, lock)
    assert first == second
    assert first.registry_jar.read_bytes() == b"jar"
    assert [path.read_bytes() for path in first.kafka_classpath] == [b"broker"]
    assert len(repository.asked) == 2
    assert leftovers(tmp_path / "archives") == set()
    assert leftovers(tmp_path / "registry") == {first.registry_home.name}


def test_the_committed_lock_holds_what_the_settings_name_with_hashes_and_without_addresses() -> None:
    lock = read_lock()
    coordinates = {entry.coordinate for entry in lock.kafka}
    assert set(KAFKA_COORDINATES) <= coordinates
    assert f"{lock.registry.coordinate}:all:tar.gz" == REGISTRY_COORDINATE
    assert all(re.fullmatch(r"[0-9a-f]{64}", entry.sha256) for entry in (*lock.kafka, lock.registry))
    assert "://" not in LOCK_PATH.read_text("utf-8")


def test_the_lock_names_each_library_once() -> None:
    names = [(entry.group, entry.name) for entry in read_lock().kafka]
    assert len(names) == len(set(names))


def test_a_written_lock_reads_back_the_same(tmp_path: Path) -> None:
    lock = read_lock()
    write_lock(lock, tmp_path / "lock.json")
    assert read_lock(tmp_path / "lock.json") == lock
    assert (tmp_path / "lock.json").read_bytes() == LOCK_PATH.read_bytes()


def test_a_damaged_lock_is_explained(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text('{"kafka": []}', "utf-8")
    with pytest.raises(StackError, match=r"operations\.stack\.relock"):
        read_lock(tmp_path / "lock.json")
