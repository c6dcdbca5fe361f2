"""A real Prometheus while a block runs: what it scrapes, the rules that it evaluates, and what queries give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from operations.stack.processes import ProcessRef, spawn
from operations.testing.ports import free_port
from tests.support.progress import until

__all__ = ["Prometheus"]

_EVERY = "1s"


class Prometheus:
    """Prometheus on a free port; skipped, or on CI failed, where it is not installed.

    Args:
        rules: paths of files of rules, which are evaluated each second.
        targets: addresses (`host:port`) by the name of their job, scraped each second.
        alertmanager: the address of who is told of alerts; nobody if not given.
    """

    def __init__(
        self,
        tool: Callable[[str], Path],
        folder: Path,
        rules: list[Path],
        targets: Mapping[str, str],
        alertmanager: str | None = None,
    ) -> None:
        folder.mkdir()
        told = [] if alertmanager is None else [{"static_configs": [{"targets": [alertmanager]}]}]
        config = {
            "alerting": {"alertmanagers": told},
            "global": {"scrape_interval": _EVERY, "evaluation_interval": _EVERY},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        port = free_port()
        self._log = folder / "prometheus.log"
        self.url = f"http://127.0.0.1:{port}"
        arguments = [
            str(tool("prometheus")),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._process: ProcessRef = spawn(arguments, log=self._log, cwd=folder, env={}, die_with_parent=True)
        self._http = httpx.Client(base_url=self.url, timeout=10.0, trust_env=False)
        until(self._ready, 60, "a start of Prometheus", self._log.read_text)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Return the series that a query gives now; AssertionError, with the reason, if Prometheus refuses it."""
        answer = self._http.get("/api/v1/query", params={"query": text}).json()
        assert answer["status"] == "success", f"{text}: {answer['error']}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule as Prometheus tells of it, with its `health` and `lastError`."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _ready(self) -> bool:
        try:
            return self._http.get("/-/ready").is_success
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.kill()
        until(lambda: not self._process.alive(), 30, "the end of Prometheus")
