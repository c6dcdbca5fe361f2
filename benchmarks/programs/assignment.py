"""What a measured program is told, in environment variables; the Java program reads the same ones."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

__all__ = ["Assignment"]

_PREFIX = "BENCH_"


@dataclass(frozen=True)
class Assignment:
    """One run of one program: where to read, where to write, and how to frame the bars."""

    bootstrap: str
    registry_url: str
    input_topic: str
    output_topic: str
    #: Fresh for every run, so that reading starts at the beginning; also the transactional id.
    group: str
    schema_path: str
    schema_id: int
    #: A folder of this run alone, for whatever the program writes.
    work_folder: str
    #: Which form of the program: `plain` or `transactional`, a thread count...
    variant: str = ""

    def environ(self) -> dict[str, str]:
        """Return the environment variables that carry this assignment."""
        return {f"{_PREFIX}{name.upper()}": str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_environ(cls) -> Assignment:
        """Read the assignment of this process."""
        values = {field.name: os.environ[f"{_PREFIX}{field.name.upper()}"] for field in fields(cls)}
        return cls(**{**values, "schema_id": int(values["schema_id"])})
