"""The contract the bars follow: the product's own, unless another one is asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Contract"]

_PRODUCT = Path(__file__).parent.parent / "schemas" / "contracts" / "ohlcv.avsc"


@dataclass(frozen=True)
class Contract:
    """An Avro record schema for bars, where it lies and as text."""

    path: Path
    text: str

    @classmethod
    def load(cls, path: Path | None = None) -> Contract:
        """Read the given schema file, by default the product's contract for bars."""
        chosen = path or _PRODUCT
        return cls(chosen.resolve(), chosen.read_text())

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Return the record's fields as the schema writes them."""
        fields: list[dict[str, Any]] = json.loads(self.text)["fields"]
        return fields
