"""The protocol of every backend: what each can do, and capabilities that some have.

Ask for a capability with isinstance:

    if isinstance(cluster, CanPause):
        cluster.pause(node)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypedDict, Unpack, runtime_checkable

from labkit.cluster.status import ClusterStatus
from labkit.errors import UnknownTarget
from labkit.events import Event
from labkit.topology import Balancer, Node, SurvivalGoal, Target, Topology

OnStage = Callable[[str], None]
"""Called with one line when a stage of a longer action begins, such as "electing a primary"."""


Gather = Callable[[], tuple[Event, ...]]
"""What was noticed so far, in order of time."""


WAN_IS_OFF = (
    "this lab has no WAN: `labkit down --purge`, which removes its data, then `labkit up --wan on`"
)
"""Said where links are to be changed and a lab was made without the WAN."""


def quiet(_stage: str) -> None:
    """Ignore a stage: the `OnStage` that says nothing."""


class Cluster(Protocol):
    """A cluster of database nodes in regions, each region behind a load balancer."""

    @property
    def backend(self) -> str:
        """Its name: "embedded", "cockroachdb", "cockroach-binary", "external" or "fake"."""

    @property
    def topology(self) -> Topology:
        """Its shape."""

    @property
    def single_primary(self) -> bool:
        """Tell whether one node takes all writes, until it fails or hands over.

        Otherwise every part of the data has its own leaseholder (CockroachDB): several nodes are
        PRIMARY, none is SYNC, and leases move by themselves, also back to a node that returns.
        """

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent.

        Raises:
            ClusterError: it cannot be started; what this call started is stopped again.
        """

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything; data stays. Idempotent."""

    def heal(self, on_stage: OnStage = quiet) -> None:
        """Undo every fault, whoever injected it, and wait until all is in service. Idempotent.

        Raises:
            NotReady: something did not come back in time.
        """

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """Return a libpq connection URL of a region's balancer; it holds no password.

        Raises:
            UnknownTarget: no such region.
        """

    def status(self) -> ClusterStatus:
        """Ask every part. Takes about a second at most, whatever is broken."""

    def leader(self, region: str | None = None) -> Node:
        """Return the node that takes the writes (of a region's own rows, if the engine has such).

        Raises:
            NotReady: there is none right now.
        """

    def versions(self) -> dict[str, str]:
        """Name and version of each server program."""

    def failover_evidence(self) -> AbstractContextManager[Gather]:
        """Notice what happens while the context is open; `Gather` gives it, also at its end.

        Costs the cluster next to nothing. What no part noticed is not in it, whether a part is
        dead, cut off or does not answer: evidence that is missing is no error.
        """

    @property
    def survival_goals(self) -> tuple[SurvivalGoal, ...]:
        """The goals that this engine has, the weakest first; the topology may not give them all."""

    def survival_goal(self) -> SurvivalGoal:
        """Return the goal in force."""

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change what commits wait for, and wait until they do.

        Raises:
            TopologyError: this shape, or this engine, cannot give it.
            NotReady: it did not take effect in time.
        """

    def purge(self) -> tuple[str, ...]:
        """Remove a stopped cluster with all its data.

        Returns:
            What stood in its place on this machine and is not the cluster's: it was left.

        Raises:
            LabBusy: it runs.
        """


@runtime_checkable
class CanKill(Protocol):
    """A cluster whose parts can be made to die at once, and be started again."""

    def kill(self, target: Target) -> None:
        """SIGKILL every process of the target at once: a power cut."""

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is not running of the target and wait until it is in service. Idempotent.

        Raises:
            NotReady: it did not come back in time.
        """


@runtime_checkable
class CanStop(Protocol):
    """A cluster whose parts can be shut down in order."""

    def shut_down(self, target: Target) -> None:
        """Stop the target the way an operator does: drain, hand over, exit."""


@runtime_checkable
class CanPause(Protocol):
    """A cluster whose parts can be frozen: alive, but not answering."""

    def pause(self, target: Target) -> None:
        """SIGSTOP every process of the target."""

    def resume(self, target: Target) -> None:
        """SIGCONT every process of the target. Idempotent."""


@runtime_checkable
class CanHandOver(Protocol):
    """A cluster whose one primary can be told to let another node lead, while both are well.

    Engines with leaseholders have no such thing: a node that is shut down hands its leases over.
    """

    def hand_over(self, node: Node) -> Node:
        """Let another node lead, one of the same region where possible. Idempotent.

        Returns:
            The node that leads now; nothing was done when `node` did not.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: there is no other node that could, or it did not in time.
        """


@runtime_checkable
class CanScale(Protocol):
    """A cluster whose regions can get and lose nodes while clients go on; see `topology`."""

    def add_node(self, region: str, on_stage: OnStage = quiet) -> Node:
        """Start one more node; it is in service and behind its region's balancer on return.

        When it fails or is interrupted the node is removed again.

        Raises:
            UnknownTarget: no such region.
            TopologyError: the region is full.
            NotRunning: the cluster is stopped.
            NotReady: it was not in service in time.
        """

    def remove_node(self, node: Node, on_stage: OnStage = quiet) -> None:
        """Let a node hand over and leave the cluster for good; its data is gone on return.

        Raises:
            UnknownTarget: it is not part of this cluster.
            TopologyError: what is left could not keep the survival goal; nothing was changed.
            NotRunning: the cluster is stopped.
            NotReady: it could not leave in time; it is still part of the cluster.
        """


class LinkChange(TypedDict, total=False):
    """Changes of a link; a key that is absent changes nothing."""

    delay_ms: float
    jitter_ms: float
    cut: bool


@runtime_checkable
class HasWan(Protocol):
    """A cluster whose regions are kept apart by a delay line that can be changed."""

    def set_link(self, source: str, target: str, **change: Unpack[LinkChange]) -> None:
        """Change one direction between two regions.

        Raises:
            FaultUnavailable: this lab was started with the WAN off.
            UnknownTarget: no such region, or twice the same.
        """

    def reset_links(self) -> None:
        """Give every link the delay of the topology again. Idempotent."""


@runtime_checkable
class HasWaysElsewhere(Protocol):
    """A client can reach the balancers of other regions too, through the WAN."""

    def failover_dsn(self, region: str) -> str:
        """Return a libpq URL of every balancer, as a client in `region` dials them.

        Its own region's stands first, then the others', the nearest first. libpq tries them in
        this order for each new connection (libpq-connect, "Specifying Multiple Hosts"). Writes
        only; the URL holds no password.

        Raises:
            UnknownTarget: no such region.
        """


@dataclass(frozen=True, slots=True)
class Rejoin:
    """The way in which a node came back.

    Attributes:
        how: "stream" (it only had to receive what it missed), "rewind" (it had log that the new
            primary does not have, which was undone first) or "copy" (all data was fetched anew).
        started_at: its first sign of life.
        following_at: it followed the new primary; None when it does not yet, or leads itself.
    """

    node: str
    how: str
    started_at: datetime
    following_at: datetime | None


@runtime_checkable
class TellsRejoin(Protocol):
    """A cluster that can tell how its nodes came back."""

    def rejoins(self, since: datetime) -> tuple[Rejoin, ...]:
        """Return the nodes that came back after a moment, in the order of the topology.

        Args:
            since: with a time zone; when those that came back were surely away.
        """


@runtime_checkable
class HasStateFolder(Protocol):
    """A cluster that outlives this process: another one finds it by its state folder."""

    @property
    def home(self) -> Path:
        """The state folder."""


def resolve(cluster: Cluster, target: str) -> Target:
    """Find what a target means: a node, a region, `lb:REGION`, `primary`, `leader-region`.

    Raises:
        UnknownTarget: it names nothing here; the message lists what there is.
        NotReady: `primary` or `leader-region` while there is no primary.
    """
    topology = cluster.topology
    if target == "primary":
        return cluster.leader()
    if target == "leader-region":
        return topology.region(cluster.leader().region)
    if target.startswith("lb:"):
        return Balancer(region=topology.region(target.removeprefix("lb:")).name)
    if "/" in target:
        return topology.node(target)
    if target in topology.region_names:
        return topology.region(target)
    raise UnknownTarget(
        f"no target {target!r}: say a node ({topology.nodes[0].name}), a region "
        f"({', '.join(topology.region_names)}), a balancer ({topology.balancers[0].name}), "
        "'primary' or 'leader-region'"
    )
