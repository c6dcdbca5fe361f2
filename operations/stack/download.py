"""Download artifacts through jgo into the cache, and never let one in whose sha256 is not the lock's."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from operations.stack.artifacts import Artifact, missing, sha256_of
from operations.stack.filelock import exclusive
from streams.errors import StackError

__all__ = ["download", "maven_context"]

_ATTEMPTS = 3
_PARALLEL = 6
_LOCK_WAIT_S = 900.0  # another process may be downloading everything over a slow line
_TIMEOUT_S = 30

Advance = Callable[[int], None]
ProgressCallback = Callable[[str, int], AbstractContextManager[Advance]]


def maven_context(repo_cache: Path, progress: ProgressCallback | None = None) -> MavenContext:
    """Return a jgo context on Maven Central, after the repositories of the user's own jgo configuration.

    A mirror needs no trust: what it delivers is held against the lock.
    """
    mirrors = GlobalSettings.load().repositories
    return MavenContext(
        resolver=PythonResolver(progress_callback=progress),
        repo_cache=repo_cache,
        remote_repos={**mirrors, "central": MAVEN_CENTRAL_URL},
        timeout=_TIMEOUT_S,
    )


def download(artifacts: Iterable[Artifact], folder: Path, *, title: str) -> None:
    """Bring those of `artifacts` into `folder` that are not there intact.

    A file appears under its name only once it is complete and verified. Safe when several processes call it
    at once. Raise StackError if a download fails or what arrives is not what the lock says.
    """

    def refusal() -> StackError:
        return StackError(f"Another process keeps downloading into {folder} for {_LOCK_WAIT_S:.0f} s. End it first.")

    with exclusive(folder / ".lock", wait_s=_LOCK_WAIT_S, refusal=refusal):
        if lacking := missing(artifacts, folder):
            _download_all(lacking, folder, title)


def _download_all(lacking: list[Artifact], folder: Path, title: str) -> None:
    with (
        _progress_bar(title, sum(artifact.size for artifact in lacking)) as advance,
        tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming,
        ThreadPoolExecutor(_PARALLEL, thread_name_prefix="download") as pool,
    ):
        context = maven_context(Path(incoming), progress=lambda _name, _size: _advancing(advance))
        pending = [pool.submit(_download, artifact, context, folder) for artifact in lacking]
        try:
            for each in pending:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download(artifact: Artifact, context: MavenContext, folder: Path) -> None:
    remote = (
        context.project(artifact.group, artifact.name)
        .at_version(artifact.version)
        .artifact(classifier=artifact.classifier, packaging=artifact.packaging)
    )
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            arrived = Path(remote.resolve())
            break
        except (requests.RequestException, RuntimeError, OSError) as error:
            # jgo drops an answer other than 200 unread, and the trace's frames would keep its socket open.
            traceback.clear_frames(error.__traceback__)
            # jgo writes in place, so what a broken connection left there would pass for the artifact.
            if remote.cached_path is not None:
                remote.cached_path.unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                raise StackError(
                    f"{artifact.coordinate} could not be downloaded: {error}. Check the network (proxy, or a "
                    "mirror in jgo's configuration) and try again; what has arrived so far is kept."
                ) from error
    actual = sha256_of(arrived)
    if actual != artifact.sha256:
        raise StackError(
            f"{artifact.coordinate} does not match the lock: its sha256 is {actual}, the lock says "
            f"{artifact.sha256}. The download is refused. If it was damaged on its way, try again; if it is "
            "meant to differ, write the lock again: python -m operations.stack.relock"
        )
    os.replace(arrived, folder / artifact.filename)  # noqa: PTH105 - the atomic one


@contextmanager
def _progress_bar(title: str, total: int) -> Iterator[Advance]:
    """Show one bar for all files on a terminal; elsewhere a single line, so that logs stay readable."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{title}: downloading {total / 1e6:.0f} MB (once)", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _advancing(advance: Advance) -> Iterator[Advance]:
    yield advance
