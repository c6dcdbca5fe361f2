"""Which ports a stack is to have: those of what runs, those asked for, those it had, or any free ones."""

from __future__ import annotations

from dataclasses import dataclass

from operations.stack.ports import free_ports, is_free, require_free
from operations.stack.state import PartState, Ports, StackState
from streams.errors import StackError

__all__ = ["FixedPorts", "choose_ports"]


@dataclass(frozen=True, slots=True)
class FixedPorts:
    """The ports that a user insists on."""

    kafka: int | None = None
    registry: int | None = None


def choose_ports(previous: StackState | None, fixed: FixedPorts) -> Ports:
    """Return ports that are free now, or held by the parts of `previous` that run.

    Raise StackError if a fixed port is taken, or is not the one on which its part already runs.
    """
    kafka, controller, registry = free_ports(3)
    broker_runs = registry_runs = False
    if previous is not None:
        last = previous.ports
        broker_runs, registry_runs = _runs(previous.kafka), _runs(previous.registry)
        kafka = last.kafka if broker_runs or is_free(last.kafka) else kafka
        controller = last.controller if broker_runs or is_free(last.controller) else controller
        registry = last.registry if registry_runs or is_free(last.registry) else registry
    return Ports(
        kafka=_settle(fixed.kafka, kafka, "--kafka-port", runs=broker_runs),
        controller=controller,
        registry=_settle(fixed.registry, registry, "--registry-port", runs=registry_runs),
    )


def _settle(fixed: int | None, otherwise: int, option: str, *, runs: bool) -> int:
    if fixed is None or fixed == otherwise:
        return otherwise
    if runs:
        raise StackError(
            f"The stack already runs, on port {otherwise}; {option} asks for {fixed}. "
            "Stop it first (seamless down), or start another one in another folder (--dir)."
        )
    return require_free(fixed, option=option)


def _runs(part: PartState | None) -> bool:
    return part is not None and part.process.alive()
