"""Plot closes of a series, the holes in it, and the bars that conformance flagged, as a PNG.

    python examples/plot_series.py --dataset ohlcv.us.1d --symbol IBM --start 2000-01-01 --end 2014-01-01 --output a.png

Needs matplotlib.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

from streams import Provider, SLAPolicy, load_settings

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
from matplotlib.dates import date2num


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config", type=Path, help="the settings file; found as the command `seamless` finds it")
    options.add_argument("--dataset", required=True)
    options.add_argument("--symbol", required=True)
    options.add_argument("--start", required=True)
    options.add_argument("--end", required=True)
    options.add_argument("--output", type=Path, required=True)
    chosen = options.parse_args()

    # What there is, at once: a picture of holes is made to show them, not to wait until they are filled.
    policy = SLAPolicy(max_wait_backfill=0, min_coverage=0, on_violation="partial_fill")
    with Provider(load_settings(chosen.config), consumer="plot") as provider:
        found = provider.fetch(chosen.dataset, [chosen.symbol], chosen.start, chosen.end, sla=policy)

    figure, axes = plt.subplots(figsize=(12, 5), layout="constrained")
    axes.plot(found.frame["event_time"], found.frame["close"], linewidth=0.8, label="close")
    flagged = found.frame.filter(found.frame["flags"] != 0)
    axes.scatter(flagged["event_time"], flagged["close"], s=14, color="tab:orange", zorder=3, label="flagged")
    for number, hole in enumerate(found.missing):
        moments = [datetime.fromtimestamp(at / 1e9, UTC) for at in (hole.start, hole.end)]
        first, behind = date2num(moments)  # type: ignore[no-untyped-call]
        axes.axvspan(first, behind, color="tab:red", alpha=0.25, label="missing" if number == 0 else None)
    axes.set_title(f"{chosen.dataset} {chosen.symbol}: {found.frame.height} bars, fingerprint {found.fingerprint[:8]}")
    axes.set_xlabel("event time")
    axes.set_ylabel("close")
    axes.legend(loc="upper left")
    figure.savefig(chosen.output, dpi=120)
    print(f"{found.frame.height} bars, {flagged.height} flagged, {len(found.missing)} holes: {chosen.output}")


if __name__ == "__main__":
    main()
