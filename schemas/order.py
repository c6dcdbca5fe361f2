"""Findings that depend on the rows before: order, gaps, duplicates and revisions, for all keys of a batch at once.

Only rows without a violation of their own take part, so a row that went to quarantine is neither the newest of its key
nor remembered, and comes back clean when it is replayed. Every finding is a function of a key's rows in their order
and of nothing else; so any split into batches gives the same findings.

A row's predecessor with the same identity counts if it is among the key's last `memory` rows. It is a duplicate if the
two have equal content, else a revision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.grid import NANOS, Grid, missing_between
from schemas.keystate import NEVER, KeyStates, StateDelta

__all__ = ["Judgement", "OrderRules", "judge"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
HashSome = Callable[[Ints], tuple[Hashes, Hashes]]

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class OrderRules:
    """What is expected of a dataset's order.

    Attributes:
        grid: the expected bars, or None for ticks.
        lateness: how far, in the contract's time units, a row may lie behind the newest before it is late; never
            negative.
        per_second: the contract's time units in a second.
        identified_by_time: whether the identity is the key and the event time alone, so that a row newer than all
            before it cannot be a duplicate.
        rejecting: names of `out_of_order`, `late` and `gap` that are violations; such rows are not remembered.
    """

    grid: Grid | None
    lateness: int
    per_second: int
    identified_by_time: bool
    rejecting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Masks over the rows that were judged, and the state after them; None stands for no row."""

    out_of_order: Mask | None
    late: Mask | None
    gap: Mask | None
    duplicate: Mask | None
    revision: Mask | None
    delta: StateDelta


def judge(rules: OrderRules, states: KeyStates, slots: Ints, times: Ints, hashes: HashSome) -> Judgement:
    """Judge rows in the order of their arrival.

    Args:
        slots: the key of each row, as its place in `states`.
        times: the event time of each row, in the contract's units.
        hashes: gives the identity and content hashes of chosen rows; asked only for rows that need them.
    """
    if not len(slots):
        return Judgement(None, None, None, None, None, states.read(np.zeros(0, np.int64)))
    groups, before = _group(states, slots, times)
    behind = late = None
    if groups.dirty.any():
        behind = groups.times < before
        late = groups.times < _earlier(before, rules.lateness)
    gap = _gaps(rules, groups.times, before)
    remembered = _remembered(rules, len(slots), behind, late, gap)
    duplicate, revision, delta = _identities(rules, states, groups, remembered, hashes)

    def back(mask: Mask | None) -> Mask | None:
        """From key order to arrival order."""
        if mask is None or not mask.any():
            return None
        result = np.zeros(len(mask), np.bool_)
        result[groups.order] = mask
        return result

    return Judgement(back(behind), back(late), back(gap), back(duplicate), back(revision), delta)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows sorted by key: `order` maps to arrival order; group g is rows starts[g]:ends[g] of key keys[g].

    Attributes:
        times: the rows' times.
        dirty: which groups have a row that is not newer than all rows of its key before it.
    """

    order: Ints
    times: Ints
    starts: Ints
    ends: Ints
    keys: Ints
    dirty: Mask


def _group(states: KeyStates, slots: Ints, times: Ints) -> tuple[_Groups, Ints]:
    """Sort rows by key; also return the newest time of its key before each row (`NEVER` before the first)."""
    # numpy's stable sort of 16-bit numbers is a radix sort.
    order = np.argsort(slots.astype(np.uint16) if slots.max() < 2**16 else slots, kind="stable")
    s, t = slots[order], times[order]
    starts = np.concatenate(([0], np.flatnonzero(s[1:] != s[:-1]) + 1))
    ends = np.append(starts[1:], len(s))
    keys = s[starts]
    before = np.empty_like(t)
    before[1:] = t[:-1]
    before[starts] = states.newest[keys]
    falling = t <= before
    dirty = np.zeros(len(starts), np.bool_)
    if falling.any():
        dirty = np.logical_or.reduceat(falling, starts)
        for g in np.flatnonzero(dirty):
            span = slice(starts[g], ends[g])
            before[span] = np.maximum.accumulate(before[span])
    return _Groups(order, t, starts, ends, keys, dirty), before


def _earlier(times: Ints, by: int) -> Ints:
    """Take a span off times; what would be earlier than all times (as `NEVER` is) becomes `NEVER`."""
    if by > -NEVER - 1:
        return np.full(len(times), NEVER)
    return np.maximum(times, NEVER + by) - by


def _gaps(rules: OrderRules, t: Ints, before: Ints) -> Mask | None:
    if rules.grid is None:
        return None
    to_nanos = NANOS // rules.per_second
    suspect = np.flatnonzero(t - before != rules.grid.interval_ns // to_nanos)
    suspect = suspect[(before[suspect] != NEVER) & (t[suspect] > before[suspect])]
    if not len(suspect):
        return None
    missing = missing_between(rules.grid, before[suspect] * to_nanos, t[suspect] * to_nanos) > 0
    gap = np.zeros(len(t), np.bool_)
    gap[suspect[missing]] = True
    return gap


def _remembered(rules: OrderRules, n: int, behind: Mask | None, late: Mask | None, gap: Mask | None) -> Mask | None:
    """Rows that no violation of order keeps out of the memory; None if all are remembered."""
    found = {"out_of_order": behind, "late": late, "gap": gap}
    rejected = np.zeros(n, np.bool_)
    for name in rules.rejecting:
        mask = found.get(name)
        if mask is not None:
            rejected |= mask
    return ~rejected if rejected.any() else None


def _identities(
    rules: OrderRules, states: KeyStates, groups: _Groups, remembered: Mask | None, hashes: HashSome
) -> tuple[Mask | None, Mask | None, StateDelta]:
    """Find duplicates and revisions, and what to remember; None stands for no row."""
    memory, keys = states.memory, groups.keys
    suspects = groups.dirty if rules.identified_by_time else np.ones(len(keys), np.bool_)
    group, chosen, rank, total = _choose(groups, suspects, remembered, memory)
    identity, content = hashes(groups.order[chosen])
    had = states.rows[keys]
    numbers = had[group] + rank

    duplicate = revision = None
    suspicious = suspects[group]
    if suspicious.any():
        same, differs = _compare(
            states,
            keys[suspects],
            keys[group[suspicious]],
            numbers[suspicious],
            identity[suspicious],
            content[suspicious],
        )
        duplicate, revision = (np.zeros(len(groups.times), np.bool_) for _ in range(2))
        rows = chosen[suspicious]
        duplicate[rows[same]], revision[rows[differs]] = True, True

    last = rank >= total[group] - memory
    identities, contents = states.identities[keys], states.contents[keys]
    place = group[last], numbers[last] % memory
    identities[place], contents[place] = identity[last], content[last]
    newest = np.maximum(states.newest[keys], np.maximum.reduceat(groups.times, groups.starts))
    return duplicate, revision, StateDelta(keys, newest, had + total, identities, contents)


def _choose(groups: _Groups, suspects: Mask, remembered: Mask | None, memory: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Choose the rows whose hashes matter: all of suspect groups, and the last ones of each, which are remembered.

    Returns:
        the group of each chosen row; its place in `groups`; its number among the group's remembered rows; and, per
        group, how many of its rows are remembered.
    """
    starts, ends = groups.starts, groups.ends
    if remembered is None:
        group, chosen = _spans(np.where(suspects, starts, np.maximum(starts, ends - memory)), ends)
        return group, chosen, chosen - starts[group], ends - starts
    group, chosen = _spans(starts, ends)
    counted = remembered.astype(np.int64)
    running = np.cumsum(counted) - counted
    rank = running - running[starts][group]
    total = np.add.reduceat(counted, starts)
    needed = remembered & (suspects[group] | (rank >= total[group] - memory))
    return group[needed], chosen[needed], rank[needed], total


