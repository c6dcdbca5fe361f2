"""A process that archives datasets, one thread each, and tells the outside how it fares."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from streams.archive.archiver import Archiver
from streams.archive.maintenance import care_for
from streams.errors import SeamlessError, SettingsError
from streams.garbage import calm_garbage_collection
from streams.health import Health, HealthServer, Status
from streams.log import get_logger
from streams.metrics import Metrics
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_archivers"]

log = get_logger(__name__)


def run_archivers(
    settings: Settings, datasets: Sequence[str], stop: threading.Event, *, until_end: bool, accept_loss: bool
) -> list[str]:
    """Archive datasets until `stop` is set; return the datasets that failed.

    A dataset that stops takes no other with it. While any still works the process goes on, and `/healthz` names the
    ones that do not; when none is left it ends.

    Raises:
        SettingsError: if no dataset is named or configured.
        SeamlessError: if a dataset cannot be prepared.
    """
    if not datasets:
        raise SettingsError("there is no dataset to archive: configure one under [datasets.<name>]")
    metrics, health = Metrics(settings.world), Health()
    failed: list[str] = []

    def work(archiver: Archiver) -> None:
        name = archiver.dataset
        try:
            archiver.run(stop, until_end=until_end)
            log.info("archiver_done", dataset=name)
        except SeamlessError as error:
            failed.append(name)
            health.set(name, Status.STOPPED, str(error))
            log.error("archiver_failed", dataset=name, error=str(error))
        except BaseException:  # a panic of a native library is no Exception
            # Crash-only: what is not understood ends the process, so that the group hands its partitions on.
            failed.append(name)
            stop.set()
            log.exception("archiver_crashed", dataset=name)

    with Registry(settings.registry) as registry:
        archivers = [Archiver(settings, d, registry, metrics, health, accept_loss=accept_loss) for d in datasets]
        calm_garbage_collection()
        with HealthServer(settings.metrics, metrics, health) as server:
            log.info("archiver_started", world=settings.world, datasets=list(datasets), url=settings.archive.url,
                     metrics=server.url)  # fmt: skip
            threads = [threading.Thread(target=work, args=(a,), name=a.dataset) for a in archivers]
            for archiver in archivers:
                arguments = (archiver, settings, metrics, stop)
                threading.Thread(target=care_for, args=arguments, name=f"care {archiver.dataset}", daemon=True).start()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return failed
