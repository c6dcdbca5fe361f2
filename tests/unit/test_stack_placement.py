"""Which ports a stack gets."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from operations.stack.placement import FixedPorts, choose_ports
from operations.stack.ports import free_ports
from operations.stack.state import PartState, Ports, StackState
from streams.errors import StackError

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONE = FixedPorts()


def running() -> PartState:
    """Return a part that certainly runs: this very process."""
    created = psutil.Process().create_time()
    return PartState(version="1", pid=os.getpid(), created=created, started_at=AT)


def stack(ports: Ports, kafka: PartState | None = None, registry: PartState | None = None) -> StackState:
    return StackState(dir=Path(), ports=ports, started_at=AT, kafka=kafka, registry=registry)


def some_ports() -> Ports:
    kafka, controller, registry = free_ports(3)
    return Ports(kafka=kafka, controller=controller, registry=registry)


def test_a_new_stack_gets_three_different_ports() -> None:
    ports = choose_ports(None, NONE)
    assert len({ports.kafka, ports.controller, ports.registry}) == 3


def test_a_stopped_stack_gets_the_ports_it_had() -> None:
    last = some_ports()
    assert choose_ports(stack(last), NONE) == last


def test_a_port_that_was_taken_meanwhile_is_replaced_alone() -> None:
    last = some_ports()
    with socket.create_server(("127.0.0.1", last.kafka)):
        ports = choose_ports(stack(last), NONE)
    assert ports.kafka != last.kafka
    assert (ports.controller, ports.registry) == (last.controller, last.registry)


def test_what_runs_keeps_its_ports_though_they_are_not_free() -> None:
    last = some_ports()
    with (
        socket.create_server(("127.0.0.1", last.kafka)),
        socket.create_server(("127.0.0.1", last.controller)),
        socket.create_server(("127.0.0.1", last.registry)),
    ):
        assert choose_ports(stack(last, kafka=running(), registry=running()), NONE) == last


def test_a_fixed_port_is_taken_by_a_new_and_by_a_stopped_stack() -> None:
    kafka, registry = free_ports(2)
    for previous in (None, stack(some_ports())):
        ports = choose_ports(previous, FixedPorts(kafka, registry))
        assert (ports.kafka, ports.registry) == (kafka, registry)


def test_a_fixed_port_that_is_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(StackError, match="--registry-port"):
            choose_ports(None, FixedPorts(registry=server.getsockname()[1]))
        with pytest.raises(StackError, match="--kafka-port"):
            choose_ports(stack(some_ports()), FixedPorts(kafka=server.getsockname()[1]))


def test_a_part_that_runs_elsewhere_does_not_move_to_a_fixed_port() -> None:
    last = some_ports()
    with pytest.raises(StackError, match=rf"on port {last.kafka}; --kafka-port asks for 1\."):
        choose_ports(stack(last, kafka=running()), FixedPorts(kafka=1))
    assert choose_ports(stack(last, kafka=running()), FixedPorts(kafka=last.kafka)) == last


def test_a_dead_broker_may_move_while_the_registry_runs() -> None:
    last = some_ports()
    (kafka,) = free_ports(1)
    ports = choose_ports(stack(last, registry=running()), FixedPorts(kafka=kafka))
    assert (ports.kafka, ports.registry) == (kafka, last.registry)
