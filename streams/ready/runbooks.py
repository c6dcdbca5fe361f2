"""Whether runbooks are there for every alert, lead to the dashboards, and tell nothing of the version before; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from streams.ready.verdict import Verdict, failed, passed

__all__ = ["runbook_verdict"]

CHECK = "runbooks"
_REMEDY = "Correct them; `seamless monitoring export DIR` writes those of this version."
# A path such as /v1/leases is the coordinator's interface and no version of the product.
_V1 = re.compile(r"(?<![\w/.])(?:seamless[_ -]?)?v1\b(?!/)", re.I)
_SHOWN = 3
# Whose runbooks must name which dashboard, by the beginning of the alert's name.
COORDINATOR, SLA = "seamless-backfill-", "seamless-sla-"


def runbook_verdict(alerts: Mapping[str, str], pages: Mapping[str, Mapping[str, str]]) -> Verdict:
    """Judge runbooks.

    Args:
        alerts: the title of the dashboard that each alert leads to.
        pages: by language and name of the alert, their texts.
    """
    if not pages:
        return failed(CHECK, "there are none", _REMEDY)
    wrong = list(_wrong(alerts, pages))
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return failed(CHECK, f"{'; '.join(wrong[:_SHOWN])}{more}", _REMEDY)
    leads = [
        f"those of {what} lead to {title}"
        for what, begin in (("backfill", COORDINATOR), ("the SLA", SLA))
        for title in sorted({title for name, title in alerts.items() if name.startswith(begin)})
    ]
    return passed(
        CHECK,
        f"{len(alerts)} alerts have one each in {' and '.join(sorted(pages))}; {', '.join(leads)}; none names v1",
    )


def _wrong(alerts: Mapping[str, str], pages: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for language, texts in sorted(pages.items()):
        for name in sorted(alerts.keys() - texts.keys()):
            yield f"{language}/{name}.md is missing"
        for name, text in sorted(texts.items()):
            if (found := _V1.search(text)) is not None:
                yield f"{language}/{name}.md speaks of {found[0]}"
            title = alerts.get(name)
            if title is not None and name.startswith((COORDINATOR, SLA)) and title not in text:
                yield f"{language}/{name}.md does not lead to the dashboard {title}"
