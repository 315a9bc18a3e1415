"""PostgreSQL as the engine of a lab: its parts in an order that works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.cluster.base import OnStage
from labkit.cluster.engines.postgresql import stages
from labkit.cluster.engines.postgresql.layout import balancer_name, member_name
from labkit.cluster.engines.postgresql.starting import Starter, service_timeout_s
from labkit.topology import Node


@dataclass(frozen=True)
class PostgreSQL:
    """The `Engine` of a lab of PostgreSQL."""

    starter: Starter

    stop_s = 30.0

    def start_everything(self, on_stage: OnStage, *, served: bool) -> None:
        """Start what does not run of a whole lab and wait until it is in service."""
        stages.start_everything(self.starter, on_stage, served=served)

    def stop_everything(self, on_stage: OnStage) -> None:
        """Stop all services of the lab in order, and kill what does not stop."""
        stages.stop_everything(self.starter, on_stage)

    def start(self, services: Sequence[str]) -> None:
        """Start services that do not run, with the configuration that they are to have now."""
        starter = self.starter
        nodes, regions = self._nodes(services), self._balanced(services)
        missing = [node for node in nodes if starter.table.pid(member_name(node)) is None]
        starter.prepare(len(missing))
        starter.check_ports(missing, regions)
        members = {member_name(node) for node in nodes}
        starter.machine.start([name for name in services if name not in members])
        with starter.forker() as forker:
            forker.start(missing)

    def await_service(self, services: Sequence[str]) -> None:
        """Wait until services are in service."""
        timeout_s = service_timeout_s(self.starter.layout.topology)
        self.starter.await_replication(self._nodes(services), timeout_s)
        self.starter.await_balancers(self._balanced(services), timeout_s)

    def _nodes(self, services: Sequence[str]) -> list[Node]:
        nodes = self.starter.layout.topology.nodes
        return [node for node in nodes if member_name(node) in services]

    def _balanced(self, services: Sequence[str]) -> list[str]:
        """Return the regions whose balancer is among some services."""
        regions = self.starter.layout.topology.region_names
        return [region for region in regions if balancer_name(region) in services]
