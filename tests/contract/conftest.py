"""The clusters that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.cluster.base import Cluster
from labkit.testing import FakeCluster

FIXTURES = {"embedded": "lab", "cockroachdb": "containers"}


@pytest.fixture(
    params=[
        "fake",
        pytest.param("embedded", marks=pytest.mark.cluster),
        pytest.param("cockroachdb", marks=pytest.mark.docker),
    ]
)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in service, without a fault."""
    if request.param == "fake":
        fake = FakeCluster()
        fake.start()
        yield fake
    else:
        yield request.getfixturevalue(FIXTURES[request.param])
