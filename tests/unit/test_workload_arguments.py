"""What the classes of workloads/ take as their region, from labkit and from dbworkload's --args."""

from __future__ import annotations

import pytest

from labkit.assets import asset
from labkit.errors import BadInput
from labkit.topology import DEFAULT
from labkit.workload.adapter import load_class
from labkit.workload.arguments import region_of

CLASSES = ("trade_orders", "trade_accounts")


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("place", range(9))
def test_a_class_of_workloads_runs_in_every_region_of_a_large_topology(
    name: str, place: int
) -> None:
    make = load_class(asset("workloads", f"{name}.py"))
    args = {"region": f"r{place}", "region_index": place, "regions": 9, "seed": 1}
    one = make(args)
    one.setup(None, 3, 20)  # type: ignore[attr-defined]
    assert [callable(step) for step in one.loop()]


@pytest.mark.parametrize("name", CLASSES)
def test_a_place_that_the_default_topology_lacks_needs_its_name(name: str) -> None:
    make = load_class(asset("workloads", f"{name}.py"))
    with pytest.raises(BadInput, match="none at place 3: give the name too"):
        make({"region_index": 3})
    make({"region_index": 3, "region": "r3"})


def test_a_region_left_out_follows_from_what_is_given() -> None:
    assert region_of({}) == (0, DEFAULT.region_names[0])
    assert region_of({"region_index": 2}) == (2, DEFAULT.region_names[2])
    assert region_of({"region": DEFAULT.region_names[1]}) == (1, DEFAULT.region_names[1])
    assert region_of({"region": "mars"}) == (0, "mars")
    assert region_of({"region_index": 7, "region": "mars"}) == (7, "mars")


@pytest.mark.parametrize("index", [-1, 4096, 1.0, True, "1", [0]])
def test_what_is_no_place_is_refused(index: object) -> None:
    with pytest.raises(BadInput, match="region_index"):
        region_of({"region_index": index, "region": "r"})


@pytest.mark.parametrize("name", ["", 3, ["r"]])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(BadInput, match="region"):
        region_of({"region": name})
