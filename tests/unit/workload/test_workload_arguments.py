"""What the classes of workloads/ are told, by labkit and by dbworkload's --args."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.assets import asset
from labkit.errors import BadInput
from labkit.topology import DEFAULT
from labkit.workload.adapter import load_class
from labkit.workload.arguments import Arguments

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


def region_of(args: dict[str, object]) -> tuple[int, str]:
    found = Arguments.of(args)
    return found.region_index, found.region


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


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"regions": 0}, "regions: 0 is not how many regions there are: 1 to 4096"),
        ({"regions": -3}, "regions: -3 is not how many"),
        ({"regions": "three"}, "regions: 'three' is not how many"),
        ({"regions": True}, "regions: True is not how many"),
        ({"regions": 10**30}, "regions: 10+ is not how many"),
        ({"process": "no"}, "process: 'no' is not true or false"),
        ({"seed": [1]}, r"seed: \[1\] is neither a number nor a text"),
        ({"sed": 1}, "no argument 'sed': there are region_index, region, regions, process, seed"),
        ([1], r"the arguments are \[1\]: write them as"),
        (None, "the arguments are None"),
        (3, "the arguments are 3"),
    ],
    ids=str,
)
def test_a_class_of_workloads_refuses_wrong_arguments_by_name_when_it_is_made(
    name: str, args: Any, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        load_class(asset("workloads", f"{name}.py"))(args)


@pytest.mark.parametrize("name", CLASSES)
def test_an_argument_that_is_null_is_one_left_out(name: str) -> None:
    args = dict.fromkeys(("region_index", "region", "regions", "process", "seed"))
    one = load_class(asset("workloads", f"{name}.py"))(args)
    one.setup(None, 0, 1)  # type: ignore[attr-defined]
    assert one.loop()
