"""The settings of a CockroachDB lab."""

from __future__ import annotations

import os

from pydantic import Field

from labkit.cluster.settings import LabSettings
from labkit.errors import ClusterError

VERSION_VARIABLE = "COCKROACH_VERSION"


class CockroachSettings(LabSettings):
    """The settings of one lab.

    Attributes:
        port_base: None for the usual ports (labkit.cluster.engines.cockroachdb.layout).
    """

    secure: bool = False
    port_base: int | None = Field(default=None, ge=1024, le=64000)


def licence() -> tuple[str, str] | None:
    """Organization and licence key, as the environment has them; None without a key.

    Raises:
        ClusterError: there is a key and no organization.
    """
    key = os.environ.get("COCKROACH_LICENSE")
    organization = os.environ.get("COCKROACH_ORGANIZATION", "")
    if key and not organization:
        raise ClusterError(
            "COCKROACH_LICENSE is set and COCKROACH_ORGANIZATION is not: the key goes with the "
            "name it was made out to"
        )
    return (organization, key) if key else None
