"""quixstreams, exactly once."""

from __future__ import annotations

from quixstreams import Application

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.bars_codec import BarsCodec, holds
from benchmarks.programs.clients import COMMIT_SECONDS, FETCHING, PRODUCING

__all__ = ["main"]


def main(task: Assignment) -> None:
    """Normalize for ever."""
    codec = BarsCodec(task)
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.group,
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_SECONDS,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        consumer_extra_config=dict(FETCHING),
        producer_extra_config={"transactional.id": task.group, **PRODUCING},
        state_dir=task.work_folder,
    )
    source = app.topic(task.input_topic, key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(task.output_topic, key_serializer="bytes", value_serializer="bytes")
    app.dataframe(source).apply(codec.decode).filter(holds).apply(codec.encode).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main(Assignment.from_environ())
