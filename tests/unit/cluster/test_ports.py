"""Every part of a lab has a port of its own, or the lab is refused before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

import labkit.cluster
from labkit.cluster.lab import Lab
from labkit.cluster.ports import require_distinct
from labkit.errors import TopologyError
from labkit.topology import SurvivalGoal, Topology


def shape(regions: int, nodes: int) -> Topology:
    names = [f"region-{number}" for number in range(1, regions + 1)]
    return Topology.model_validate(
        {
            "region": [{"name": name, "nodes": nodes} for name in names],
            "link": [{"between": pair, "rtt_ms": 10} for pair in combinations(names, 2)],
        }
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.delenv("COCKROACH_VERSION", raising=False)
    return tmp_path / "lab"


@pytest.mark.parametrize("port_base", [30000, None])
@pytest.mark.parametrize("backend", labkit.cluster.BACKENDS)
def test_three_full_regions_have_ports_enough(
    home: Path, backend: str, port_base: int | None
) -> None:
    lab = labkit.cluster.create(backend, topology=shape(3, 9), port_base=port_base)
    assert isinstance(lab, Lab)
    parts = list(lab.layout.parts())
    require_distinct(parts)
    if port_base:
        assert all(port_base <= port < port_base + 1000 for port, _ in parts)


@pytest.mark.parametrize("port_base", [30000, None])
@pytest.mark.parametrize("backend", labkit.cluster.BACKENDS)
def test_every_lab_has_ports_for_the_largest_shape(
    home: Path, backend: str, port_base: int | None
) -> None:
    lab = labkit.cluster.create(backend, topology=shape(9, 9), port_base=port_base)
    assert isinstance(lab, Lab)
    require_distinct(lab.layout.parts())


@pytest.mark.parametrize("backend", ["embedded", "cockroach-binary"])
def test_a_shape_whose_ports_end_too_high_is_refused_and_nothing_is_made(
    home: Path, backend: str
) -> None:
    with pytest.raises(TopologyError, match="a lower --port-base"):
        labkit.cluster.create(backend, topology=shape(9, 9), port_base=64000)
    assert not home.exists()


def test_a_block_of_ports_that_ends_too_high_is_refused() -> None:
    def parts() -> Iterator[tuple[int, str]]:
        yield 65535, "lb:us-west-2"
        yield 65536, "WAN control"

    with pytest.raises(TopologyError, match="WAN control needs port 65536"):
        require_distinct(parts())


def test_a_goal_that_is_refused_leaves_no_folder(home: Path) -> None:
    with pytest.raises(TopologyError):
        labkit.cluster.create("embedded", topology=shape(3, 1), survive=SurvivalGoal.ZONE)
    assert not home.exists()
