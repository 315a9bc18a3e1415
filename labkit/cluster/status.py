"""The status of a cluster at one moment, as seen from outside: frozen data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from time import monotonic, sleep

from labkit.errors import UnknownTarget
from labkit.topology import SurvivalGoal


class Role(StrEnum):
    """The role of a node right now."""

    PRIMARY = "primary"
    """Takes writes (CockroachDB: holds leases of the trading tables)."""
    SYNC = "sync"
    """A replica that commits may wait for."""
    REPLICA = "replica"
    """A replica that no commit waits for."""
    UNKNOWN = "unknown"
    """It did not answer."""


class State(StrEnum):
    """The state of a process. A running one may still not answer: see `healthy`."""

    RUNNING = "running"
    PAUSED = "paused"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One database node.

    Attributes:
        lag_bytes: log not yet replayed here, None on the primary or when unknown.
        healthy: it answered, and takes the part it should.
        detail: one line why it is not healthy, else empty.
        leases: how many ranges it leads, where an engine spreads them over nodes (the role of one
            that leads any is PRIMARY); None where a single node leads all, or when unknown.
        ranges_unavailable: of the ranges it answers for, those without a majority of their
            replicas; None where an engine has no ranges, or when unknown.
        ranges_underreplicated: likewise, those with fewer replicas than they should have.
    """

    name: str
    region: str
    role: Role
    state: State
    healthy: bool
    pid: int | None
    lag_bytes: int | None = None
    detail: str = ""
    leases: int | None = None
    ranges_unavailable: int | None = None
    ranges_underreplicated: int | None = None

    @property
    def behind(self) -> str:
        """Return what its data lacks, for people; empty when nothing is known to."""
        told = [] if self.lag_bytes is None else [f"{self.lag_bytes:,} bytes not yet replayed"]
        if self.ranges_unavailable:
            told.append(f"{self.ranges_unavailable:,} ranges unavailable")
        if self.ranges_underreplicated:
            told.append(f"{self.ranges_underreplicated:,} ranges short of replicas")
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A load balancer or a coordinator (etcd) of a region.

    Attributes:
        ports: what it listens on, such as {"read_write": 21000}.
    """

    name: str
    region: str
    state: State
    healthy: bool
    pid: int | None
    ports: dict[str, int]
    detail: str = ""


Part = NodeStatus | ServiceStatus
"""What is in service or not; a region has several."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One direction between two regions, as it is now."""

    source: str
    target: str
    delay_ms: float
    jitter_ms: float = 0.0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The status of a cluster at one moment, as seen from outside.

    Attributes:
        survival_goal: None where it could not be asked.
        wan: whether regions are kept apart by a delay line.
        links: empty when `wan` is False.
    """

    backend: str
    survival_goal: SurvivalGoal | None
    wan: bool
    nodes: tuple[NodeStatus, ...]
    balancers: tuple[ServiceStatus, ...]
    coordinators: tuple[ServiceStatus, ...] = ()
    links: tuple[LinkStatus, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Nodes, balancers and coordinators."""
        return (*self.nodes, *self.balancers, *self.coordinators)

    @property
    def healthy(self) -> bool:
        """Every part is in service, a node takes writes, and no link is cut.

        CockroachDB has several primaries. Where a second one is wrong, it is not healthy.
        """
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """Return what keeps it from being healthy, each in a few words."""
        led = any(node.role is Role.PRIMARY for node in self.nodes)
        unwell = [part for part in self.parts if not part.healthy]
        return (
            *(f"{part.name}: {part.detail or part.state}" for part in unwell),
            *(() if led else ("no node takes writes",)),
            *(f"{link.source}>{link.target} is cut" for link in self.links if link.cut),
        )

    @property
    def settling(self) -> bool:
        """Not healthy, and nobody took away what it needs to become so by itself."""
        whole = all(part.state is State.RUNNING for part in self.parts)
        return not self.healthy and whole and not any(link.cut for link in self.links)

    def node(self, name: str) -> NodeStatus:
        """Return the status of one node.

        Raises:
            UnknownTarget: no such node.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise UnknownTarget(f"no node {name!r}: there are {', '.join(n.name for n in self.nodes)}")

    def to_json(self) -> dict[str, object]:
        """Plain data for `labkit status --json`; links have `from` and `to`."""
        data = asdict(self)
        for link in data["links"]:
            link["from"], link["to"] = link.pop("source"), link.pop("target")
        return {**data, "healthy": self.healthy}


def settled(ask: Callable[[], ClusterStatus], *, timeout_s: float) -> ClusterStatus:
    """Ask until what is seen does not change by itself any more, or time is up.

    Returns:
        The last status; one that is not healthy needs somebody to mend it.
    """
    deadline_s = monotonic() + timeout_s
    while (status := ask()).settling and monotonic() < deadline_s:
        sleep(0.1)
    return status
