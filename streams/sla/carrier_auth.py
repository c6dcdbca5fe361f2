"""How faust is let in where librdkafka is: the properties of `seamless.kafka.client` as faust's credentials."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import faust
from faust.types.auth import CredentialsT

from streams.errors import SettingsError
from streams.settings_kafka import KafkaSettings

__all__ = ["credentials_of"]

_KNOWN_SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def credentials_of(kafka: KafkaSettings) -> CredentialsT | None:
    """Return the credentials for faust; None where Kafka asks for none.

    Raises:
        SettingsError: naming the property, if it is a way in that faust does not have.
    """
    client = {name: str(value) for name, value in kafka.client_config().items()}
    protocol = client.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    context = _context(client) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    mechanism = client.get("sasl.mechanism", client.get("sasl.mechanisms", "")).upper()
    if mechanism not in _KNOWN_SASL:
        raise SettingsError(
            f"seamless.kafka.client: the SLA agent is let in by sasl.mechanism {', '.join(_KNOWN_SASL)}, and not by "
            f"{mechanism or 'none at all'}. Give the agent a listener with one of these."
        )
    return faust.SASLCredentials(
        username=client.get("sasl.username"),
        password=client.get("sasl.password"),
        ssl_context=context,
        mechanism=mechanism,
    )


def _context(client: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=client.get("ssl.ca.location"))
    if "ssl.certificate.location" in client:
        context.load_cert_chain(
            client["ssl.certificate.location"], client.get("ssl.key.location"), client.get("ssl.key.password")
        )
    if client.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    return context
