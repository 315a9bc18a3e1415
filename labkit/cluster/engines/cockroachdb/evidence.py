"""The events of an outage that a CockroachDB lab can notice.

| source | what | how fine |
|---|---|---|
| HAProxy's log | a region sends no clients to a node, or again | stamped by HAProxy in microseconds |
| CockroachDB | a node's leases have moved to others | asked every `PACE_S`, so no finer; each event says how long it may have gone unnoticed |

CockroachDB gives no time at which a lease moved, and asking who holds them (SHOW RANGES WITH
DETAILS) fetches data across nodes, "a large computational overhead" (show-ranges.md, v25.4).
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event as Flag
from threading import Lock, Thread
from time import monotonic

from labkit.clock import Anchor
from labkit.cluster import balancer_log
from labkit.cluster.base import Gather
from labkit.cluster.engines.cockroachdb.layout import Layout, balancer_service, node_service
from labkit.cluster.machines.base import Machine
from labkit.errors import LabError
from labkit.events import Event, Sign
from labkit.topology import Node

PACE_S = 2.5
AGAIN_S = 0.2
"""Before another node is asked."""
SOURCE = "CockroachDB"

Held = Mapping[Node, int]
"""How many leases each node holds."""


@contextmanager
def failover_evidence(
    machine: Machine, layout: Layout, leases: Callable[[Node], Held]
) -> Iterator[Gather]:
    """Ask for the leases while the context is open, and yield a function that returns the events.

    These are the changes of leaseholders and what the balancers' logs say, in order of time.

    Args:
        leases: returns the leases by the word of a node; may raise LabError, and may be slow.
    """
    anchor, begun_s = Anchor(), monotonic()
    watch = LeaseWatch(leases, layout.topology.nodes)

    def gather() -> tuple[Event, ...]:
        found = [*watch.noticed, *_balancers(machine, layout, anchor, begun_s)]
        return tuple(sorted(found, key=lambda event: event.at_s))

    watch.start()
    try:
        yield gather
    finally:
        watch.stop()


class LeaseWatch:
    """A thread that asks again and again who holds leases, and notes each change."""

    def __init__(
        self, leases: Callable[[Node], Held], nodes: Sequence[Node], pace_s: float = PACE_S
    ) -> None:
        """Make a watch that asks one node, and another when that one does not answer."""
        self._leases = leases
        self._nodes = nodes
        self._pace_s = pace_s
        self._noticed: list[Event] = []
        self._ended = Flag()
        self._lock = Lock()
        # daemon: an answer that does not come must not keep the program from ending
        self._thread = Thread(target=self._follow, daemon=True, name="labkit-lease-watch")

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End it; an answer on its way is waited for, for a while."""
        self._ended.set()
        self._thread.join(self._pace_s)

    @property
    def noticed(self) -> tuple[Event, ...]:
        """Return what it noticed so far."""
        with self._lock:
            return tuple(self._noticed)

    def _follow(self) -> None:
        before: Held = {}
        answered_s = monotonic()
        turn = 0
        while not self._ended.is_set():
            asked_s = monotonic()
            try:
                held = self._leases(self._nodes[turn % len(self._nodes)])
            except LabError:
                turn += 1
                self._ended.wait(AGAIN_S)
                continue
            with self._lock:
                self._noticed += moved(before, held, since_s=answered_s, now_s=monotonic())
            before, answered_s = held, asked_s  # an answer may be as old as its question
            self._ended.wait(self._pace_s)


def moved(before: Held, after: Held, *, since_s: float, now_s: float) -> list[Event]:
    """Return the nodes that lost at least half of their leases between two looks.

    Half, because leases also move one by one, to balance the load.
    """
    found = []
    for node, had in before.items():
        has = after.get(node, 0)
        if has <= had / 2:
            detail = f"{had - has} of {had} leases moved"
            event = Event(
                now_s,
                Sign.LEASES_MOVED,
                SOURCE,
                node=node.name,
                within_s=now_s - since_s,
                detail=detail,
            )
            found.append(event)
    return found


def _balancers(machine: Machine, layout: Layout, anchor: Anchor, since_s: float) -> list[Event]:
    servers = {(node.region, node_service(node)): node.name for node in layout.topology.nodes}
    found: list[Event] = []
    for region in layout.topology.region_names:
        with suppress(LabError):  # what runs it is gone: no evidence
            found += balancer_log.transitions(
                machine.log(balancer_service(region), since_s + anchor.offset_s),
                region=region,
                servers=servers,
                anchor=anchor,
                since_s=since_s,
            )
    return found
