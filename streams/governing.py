"""What a policy does to a decoded batch: which rows are refused for their schema, and what is counted; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.batch import Failure, Part
from schemas.codec import Decoded
from schemas.report import SchemaCount
from streams.schema_policy import SchemaPolicy
from streams.subject_versions import Verdict

__all__ = ["Governed", "govern"]

# Failures of decoding that are about the schema and not about the bytes.
_OF_SCHEMA = frozenset({"unknown_schema", "incompatible_schema"})


@dataclass(frozen=True, slots=True)
class Governed:
    """A decoded batch after the judgement of its schemas.

    Attributes:
        decoded: what is left, with the refused rows among the failures.
        counts: rows by schema and verdict; rows that have to wait are not counted.
    """

    decoded: Decoded
    counts: tuple[SchemaCount, ...]


def govern(
    policy: SchemaPolicy,
    verdicts: Mapping[int, Verdict | None],
    decoded: Decoded,
    *,
    key_of: Callable[[int], bytes | None],
    producer_of: Callable[[int], str | None],
    schema_of: Callable[[int], int],
    excepted: frozenset[str] = frozenset(),
) -> Governed:
    """Judge the schemas of a batch.

    Rows of a schema whose verdict is not known yet wait where they would be judged strictly, and pass elsewhere.

    Args:
        verdicts: what strict thinks of the schema ids of the parts.
        key_of, producer_of, schema_of: tell the key, the producer's name and the schema id of a row by its position.
        excepted: reasons that an exception turns into warnings: rows pass that would be refused for them.
    """
    found = Decoded(failures=list(decoded.failures), waiting=set(decoded.waiting), fallbacks=decoded.fallbacks)
    counts = [_failed(rows, schema_of) for rows in _by_schema(decoded, schema_of)]
    for part, identifier in zip(decoded.parts, decoded.ids, strict=True):
        verdict = verdicts.get(identifier)
        n = part.batch.num_rows
        if verdict is not None and verdict.reason is None:
            found.parts.append(part)
            found.ids.append(identifier)
            counts.append(SchemaCount(schema_id=identifier, version=verdict.version, rows=n))
            continue
        strictly = _strictly(policy, part, n, key_of, producer_of)
        passing = verdict is not None and verdict.reason in excepted
        held = np.zeros(n, np.bool_) if passing else strictly
        kept = _only(part, ~held)
        if kept is not None:
            found.parts.append(kept)
            found.ids.append(identifier)
        if verdict is None:
            if held.any():
                found.waiting.add(identifier)
            if kept is not None:
                counts.append(SchemaCount(schema_id=identifier, rows=kept.batch.num_rows))
            continue
        reason, refused = verdict.reason or "", int(held.sum())
        found.failures += [Failure(int(row), reason, verdict.detail) for row in _rows(part)[held]]
        counts.append(
            SchemaCount(
                schema_id=identifier,
                version=verdict.version,
                reason=reason,
                rows=n,
                refused=refused,
                excepted=passing,
                detail=verdict.detail,
            )
        )
    return Governed(found, tuple(counts))


def _strictly(
    policy: SchemaPolicy,
    part: Part,
    n: int,
    key_of: Callable[[int], bytes | None],
    producer_of: Callable[[int], str | None],
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if policy.mode != "canary":
        return np.full(n, policy.mode == "strict")
    named = bool(policy.producers)
    rows = _rows(part).tolist()
    return np.array([policy.judges(key_of(r), producer_of(r) if named else None) for r in rows], np.bool_)


def _rows(part: Part) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(part.batch.num_rows) if part.rows is None else part.rows


def _only(part: Part, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Part | None:
    """Return a part with some of its rows, None if none is left."""
    if keep.all():
        return part
    if not keep.any():
        return None
    return Part(part.batch.filter(pa.array(keep)), part.raw, _rows(part)[keep])


def _by_schema(decoded: Decoded, schema_of: Callable[[int], int]) -> list[list[Failure]]:
    """Return the failures that are about a schema, by schema id and reason: strict refuses these, too."""
    groups: dict[tuple[int, str], list[Failure]] = {}
    for failure in decoded.failures:
        if failure.flag in _OF_SCHEMA:
            groups.setdefault((schema_of(failure.row), failure.flag), []).append(failure)
    return list(groups.values())


def _failed(failures: list[Failure], schema_of: Callable[[int], int]) -> SchemaCount:
    first, n = failures[0], len(failures)
    return SchemaCount(schema_id=schema_of(first.row), reason=first.flag, rows=n, refused=n, detail=first.detail)
