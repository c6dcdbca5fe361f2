"""Put the broker and the registry in place: downloaded, verified, unpacked, once per user."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from operations.stack.artifacts import Artifact, StackLock, missing, read_lock
from operations.stack.filelock import exclusive
from operations.stack.paths import cache_dir
from streams.errors import StackError

__all__ = ["Installation", "install"]

_UNPACK_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Installation:
    """What the JVMs are started from."""

    kafka_classpath: tuple[Path, ...]
    registry_home: Path
    aot_dir: Path

    @property
    def registry_jar(self) -> Path:
        """The runnable jar of the registry."""
        return self.registry_home / "quarkus-run.jar"


def install(cache: Path | None = None, lock: StackLock | None = None) -> Installation:
    """Return the installation in the cache folder, completing it first; raise StackError if that fails."""
    root = cache or cache_dir()
    locked = lock or read_lock()
    try:
        for folder in ("jars", "archives", "registry", "aot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"The cache folder {root} cannot be written: {error}. Set SEAMLESS_CACHE_DIR to one that can."
        ) from error
    return Installation(
        kafka_classpath=_in_place(locked.kafka, root / "jars", title="Apache Kafka"),
        registry_home=_registry_home(locked, root),
        aot_dir=root / "aot",
    )


def _in_place(artifacts: tuple[Artifact, ...], folder: Path, *, title: str) -> tuple[Path, ...]:
    if missing(artifacts, folder):
        # Imported when needed: jgo takes longer to load than the stack takes to be found by other commands.
        from operations.stack.download import download

        download(artifacts, folder, title=title)
    return tuple(folder / artifact.filename for artifact in artifacts)


def _registry_home(lock: StackLock, root: Path) -> Path:
    # Named by the checksum: another archive is another folder, and a folder is never changed in place.
    home = root / "registry" / f"{lock.registry.version}-{lock.registry.sha256[:16]}"
    if home.is_dir():
        return home

    def refusal() -> StackError:
        return StackError(f"Another process keeps unpacking the registry into {home}. End it and try again.")

    with exclusive(root / "registry" / ".lock", wait_s=_UNPACK_WAIT_S, refusal=refusal):
        if not home.is_dir():
            (archive,) = _in_place((lock.registry,), root / "archives", title="Apicurio Registry")
            _unpack(archive, home)
            archive.unlink()  # 160 MB that only an unpacked copy is read from
    return home


def _unpack(archive: Path, home: Path) -> None:
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=home.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(incoming, filter="data")
        incoming.rename(home)
    except (OSError, tarfile.TarError) as error:
        raise StackError(f"{archive.name} could not be unpacked into {home}: {error}.") from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