def _spans(first: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Return all numbers of the spans first[g]:end[g] in a row, and the span of each: (g, number)."""
    sizes = end - first
    group = np.repeat(np.arange(len(first)), sizes)
    within = np.arange(len(group)) - (np.cumsum(sizes) - sizes)[group]
    return group, first[group] + within


def _compare(
    states: KeyStates, keys: Ints, slots: Ints, numbers: Ints, identity: Hashes, content: Hashes
) -> tuple[Mask, Mask]:
    """Compare rows with their nearest predecessor of the same key and identity; return (duplicates, revisions).

    Args:
        keys: the keys concerned, whose remembered rows are predecessors too.
        slots, numbers, identity, content: the rows, by key and then by number.
    """
    memory = states.memory
    group, old_numbers = _spans(np.maximum(states.rows[keys] - memory, 0), states.rows[keys])
    old_slots, ring = keys[group], old_numbers % memory
    all_slots = np.concatenate((old_slots, slots))
    all_identity = np.concatenate((states.identities[old_slots, ring], identity))
    same, differs = np.zeros(len(all_slots), np.bool_), np.zeros(len(all_slots), np.bool_)
    # One number for key and identity, so that one sort brings equals together.
    merged = all_identity + all_slots.astype(np.uint64) * _ODD
    ordered = np.sort(merged)
    if (ordered[1:] != ordered[:-1]).all():
        return same[len(old_slots) :], differs[len(old_slots) :]
    all_numbers = np.concatenate((old_numbers, numbers))
    all_content = np.concatenate((states.contents[old_slots, ring], content))
    # A stable sort keeps the rows of a key by number: old ones go before new ones, and each are sorted.
    order = np.argsort(merged, kind="stable")
    a, b = order[:-1], order[1:]
    near = (
        (all_slots[a] == all_slots[b])
        & (all_identity[a] == all_identity[b])
        & (all_numbers[b] - all_numbers[a] <= memory)
    )
    equal = all_content[a] == all_content[b]
    same[b[near & equal]], differs[b[near & ~equal]] = True, True
    return same[len(old_slots) :], differs[len(old_slots) :]
