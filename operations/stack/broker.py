"""Apache Kafka in KRaft mode, one node as broker and controller: its configuration, format and command."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from functools import partial
from os import pathsep
from pathlib import Path

from operations.stack.aot import AotCache
from operations.stack.install import Installation
from operations.stack.jvm import fingerprint, java_command, java_environment
from operations.stack.parts import Part
from operations.stack.ports import LOOPBACK
from operations.stack.probe import kafka_answers
from operations.stack.settings import BROKER_SETTINGS, KAFKA_HEAP, KAFKA_VERSION
from operations.stack.state import Ports
from streams.errors import StackError

__all__ = ["broker_part", "configuration", "format_storage", "is_formatted"]

_LOG4J = Path(__file__).with_name("log4j2.properties")
_FORMAT_TIMEOUT_S = 60.0


def configuration(ports: Ports, data: Path) -> dict[str, str]:
    """Return every broker setting: the table's, and those that differ per stack."""
    return BROKER_SETTINGS | {
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"{BROKER_SETTINGS['node.id']}@{LOOPBACK}:{ports.controller}",
        "log.dirs": str(data),
    }


def broker_part(
    installation: Installation, folder: Path, ports: Ports, *, heap: str, differing: Mapping[str, str]
) -> Part:
    """Write the configuration for these ports, with settings that differ, and return the broker to be."""
    properties = folder / "kafka.properties"
    _write_properties(properties, {**configuration(ports, _data(folder)), **differing})
    return Part(
        name="Kafka",
        version=KAFKA_VERSION,
        port=ports.kafka,
        command=lambda flags: _command(installation, ["kafka.Kafka", str(properties)], heap, flags),
        answers=partial(kafka_answers, ports.kafka),
        log=folder / "logs" / "kafka.log",
        cwd=folder,
        aot=_aot(installation),
    )


def is_formatted(folder: Path) -> bool:
    """Return whether the broker of that stack has its storage."""
    return _data(folder).is_dir()


def format_storage(installation: Installation, folder: Path, ports: Ports) -> None:
    """Give the broker its storage if it has none yet; raise StackError with the tool's output if that fails.

    The storage appears in one step: an interrupted format leaves nothing that a broker would trip over.
    """
    data = _data(folder)
    if is_formatted(folder):
        return
    incoming = folder / ".kafka-format"
    shutil.rmtree(incoming, ignore_errors=True)
    properties = folder / ".kafka-format.properties"
    _write_properties(properties, configuration(ports, incoming))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # One id in 64 begins with a dash, which the tool takes for an option unless it is joined to its name.
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(properties)]
    flags = _aot(installation).use_flags()
    try:
        done = subprocess.run(
            _command(installation, tool, KAFKA_HEAP, flags),
            env=java_environment(),
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(
            f"Formatting Kafka's storage took over {_FORMAT_TIMEOUT_S:.0f} s. Is this machine overloaded?"
        ) from error
    finally:
        properties.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(incoming, ignore_errors=True)
        output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise StackError(f"Kafka's storage in {folder} could not be formatted:\n{output}")
    incoming.rename(data)


def _data(folder: Path) -> Path:
    return folder / "kafka"


def _aot(installation: Installation) -> AotCache:
    key = fingerprint(installation.kafka_classpath)
    return AotCache.of(installation.aot_dir, "kafka", KAFKA_VERSION, key)


def _command(installation: Installation, main: list[str], heap: str, flags: list[str]) -> list[str]:
    classpath = pathsep.join(map(str, installation.kafka_classpath))
    properties = {"log4j2.configurationFile": str(_LOG4J)}
    return java_command(["-cp", classpath, *main], heap=heap, properties=properties, flags=flags)


def _write_properties(path: Path, settings: Mapping[str, str]) -> None:
    # In a properties file a backslash escapes; no other character of ours needs one.
    lines = (f"{name}={value}".replace("\\", "\\\\") for name, value in settings.items())
    path.write_text("\n".join(lines) + "\n", "utf-8")
