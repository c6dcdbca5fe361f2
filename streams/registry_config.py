"""How the registry's client is told where to go, how to be let in, and how long to try."""

from __future__ import annotations

from typing import Any

from streams.settings_kafka import RegistrySettings

__all__ = ["client_config"]

# An outage is reported within a few timeouts; whoever can wait longer (the normalizer) asks again itself.
_RETRIES = {"max.retries": 2, "retries.wait.ms": 100, "retries.max.wait.ms": 1_000}


def client_config(settings: RegistrySettings) -> dict[str, Any]:
    """Return the client's configuration, secrets in the clear: for the client and nothing else."""
    config: dict[str, Any] = {
        "url": settings.url,
        "timeout": settings.timeout,
        "cache.latest.ttl.sec": 0,  # otherwise a new version is never seen
        **_RETRIES,
    }
    if settings.user is not None and settings.password is not None:
        config["basic.auth.user.info"] = f"{settings.user}:{settings.password.get_secret_value()}"
    if settings.bearer_token is not None:
        config["bearer.auth.credentials.source"] = "STATIC_TOKEN"
        config["bearer.auth.token"] = settings.bearer_token.get_secret_value()
        # the client insists on a cluster, a header that a registry with only one tenant ignores
        config["bearer.auth.logical.cluster"] = settings.logical_cluster or "default"
    paths = {
        "ssl.ca.location": settings.ca_path,
        "ssl.certificate.location": settings.cert_path,
        "ssl.key.location": settings.key_path,
    }
    return config | {name: path for name, path in paths.items() if path is not None}
