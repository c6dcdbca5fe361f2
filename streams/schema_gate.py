"""The gate that raw rows come through: decoded by their schemas, and judged by the policy that is in force."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from schemas.avro import AvroRecord
from schemas.codec import Decoded, Decoder
from schemas.exceptions import SchemaException
from schemas.report import SchemaCount
from schemas.wire import schema_id
from streams import topics
from streams.clock import now
from streams.governing import govern
from streams.log import get_logger
from streams.metrics import Metrics
from streams.normalizer_job import NormalizerJob
from streams.policy_feed import PolicyFeed
from streams.raw_batch import RawBatch
from streams.raw_schemas import RawSchemas
from streams.registry import Registry
from streams.schema_checks import exceptions_of
from streams.schema_policy import PRODUCER_HEADER, SchemaPolicy
from streams.settings import Settings
from streams.subject_versions import SubjectVersions

__all__ = ["SchemaGate"]

log = get_logger(__name__)


class SchemaGate:
    """Decodes and judges the batches of one dataset; used on the thread that polls.

    The policy changes in `follow` alone, which is called between transactions: no row is judged by two modes, and none
    of a transaction by another than its others.

    Attributes:
        policy: what is in force.
        excepted: the exceptions in force.
        subject: the raw subject that ids have to stand under.
    """

    def __init__(self, settings: Settings, job: NormalizerJob, registry: Registry, metrics: Metrics) -> None:
        self._dataset, self._metrics = job.dataset, metrics
        self._exceptions = exceptions_of(settings)
        self.excepted: tuple[SchemaException, ...] = ()
        self._feed = PolicyFeed(settings, registry)
        self.policy: SchemaPolicy = self._feed.policy(job.dataset)
        self.subject = topics.subject(job.raw)
        self._raw_schemas = RawSchemas(registry, job.contract)
        self._decoder = Decoder(self._resolve, self._foresee)
        self._versions = SubjectVersions(registry, self.subject, job.contract, self.policy.compatibility)

    def open(self) -> None:
        """Read what is in force; raises BrokerError if the governance topic cannot be read."""
        self._feed.open()
        self._adopt(self._feed.policy(self._dataset))
        self._see_exceptions()

    def follow(self) -> None:
        """Adopt what was set meanwhile; to be called where no transaction is open."""
        self._feed.poll()
        self._adopt(self._feed.policy(self._dataset))
        self._see_exceptions()

    def close(self) -> None:
        """Let go of Kafka."""
        self._feed.close()

    def decode(self, batch: RawBatch) -> tuple[Decoded, tuple[SchemaCount, ...]]:
        """Return the decoded batch, without the rows that are refused, and the counts by schema.

        Rows are in `waiting` where the registry has to say something first.
        """
        self._raw_schemas.begin_batch()
        decoded = self._decoder.decode(batch.payloads())
        verdicts = self._versions.verdicts(decoded.ids, wait=self.policy.mode != "optional")
        governed = govern(
            self.policy,
            verdicts,
            decoded,
            key_of=lambda row: _bytes(batch.messages[row].key()),
            producer_of=lambda row: _producer(batch.messages[row].headers()),
            schema_of=lambda row: schema_id(batch.messages[row].value()) or 0,
            excepted=self._excepted_rules(),
        )
        return governed.decoded, governed.counts

    def knows(self, identifier: int) -> bool:
        """Whether rows of a schema id that had to wait can be judged by now."""
        self._raw_schemas.begin_batch()  # Where all that comes waits, no batch begins, and nobody else would ask.
        record = self._resolve(identifier)
        if record is None:
            return False
        if isinstance(record, str) or self.policy.mode == "optional":
            return True
        return self._versions.ask(identifier) is not None

    def _foresee(self, ids: Collection[int]) -> None:
        """Have the subject looked at once for all new ids of a batch."""
        if self.policy.mode == "strict" and ids:
            self._versions.verdicts(ids, wait=True)

    def _resolve(self, identifier: int) -> AvroRecord | str | None:
        """Return a schema, or why rows of it are refused: strict need not ask for what the subject does not have."""
        if self.policy.mode == "strict" and "unknown_schema" not in self._excepted_rules():
            verdict = self._versions.known(identifier)
            if verdict is not None and verdict.reason == "unknown_schema":
                return verdict.detail
        return self._raw_schemas(identifier)

    def _excepted_rules(self) -> frozenset[str]:
        return frozenset(e.rule for e in self.excepted if e.rule is not None)

    def _see_exceptions(self) -> None:
        today = now().date()
        active = self._exceptions.active(self._dataset, today)
        for ended in [e for e in self.excepted if e not in active]:
            log.warning("exception_expired", dataset=self._dataset, exception=str(ended))
        self.excepted = active
        self._metrics.schema_exceptions_active.set(len(active), dataset=self._dataset)
        expiring = self._exceptions.expiring(self._dataset, today)
        self._metrics.schema_exceptions_expiring.set(len(expiring), dataset=self._dataset)

    def _adopt(self, policy: SchemaPolicy) -> None:
        if policy != self.policy:
            log.info("schema_mode_changed", dataset=self._dataset, before=self.policy.words(), after=policy.words())
            self.policy = policy
            self._versions.require(policy.compatibility)


def _bytes(key: bytes | str | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


def _producer(headers: Any) -> str | None:
    """Return the name in a record's headers, a list of pairs; None if there is none."""
    found = next((value for name, value in headers or () if name == PRODUCER_HEADER), None)
    return found.decode(errors="replace") if isinstance(found, bytes) else found
