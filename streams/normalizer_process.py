"""A process that normalizes datasets, one thread each, and tells the outside how it fares."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from streams.errors import SeamlessError, SettingsError
from streams.garbage import calm_garbage_collection
from streams.health import Health, HealthServer, Status
from streams.log import get_logger
from streams.metrics import Metrics
from streams.normalizer import Normalizer
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_normalizers"]

log = get_logger(__name__)

# Between two turns of a loop may lie an init of the producer, a restoring of states and a commit, each with a deadline.
_LONG_TASKS = 3
_SILENCE_SECONDS = 30.0


def run_normalizers(
    settings: Settings, datasets: Sequence[str], stop: threading.Event, until_end: bool, accept_loss: bool
) -> list[str]:
    """Run the normalizers of datasets until `stop` is set; return the datasets that failed.

    A dataset that stops takes no other with it. While any still works the process goes on, and `/healthz` answers 200
    and names the ones that do not; when none is left it ends.

    Raises:
        SettingsError: if no dataset is named or configured.
        SeamlessError: if a dataset cannot be prepared.
    """
    if not datasets:
        raise SettingsError("there is no dataset to normalize: configure one under [datasets.<name>]")
    silence = _LONG_TASKS * settings.normalizer.restore_deadline_s + _SILENCE_SECONDS
    metrics, health = Metrics(settings.world), Health(silence_limit=silence, loops=datasets)
    registry = Registry(settings.registry)
    normalizers = [Normalizer(settings, name, registry, metrics, health, accept_loss=accept_loss) for name in datasets]
    failed: list[str] = []

    def work(normalizer: Normalizer) -> None:
        name = normalizer.job.dataset
        try:
            normalizer.run(stop, until_end=until_end)
            log.info("normalizer_done", dataset=name)
        except SeamlessError as error:
            failed.append(name)
            # No 503 while others work: who restarts the process for it would stop them again and again.
            health.set(name, Status.STOPPED if len(failed) == len(normalizers) else Status.DEGRADED, str(error))
            log.error("normalizer_failed", dataset=name, error=str(error))
        except BaseException:  # a panic of a native library is no Exception
            # Crash-only: what is not understood ends the process, so that the group hands its partitions on.
            failed.append(name)
            stop.set()
            log.exception("normalizer_crashed", dataset=name)
        finally:
            health.ended(name)

    calm_garbage_collection()
    with HealthServer(settings.metrics, metrics, health) as server:
        log.info("normalizer_started", world=settings.world, datasets=list(datasets), metrics=server.url)
        threads = [threading.Thread(target=work, args=(n,), name=n.job.dataset) for n in normalizers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return failed
