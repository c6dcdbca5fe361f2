"""Rules of earlier versions of a contract: they judge the rows that were written with those versions.

A producer that writes the contract names the version that it meant with every row. A rule that a later version added,
tightened or loosened is no promise of that producer, so the row is judged by the rules of its own version. Rows of a
vendor's schema mean no version, and are judged by the newest. So are rows that were replayed from quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.avro import AvroRecord
from schemas.batch import Part
from schemas.contract import Contract
from schemas.rules import Hit, RuleSet

__all__ = ["EarlierRules"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_NEWEST = 0


class EarlierRules:
    """The rules of those earlier versions that judge otherwise than the newest.

    Args:
        newest: the contract whose columns rows have.
        earlier: contracts by version; those with fields that the newest no longer has are left out, as rules of theirs
            would find no columns.
    """

    def __init__(self, newest: Contract, earlier: Mapping[int, Contract]) -> None:
        self._contracts = {
            version: contract
            for version, contract in earlier.items()
            if contract.schema != newest.schema and set(contract.record.fields) <= set(newest.record.fields)
        }
        self._rules = {version: RuleSet(contract) for version, contract in self._contracts.items()}

    def versions_of(self, parts: Sequence[Part], total: int, replayed: Callable[[], Mask] | None = None) -> Ints | None:
        """Return the version that each row of a batch was written with, 0 for the newest or none; None if all are.

        Args:
            replayed: tells which rows were sent again after a fix: they are judged by the fix.
        """
        found: Ints | None = None
        for part in parts if self._contracts else ():
            version = self._version(part.raw)
            if version is not None:
                found = np.zeros(total, np.int64) if found is None else found
                found[slice(None) if part.rows is None else part.rows] = version
        if found is not None and replayed is not None:
            found[replayed()] = _NEWEST
        return found

    def check(self, columns: pa.RecordBatch, unread: Mapping[str, Mask], versions: Ints, newest: RuleSet) -> list[Hit]:
        """Judge rows, each by the rules of its version.

        Args:
            columns: the newest contract's columns.
            unread: by column, rows that no rule judges.
            versions: of each row.
        """
        hits: list[Hit] = []
        for version in np.unique(versions).tolist():
            mine = versions == version
            rows = np.flatnonzero(mine)
            batch = columns.take(pa.array(rows))
            chosen = dict(zip(batch.schema.names, batch.columns, strict=True))
            rules = newest if version == _NEWEST else self._rules[version]
            for hit in rules.check(chosen, {name: mask[rows] for name, mask in unread.items()}):
                whole = np.zeros(len(versions), np.bool_)
                whole[rows] = hit.mask(len(rows))
                hits.append(replace(hit, rows=whole, version=None if version == _NEWEST else version))
        return hits

    def _version(self, raw: AvroRecord | None) -> int | None:
        if raw is None:
            return None
        return next((v for v, contract in self._contracts.items() if contract.schema == raw.schema), None)
