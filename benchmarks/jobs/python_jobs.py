"""The jobs written in Python: a module of `benchmarks.programs`, run by an interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.jobs.environments import environment
from benchmarks.jobs.job import Command, Job, in_variant
from benchmarks.programs.assignment import Assignment

__all__ = ["PYTHON_JOBS", "PythonJob"]

_ROOT = Path(__file__).parent.parent.parent


class PythonJob(Job):
    """A module, run in the product's environment or in the one whose requirements `needs` names."""

    def __init__(
        self,
        name: str,
        title: str,
        guarantee: str,
        module: str,
        *,
        variant: str = "",
        needs: str | None = None,
        share: float = 1.0,
    ) -> None:
        self.name = name
        self.title = title
        self.guarantee = guarantee
        self.share = share
        self._module = module
        self._variant = variant
        self._needs = needs
        self._python = Path(sys.executable)

    def prepare(self) -> None:
        """Make the environment."""
        if self._needs is not None:
            self._python = environment(self._needs)

    def command(self, task: Assignment) -> Command:
        """Run the module; it finds the benchmark's package through the path."""
        arguments = [str(self._python), "-m", f"benchmarks.programs.{self._module}"]
        if self._needs == "faust":
            arguments.append("worker")
        return Command(arguments, {**in_variant(task, self._variant), "PYTHONPATH": str(_ROOT)})


EXACTLY_ONCE = "exactly once"
AT_LEAST_ONCE = "at least once"

PYTHON_JOBS: tuple[Job, ...] = (
    PythonJob("passthrough", "pass-through", AT_LEAST_ONCE, "passthrough", variant="plain"),
    PythonJob("passthrough_eos", "pass-through, transactions", EXACTLY_ONCE, "passthrough", variant="transactional"),
    PythonJob("confluent_avro", "confluent-kafka Avro (de)serializers", EXACTLY_ONCE, "confluent_avro", share=0.1),
    PythonJob("quixstreams", "quixstreams", EXACTLY_ONCE, "quixstreams_bars", needs="quixstreams", share=0.1),
    # It writes a whole batch at once, so its share must hold many batches.
    PythonJob("bytewax", "bytewax", "none", "bytewax_bars", needs="bytewax", share=0.5),
    PythonJob(
        "faust",
        "faust",
        AT_LEAST_ONCE,
        "faust_bars",
        variant="at_least_once",
        needs="faust",
        share=0.02,
    ),
    PythonJob(
        "faust_eos",
        "faust, its exactly_once",
        '"exactly once"',
        "faust_bars",
        variant="exactly_once",
        needs="faust",
        share=0.02,
    ),
)
