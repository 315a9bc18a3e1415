"""What a workload class is told about its region, by labkit or by dbworkload's `--args`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.errors import BadInput
from labkit.topology import DEFAULT
from labkit.trading.ids import WORKER_BITS


def region_of(args: Mapping[str, Any]) -> tuple[int, str]:
    """Give the place of the class's region in the topology, and its name.

    One that is left out follows from the other in the default topology, whose first region is the
    default of both.

    Raises:
        BadInput: `region` is no text, `region_index` is no such number, or the default topology
            has no region at that place and `region` is left out.
    """
    names = DEFAULT.region_names
    name, index = args.get("region"), args.get("region_index")
    if name is not None and (not isinstance(name, str) or not name):
        raise BadInput(f"region: {name!r} is no region's name")
    if index is None:
        index = names.index(name) if name in names else 0
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**WORKER_BITS:
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
