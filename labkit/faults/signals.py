"""Faults of processes: kill, stop and pause of a node, a region or a balancer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from labkit.cluster.base import CanKill, CanPause, CanStop, Cluster
from labkit.cluster.status import State
from labkit.faults.base import Fault, Probe, probe_state


@dataclass(frozen=True)
class SignalFault(Fault):
    """A fault that ends or freezes every process of its target."""

    needs: ClassVar[tuple[type, ...]] = (CanKill,)
    ends_balancers: ClassVar[bool] = True
    state: ClassVar[State] = State.DOWN
    """The state of every part while the fault holds."""

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every part is in the state, and out of service."""
        return probe_state(cluster, self.target, self.state)

    def mend(self, cluster: Any) -> None:
        """Start the parts of the target that are down."""
        cluster.restart(self.target)


@dataclass(frozen=True)
class Kill(SignalFault):
    """A fault that sends SIGKILL to a node, a region or a balancer; healing starts it again.

    It stands for a power cut: every process dies at once, without a shutdown.
    """

    name: ClassVar[str] = "kill"
    deed: ClassVar[str] = "kill its parts"

    def inject(self, cluster: CanKill) -> Self:
        """Kill every process, and return when all are dead."""
        cluster.kill(self.target)
        return self


@dataclass(frozen=True)
class Stop(SignalFault):
    """A fault that shuts a node, a region or a balancer down in order; healing starts it again.

    It stands for maintenance: a primary hands its role over first.
    """

    name: ClassVar[str] = "stop"
    needs: ClassVar[tuple[type, ...]] = (CanStop, CanKill)
    deed: ClassVar[str] = "stop its parts and start them again"
    needs_not: ClassVar[frozenset[State]] = frozenset({State.PAUSED})
    """A process that is frozen cannot shut itself down."""

    def inject(self, cluster: CanStop) -> Self:
        """Shut every process down, and return when all have ended."""
        cluster.shut_down(self.target)
        return self


@dataclass(frozen=True)
class Pause(SignalFault):
    """A fault that sends SIGSTOP to a node, a region or a balancer; healing sends SIGCONT.

    It stands for a hang: the target is alive and keeps its connections, but answers nothing.
    """

    name: ClassVar[str] = "pause"
    needs: ClassVar[tuple[type, ...]] = (CanPause,)
    deed: ClassVar[str] = "pause its parts"
    needs_not: ClassVar[frozenset[State]] = frozenset({State.DOWN})
    """A process that is dead cannot be frozen."""
    state: ClassVar[State] = State.PAUSED

    def inject(self, cluster: CanPause) -> Self:
        """Freeze every process, and return when all are frozen."""
        cluster.pause(self.target)
        return self

    def mend(self, cluster: Any) -> None:
        """Let the target run. A primary that was deposed meanwhile rewinds first."""
        cluster.resume(self.target)
