"""Which schema ids stand under a raw subject, and what strict thinks of each; the registry's answer is held briefly.

The subject is looked at as a whole, so a fleet that writes ever new ids costs one question per batch of rows and not
one per id. Looking is done on a thread of its own, which is waited for only where a row cannot be judged without it:
ids that were judged before never wait for a registry that is slow or away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Thread

from schemas.avro import AvroSchema, parse_record
from schemas.bounded import Recent
from schemas.compatibility import breaks
from schemas.contract import Contract
from schemas.mapping import admissible
from streams.clock import monotonic
from streams.errors import RegistryError
from streams.log import get_logger
from streams.registry import Registry, UnusableSchema

__all__ = ["SubjectVersions", "Verdict", "judge_versions"]

_FRESH_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS = 0.5
_MOST_STRANGERS = 20_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What strict thinks of a schema id.

    Attributes:
        version: its version in the raw subject; None if it is not registered there.
        reason: `unknown_schema` or `incompatible_schema`; None if strict lets it pass.
        detail: the reason in words; empty if there is none.
    """

    version: int | None
    reason: str | None = None
    detail: str = ""


def judge_versions(
    versions: Iterable[tuple[int, int, AvroSchema]], contract: Contract, compatibility: str
) -> dict[int, Verdict]:
    """Judge all versions of a raw subject, as the registry would have at their registration; pure.

    A schema passes if the contract can conform it, and if the versions before it and it can read each other's rows as
    far as `compatibility` asks.

    Args:
        versions: (version, schema id, schema), rising.

    Returns:
        The verdicts by schema id; where a schema was registered twice, that of its first version.
    """
    earlier: list[tuple[int, AvroSchema]] = []
    found: dict[int, Verdict] = {}
    for version, identifier, schema in versions:
        if identifier not in found:
            problems = _problems(schema, earlier, contract, compatibility)
            reason = "incompatible_schema" if problems else None
            found[identifier] = Verdict(version, reason, "; ".join(problems))
        earlier.append((version, schema))
    return found


def _problems(
    schema: AvroSchema, earlier: list[tuple[int, AvroSchema]], contract: Contract, compatibility: str
) -> list[str]:
    try:
        problems = admissible(contract, parse_record(schema))
        return problems + [str(b) for b in breaks(compatibility, schema, earlier)]
    except Exception as error:  # a registry of another make may hold what is no schema to us
        return [str(error) or type(error).__name__]


class SubjectVersions:
    """The verdicts on ids of one raw subject. To be asked from one thread.

    Args:
        compatibility: what strict asks; may be changed with `require`.
    """

    def __init__(
        self,
        registry: Registry,
        subject: str,
        contract: Contract,
        compatibility: str,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._registry, self.subject, self._contract, self._now = registry, subject, contract, now
        self._compatibility = compatibility
        self._schemas: dict[int, tuple[int, AvroSchema]] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._looked_at = float("-inf")  # when the look that is in force began
        self._ask_after = float("-inf")
        self._looking: Thread | None = None
        # Ids that a look begun after they were first seen did not find, and when that was.
        self._strangers: Recent[int, float] = Recent(_MOST_STRANGERS)

    def require(self, compatibility: str) -> None:
        """Ask something else of the versions from now on."""
        if compatibility != self._compatibility:
            self._compatibility = compatibility
            self._verdicts = self._judged(self._schemas)

    def verdicts(self, ids: Iterable[int], *, wait: bool) -> dict[int, Verdict | None]:
        """Return what strict thinks of ids; None where nobody knows yet.

        Args:
            wait: whether to wait for a look that others began, too, where an id was never judged; who begins one
                waits briefly in any case.
        """
        found = {identifier: self.known(identifier) for identifier in ids}
        missing = [identifier for identifier, verdict in found.items() if verdict is None]
        if missing or self._now() - self._looked_at > _FRESH_SECONDS:
            began = self._look(missing)
            if missing and (began or wait) and self._looking is not None:
                self._looking.join(_PATIENCE_SECONDS)
            found |= {identifier: self.known(identifier) for identifier in missing}
        return found

    def ask(self, identifier: int) -> Verdict | None:
        """Return the verdict on an id as far as it is known, and have the subject looked at if it is not."""
        if self.known(identifier) is None:
            self._look([identifier])
        return self.known(identifier)

    def known(self, identifier: int) -> Verdict | None:
        """Return the verdict on an id as far as it is known, without asking."""
        known = self._verdicts.get(identifier)
        if known is None and self._strangers.get(identifier) is not None:
            detail = f"schema id {identifier} is not registered under {self.subject}: run `seamless schema register`"
            return Verdict(None, "unknown_schema", detail)
        return known

    def _look(self, strangers: list[int]) -> bool:
        """Look at the subject, unless somebody does or did a moment ago in vain; return whether it was begun."""
        began = self._now()
        if (self._looking is not None and self._looking.is_alive()) or began < self._ask_after:
            return False
        self._looking = Thread(target=self._work, args=(began, strangers), name="subject-versions", daemon=True)
        self._looking.start()
        return True

    def _work(self, began: float, strangers: list[int]) -> None:
        try:
            schemas = self._fetched()
            verdicts = self._judged(schemas)
        except RegistryError as error:
            self._ask_after = self._now() + _ASK_AGAIN_SECONDS
            log.warning("registry_unavailable", subject=self.subject, error=str(error))
            return
        self._schemas, self._verdicts, self._looked_at = schemas, verdicts, began
        for identifier in strangers:
            if identifier not in verdicts:
                self._strangers.put(identifier, began)
        for identifier in verdicts:
            self._strangers.drop(identifier)

    def _fetched(self) -> dict[int, tuple[int, AvroSchema]]:
        """Return id and schema by version; a version that was read before is not read again."""
        found = {}
        for version in self._registry.versions(self.subject):
            known = self._schemas.get(version)
            if known is None:
                try:
                    registered = self._registry.version(self.subject, version)
                except UnusableSchema as error:  # rows of it fail to be decoded, whatever is thought of them here
                    log.warning("schema_unusable", subject=self.subject, version=version, error=str(error))
                    continue
                if registered is None:  # deleted at this moment
                    continue
                known = registered.id, registered.schema
            found[version] = known
        return found

    def _judged(self, schemas: dict[int, tuple[int, AvroSchema]]) -> dict[int, Verdict]:
        versions = [(version, identifier, schema) for version, (identifier, schema) in sorted(schemas.items())]
        return judge_versions(versions, self._contract, self._compatibility)
