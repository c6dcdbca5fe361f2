"""From the runs to the table's lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.run import Measurement

__all__ = ["Line", "Round", "summarise"]

#: One interleaved pass over the jobs, by their names.
Round = dict[str, Measurement]


@dataclass(frozen=True)
class Line:
    """The medians of a job; a ratio is the median of the rounds' ratios, so that drift between them cancels.

    `against_reference` is this job / the reference; `product_against` the product / this job; None where the
    other side was not measured.
    """

    job: str
    records: int
    records_per_second: float
    against_reference: float | None
    product_against: float | None
    cpu_us_per_record: float
    peak_megabytes: float


def summarise(rounds: Sequence[Round], reference: str, product: str) -> list[Line]:
    """Return one line per job that appears in the rounds, in the order of its first appearance."""
    names = dict.fromkeys(name for passed in rounds for name in passed)
    return [_line(rounds, name, reference, product) for name in names]


def _line(rounds: Sequence[Round], name: str, reference: str, product: str) -> Line:
    runs = [passed[name] for passed in rounds if name in passed]
    return Line(
        job=name,
        records=round(median(run.records for run in runs)),
        records_per_second=median(run.records_per_second for run in runs),
        against_reference=_ratio(rounds, name, reference),
        product_against=_ratio(rounds, product, name),
        cpu_us_per_record=median(run.cpu_us_per_record for run in runs),
        peak_megabytes=median(run.peak_bytes for run in runs) / 1e6,
    )


def _ratio(rounds: Sequence[Round], above: str, below: str) -> float | None:
    ratios = [
        passed[above].records_per_second / passed[below].records_per_second
        for passed in rounds
        if above in passed and below in passed
    ]
    return median(ratios) if ratios else None
