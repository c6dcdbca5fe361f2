"""The errors a user can meet, drawn in one place.

Every message says what is wrong, where, and what to do about it; the CLI prints it without a trace.
"""

from __future__ import annotations

from schemas.errors import ContractError, SeamlessError

__all__ = [
    "ArchiveError",
    "ArchiveUnavailable",
    "BrokerError",
    "ContractError",
    "DatasetStopped",
    "RegistryError",
    "SeamlessError",
    "SettingsError",
    "StackError",
]


class SettingsError(SeamlessError):
    """A setting is unknown, wrong, or contradicts another one."""


class StackError(SeamlessError):
    """The embedded stack could not be started, found or stopped."""


class BrokerError(SeamlessError):
    """Kafka refused or could not be reached."""


class RegistryError(SeamlessError):
    """The schema registry refused or could not be reached."""


class ArchiveError(SeamlessError):
    """The archive refused, or holds what it must not."""


class ArchiveUnavailable(ArchiveError):  # noqa: N818 - named for the state, as callers wait for its end
    """The archive's storage cannot be reached, or gives no answer."""


class DatasetStopped(SeamlessError):  # noqa: N818 - an outcome; its message says why and what to do
    """A dataset was stopped, because going on would do harm."""
