"""The clusters that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labs import LABS, REAL_CLUSTERS

from labkit.cluster.base import Cluster
from labkit.testing import FakeCluster


@pytest.fixture(params=["fake", *REAL_CLUSTERS])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in service, without a fault."""
    if request.param == "fake":
        fake = FakeCluster()
        fake.start()
        yield fake
    else:
        yield request.getfixturevalue(LABS[request.param])
