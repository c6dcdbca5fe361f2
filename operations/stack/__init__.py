"""The embedded stack: real Kafka and a real schema registry, started without Docker."""

from operations.stack.embedded import EmbeddedStack
from operations.stack.state import StackState, find_stack

__all__ = ["EmbeddedStack", "StackState", "find_stack"]
