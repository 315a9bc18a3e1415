"""Faults as people type them: `partition us-west-2:eu-west-1`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from labkit.cluster.base import Cluster, resolve
from labkit.errors import BadInput, UnknownTarget
from labkit.faults.base import Fault
from labkit.faults.disaster import Disaster
from labkit.faults.links import Direction, LinkFault
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause, Stop
from labkit.faults.slow import Slow

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault for fault in (Kill, Stop, Pause, Disaster, Partition, Slow)
}
"""Every fault that holds after the command that injects it, by its name.

The other faults end with the process that injects them (`brownout`), or have commands of their own
(`labkit node restart`, `labkit node add`).
"""


def parse(
    kind: str,
    target: str,
    cluster: Cluster,
    *,
    alone_s: float | None = None,
    delay_ms: float | None = None,
    jitter_ms: float | None = None,
    direction: Direction | None = None,
) -> Fault:
    """Make a fault from the words of a command; an option that is None keeps its default.

    Args:
        kind: one of `FAULTS`.
        target: for a fault of processes whatever `resolve` takes; for a fault of links `REGION`
            (all its links), `REGION:PEER` (one link, both ways) or `FROM>TO` (one direction).

    Raises:
        UnknownTarget: there is no such target.
        BadInput: there is no such fault, or it has no such option.
        NotReady: `primary` or `leader-region` while there is no primary.
    """
    if kind not in FAULTS:
        raise BadInput(f"no fault {kind!r}: there are {', '.join(FAULTS)}")
    fault = FAULTS[kind]
    given = {
        "alone_s": alone_s,
        "delay_ms": delay_ms,
        "jitter_ms": jitter_ms,
        "direction": direction,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for key in options.keys() - {field.name for field in fields(fault)}:
        raise BadInput(f"{kind} has no {key}")
    if not issubclass(fault, LinkFault):
        return fault(resolve(cluster, target), **options)
    if ">" in target:
        if direction is not None:
            raise BadInput(f"{target!r} says the direction already: leave out the other one")
        options["direction"] = Direction.OUT
    words = [end.strip() for end in target.replace(">", ":").split(":", 1)]
    regions = cluster.topology.region_names
    if any(word not in ("leader-region", *regions) for word in words):
        here, there = regions[0], regions[-1]
        raise UnknownTarget(
            f"{kind} works on links between regions, {target} is not a region: say a region "
            f"({here}: all its links), a link ({here}:{there}), one direction of it "
            f"('{here}>{there}') or 'leader-region'; the regions are {', '.join(regions)}"
        )
    # that an end is not linked to itself is for the fault to check
    return fault(*(resolve(cluster, word) for word in words), **options)  # type: ignore[arg-type]
