"""Errors of contracts and conformance; the root of the hierarchy lives here because everything imports schemas."""

from __future__ import annotations

__all__ = ["ContractError", "SeamlessError"]


class SeamlessError(Exception):
    """Something a user can understand and mend; the message names the field and the remedy."""


class ContractError(SeamlessError):
    """A contract (or the schema of a raw subject) is broken; the message names the field and the reason."""
