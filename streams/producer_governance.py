"""Whether a producer may write under the policy in force: looked at when it starts, and while it runs."""

from __future__ import annotations

from contextlib import suppress

from schemas.contract import Contract
from streams import topics
from streams.audit_trail import AuditTrail
from streams.clock import monotonic, now_ms
from streams.errors import ContractError, SeamlessError
from streams.policy_feed import PolicyFeed
from streams.registry import RegisteredSchema, Registry
from streams.schema_audit import AuditEntry
from streams.schema_policy import PRODUCER_HEADER
from streams.settings import Settings
from streams.subject_versions import Verdict, judge_versions

__all__ = ["ProducerGovernance"]

_FOLLOW_SECONDS = 0.5


class ProducerGovernance:
    """Follows the policy of one producer's dataset. Not to be shared between threads.

    Args:
        name: the producer's name, by which canary may pick it.
        raw: the schema that it writes.

    Raises:
        ContractError: if the policy in force refuses the schema.
        RegistryError: if the registry does not answer, or governance is not registered.
        BrokerError: if the governance topic cannot be read.
    """

    def __init__(
        self, settings: Settings, dataset: str, name: str, registry: Registry, raw: RegisteredSchema, contract: Contract
    ) -> None:
        self._settings, self._dataset, self._name, self._registry = settings, dataset, name, registry
        self._raw, self._contract = raw, contract
        found = (registry.version(raw.subject, v) for v in registry.versions(raw.subject))
        self._versions = [(r.version, r.id, r.schema) for r in found if r is not None]
        self._feed = PolicyFeed(settings, registry)
        self._followed = float("-inf")
        self._refusal: str | None = None
        try:
            self._feed.open()
            self.check()
        except BaseException:
            self._feed.close()
            raise

    @property
    def headers(self) -> list[tuple[str, bytes]] | None:
        """The headers that records need: the name, where canary goes by it."""
        policy = self._feed.policy(self._dataset)
        named = policy.mode == "canary" and self._name in policy.producers
        return [(PRODUCER_HEADER, self._name.encode())] if named else None

    def check(self) -> None:
        """Make sure that the policy in force lets the schema pass; raises ContractError if it does not."""
        if monotonic() - self._followed >= _FOLLOW_SECONDS:
            self._followed = monotonic()
            self._feed.poll()
            self._judge()
        if self._refusal is not None:
            raise ContractError(self._refusal)

    def close(self) -> None:
        """Let go of Kafka."""
        self._feed.close()

    def _judge(self) -> None:
        policy = self._feed.policy(self._dataset)
        # A share of the keys is for the normalizer to judge; the producer as a whole is strict or is not.
        strict = policy.mode == "strict" or (policy.mode == "canary" and self._name in policy.producers)
        verdict = judge_versions(self._versions, self._contract, policy.compatibility).get(self._raw.id, Verdict(None))
        if not strict or verdict.reason is None:
            self._refusal = None
            return
        refusal = (
            f"{self._dataset} is {policy.words()}, which refuses version {self._raw.version} of {self._raw.subject} "
            f"({verdict.reason}): {verdict.detail}. Register a schema that is compatible, or go back: "
            f"`seamless schema demote {self._dataset} --reason ...`"
        )
        if self._refusal is None:
            self._tell(verdict)
        self._refusal = refusal

    def _tell(self, verdict: Verdict) -> None:
        entry = AuditEntry(
            now_ms(),
            self._name,
            "refused",
            self._dataset,
            topics.subject(topics.raw(self._settings.world, self._dataset)),
            self._raw.id,
            verdict.version,
            reason=f"{verdict.reason}: {verdict.detail}",
        )
        with suppress(SeamlessError):  # the refusal stands, whether it can be written down or not
            AuditTrail(self._settings, self._registry).append([entry])
