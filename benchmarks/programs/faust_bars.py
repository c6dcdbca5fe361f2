"""faust-streaming; the variant is its `processing_guarantee`."""

from __future__ import annotations

import faust

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.bars_codec import BarsCodec, holds
from benchmarks.programs.clients import BATCH, COMMIT_SECONDS

__all__ = ["build"]


def build(task: Assignment) -> faust.App:
    """Return the app with its one agent."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap}",
        processing_guarantee=task.variant,
        broker_commit_interval=COMMIT_SECONDS,
        broker_max_poll_records=BATCH,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.005,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=task.work_folder,
    )
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    source = app.topic(task.input_topic, **raw)
    sink = app.topic(task.output_topic, **raw)
    codec = BarsCodec(task)

    @app.agent(source)
    async def normalize(stream: faust.StreamT[bytes]) -> None:
        async for key, value in stream.items():
            bar = codec.decode(value)
            if holds(bar):
                await sink.send(key=key, value=codec.encode(bar))

    return app


if __name__ == "__main__":
    faust.Worker(build(Assignment.from_environ()), loglevel="INFO").execute_from_commandline()
