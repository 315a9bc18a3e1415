"""The target of a fault that is injected again: another part of the same kind and role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from random import Random
from typing import Any, Self

from labkit.cluster.base import Cluster
from labkit.cluster.status import Role
from labkit.faults.base import Fault
from labkit.faults.links import LinkFault
from labkit.topology import Balancer, Region


@dataclass(frozen=True)
class Victims:
    """A choice of targets that have the role of the fault's first target.

    After the primary comes the node that is primary then, after a replica another replica. After
    the primary's region comes the region that has the primary then, after any other region
    another one without it. After a balancer comes another balancer, after a link another link.

    Attributes:
        fault: the fault as it is injected first.
        leading: whether its first target takes the writes.
    """

    fault: Fault
    leading: bool

    @classmethod
    def like(cls, fault: Fault, cluster: Cluster) -> Self:
        """Look at the role of the fault's target now.

        Raises:
            NotReady: there is no primary right now.
        """
        return cls(fault, str(fault.target) in _leaders(cluster, fault))

    def another(self, cluster: Cluster, taken: Sequence[Fault], chance: Random) -> Fault:
        """Aim the fault at the candidate that was taken least often; chance decides among equals.

        Args:
            taken: the faults that were injected so far.

        Raises:
            NotReady: there is no primary right now.
        """
        candidates = self._candidates(cluster)
        chance.shuffle(candidates)
        return min(candidates, key=taken.count)

    def _candidates(self, cluster: Cluster) -> list[Fault]:
        fault, topology = self.fault, cluster.topology
        if isinstance(fault, LinkFault) and fault.peer is not None:
            return [_with(fault, target=a, peer=b) for a, b in permutations(topology.regions, 2)]
        if isinstance(fault.target, Balancer):
            return [_with(fault, target=balancer) for balancer in topology.balancers]
        leaders = _leaders(cluster, fault)
        parts = topology.regions if isinstance(fault.target, Region) else topology.nodes
        # in a topology of one region, or one node, there is nobody else
        chosen = [part for part in parts if (str(part) in leaders) is self.leading] or [
            fault.target
        ]
        return [_with(fault, target=part) for part in chosen]


def _leaders(cluster: Cluster, fault: Fault) -> set[str]:
    """Name the nodes that take the writes now, or their regions for a fault of a region."""
    nodes = [cluster.leader()]
    if not cluster.single_primary:
        primaries = [node.name for node in cluster.status().nodes if node.role is Role.PRIMARY]
        nodes += [cluster.topology.node(name) for name in primaries]
    return {node.region if isinstance(fault.target, Region) else node.name for node in nodes}


def _with(fault: Fault, **changes: Any) -> Fault:
    return replace(fault, **changes)
