"""The settings of a lab of the embedded engine, and its passwords."""

from __future__ import annotations

import secrets

from pydantic import Field

from labkit.cluster.engines.postgresql.certificate import Certificate
from labkit.cluster.settings import LabSecrets, LabSettings

DEFAULT_PORT_BASE = 21000
"""Below the ports the kernel hands out by itself (32768 and up on Linux)."""


class Settings(LabSettings):
    """The settings of one lab."""

    backend: str = "embedded"
    port_base: int = Field(default=DEFAULT_PORT_BASE, ge=1024, le=64000)


class Secrets(LabSecrets):
    """The passwords of one lab, and the certificate that opens its etcd."""

    superuser: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    replication: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    rest_api: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    balancer_stats: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    etcd: Certificate = Field(default_factory=Certificate.make)
