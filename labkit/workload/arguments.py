"""The arguments of a class of `workloads/`, from labkit or from dbworkload's `--args`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from labkit.errors import BadInput
from labkit.topology import DEFAULT
from labkit.trading.ids import WORKER_BITS

MOST_REGIONS = 2**WORKER_BITS
"""An order's id has room for the places of so many regions."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one thread of a workload class.

    Attributes:
        region_index: the place of the customers' region in the topology.
        region: its name.
        regions: how many regions are driven at the same time, each by a generator of its own.
        process: whether a loop of `TradeOrders` also processes orders.
        seed: the seed of all random choices; None makes them differ in each run.
    """

    region_index: int
    region: str
    regions: int = 1
    process: bool = True
    seed: int | float | str | None = None

    @classmethod
    def of(cls, args: object) -> Arguments:
        """Check the arguments that were given. One that is left out, or None, has its default.

        A region's name or place follows from the other one in the default topology, whose first
        region is the default of both.

        Raises:
            BadInput: `args` is no mapping, a name is unknown or a value is refused.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(args, Mapping):
            raise BadInput(f'the arguments are {args!r}: write them as {{"NAME": value}}')
        for name in args:
            if name not in names:
                raise BadInput(f"no argument {name!r}: there are {', '.join(names)}")
        given: dict[str, Any] = {key: value for key, value in args.items() if value is not None}
        regions, process = given.get("regions", 1), given.get("process", True)
        if not _is_whole(regions) or not 1 <= regions <= MOST_REGIONS:
            raise BadInput(
                f"regions: {regions!r} is not how many regions there are: 1 to {MOST_REGIONS}"
            )
        if not isinstance(process, bool):
            raise BadInput(f"process: {process!r} is not true or false")
        seed = given.get("seed")
        if not isinstance(seed, int | float | str | None):
            raise BadInput(f"seed: {seed!r} is neither a number nor a text")
        return cls(*_region(given), regions, process, seed)


def _region(given: Mapping[str, Any]) -> tuple[int, str]:
    names = DEFAULT.region_names
    name, index = given.get("region"), given.get("region_index")
    if name is not None and (not isinstance(name, str) or not name):
        raise BadInput(f"region: {name!r} is no region's name")
    if index is None:
        index = names.index(name) if name in names else 0
    if not _is_whole(index) or not 0 <= index < MOST_REGIONS:
        raise BadInput(
            f"region_index: {index!r} is no region's place: 0 for the first one, 1 for the second"
        )
    if name is not None:
        return index, name
    if index >= len(names):
        raise BadInput(
            f"region_index: the default topology has {len(names)} regions and none at place "
            f'{index}: give the name too, {{"region_index": {index}, "region": "NAME"}}'
        )
    return index, names[index]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
