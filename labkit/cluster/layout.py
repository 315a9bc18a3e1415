"""Services and ports that the layouts of all labs have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from labkit.topology import Balancer, Node, Region, Target, Topology

WAN = "wan"
"""The service that is the delay line."""


class Services(ABC):
    """The names of a lab's services and its ports, computed from its settings."""

    __slots__ = ()

    topology: Topology
    wan: bool

    @staticmethod
    @abstractmethod
    def node_service(node: Node) -> str:
        """Return the service that is a database node."""

    @staticmethod
    @abstractmethod
    def balancer_service(region: str) -> str:
        """Return the service that is a region's load balancer."""

    def others_of(self, _region: str) -> list[str]:
        """Return the services that a region has besides nodes and balancer."""
        return []

    def of(self, target: Target) -> list[str]:
        """Return the services that a target stands for, database nodes first.

        Raises:
            UnknownTarget: it is not part of this lab.
        """
        topology = self.topology
        region = topology.region(target.name if isinstance(target, Region) else target.region).name
        if isinstance(target, Node):
            return [self.node_service(topology.node(target.name))]
        if isinstance(target, Balancer):
            return [self.balancer_service(region)]
        nodes = [self.node_service(node) for node in topology.nodes_of(region)]
        return [*nodes, *self.others_of(region), self.balancer_service(region)]

    @property
    def services(self) -> tuple[str, ...]:
        """Every service that stays up."""
        in_regions = [name for region in self.topology.regions for name in self.of(region)]
        return (*in_regions, *([WAN] if self.wan else []))

    @property
    @abstractmethod
    def wan_control(self) -> int:
        """The WAN's control port."""

    @abstractmethod
    def parts(self) -> Iterator[tuple[int, str]]:
        """Every port on this machine, and what it is for."""

    @abstractmethod
    def balancer_from(self, source: str, region: str) -> int:
        """Return the port that clients in `source` dial for another region's balancer, to write."""
