"""The protocol of an engine: the steps that a lab calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from labkit.cluster.base import OnStage


class Engine(Protocol):
    """A database in a lab with certain settings: how its parts start, come back and end."""

    @property
    def stop_s(self) -> float:
        """How long a part may take to end when it is shut down."""

    def start_everything(self, on_stage: OnStage, *, served: bool) -> None:
        """Start what does not run of a whole lab and wait until it is in service.

        Args:
            served: whether the lab was in service before, so that its data counts.

        Raises:
            ClusterError: a part cannot be started; names it and its last log lines.
            NotReady: it was not in service in time.
        """

    def stop_everything(self, on_stage: OnStage) -> None:
        """Stop everything in order, and kill what does not stop."""

    def start(self, services: Sequence[str]) -> None:
        """Start services that do not run, with the configuration that they are to have now."""

    def await_service(self, services: Sequence[str]) -> None:
        """Wait until services are in service.

        Raises:
            NotReady: one was not in time.
        """
