"""The example of a consumer that is no part of Seamless tells a webhook of breaches, with Kafka's client alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from tests.support.alerting import Breaches, a_breach, listening
from tests.support.progress import until
from tests.support.worlds import make_world

pytestmark = pytest.mark.kafka

EXAMPLE = Path(__file__).parents[2] / "examples" / "slack_webhook.py"


def test_it_tells_of_a_breach_when_it_opens_and_when_it_is_over(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    breaches, log = Breaches(made), tmp_path / "slack.log"
    opened = a_breach(world, synthetic=True)
    with listening() as hook, log.open("wb") as out:
        environ = {"KAFKA": stack.bootstrap_servers, "REGISTRY": stack.registry_url, "WEBHOOK": hook.url}
        command = [sys.executable, str(EXAMPLE), world]
        example = subprocess.Popen(command, env=os.environ | environ, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: "reading 4 partitions" in log.read_text(), 60, "a start", log.read_text)

            def heard() -> bool:
                # Where it begins to read is settled a moment after that, so a first breach may be before it.
                breaches.write(opened)
                return bool(hook.calls)

            until(heard, 30, "a first post", log.read_text)
            over = replace(opened, sequence=1, state="resolved", observed=None, at=opened.at + timedelta(minutes=5))
            breaches.write(over)
            until(lambda: "resolved" in hook.calls[-1][1]["text"], 30, "a last post", log.read_text)
        finally:
            example.kill()
            example.wait(10)
    texts = [body["text"] for _, body in hook.calls]
    first, second = texts[0], texts[-1]
    assert first.startswith(":fire: DRILL: *quick* opened (warning)\nbars, total, for alpha: p99 of total <= 2 s")
    assert "There was 3.25 seconds up to" in first
    assert second.startswith(":white_check_mark: DRILL: *quick* resolved")
    assert "There was nothing up to" in second
