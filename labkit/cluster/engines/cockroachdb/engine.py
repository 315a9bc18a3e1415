"""CockroachDB as the engine of a lab, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.cluster.base import OnStage
from labkit.cluster.engines.cockroachdb import scaling
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.engines.cockroachdb.starting import Starter, start_everything


@dataclass(frozen=True)
class CockroachDB:
    """The `Engine` of a lab of CockroachDB."""

    starter: Starter

    stop_s = scaling.STOP_S

    def start_everything(self, on_stage: OnStage, *, served: bool) -> None:
        """Start what does not run of a whole lab and wait until it is in service."""
        start_everything(self.starter, on_stage, served=served)

    def stop_everything(self, on_stage: OnStage) -> None:
        """Stop everything in order, and kill what does not stop."""
        self.starter.stop_everything(on_stage)

    def start(self, services: Sequence[str]) -> None:
        """Start services that do not run, with the configuration that they are to have now."""
        self.starter.render()
        self.starter.machine.start(services)

    def await_service(self, services: Sequence[str]) -> None:
        """Wait until services are in service."""
        starter, shape = self.starter, self.starter.layout.topology
        starter.await_nodes([node for node in shape.nodes if node_service(node) in services])
        starter.tell_balancers()
        starter.await_balancers([r for r in shape.region_names if balancer_service(r) in services])
