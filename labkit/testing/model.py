"""The model behind `labkit.testing.FakeCluster`: parts, links, and who leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations

from labkit.cluster.status import ClusterStatus, LinkStatus, NodeStatus, Role, ServiceStatus, State
from labkit.events import Event, Sign
from labkit.topology import Balancer, Node, Region, SurvivalGoal, Target, Topology


class Model:
    """A cluster in memory: the state of each part and link, and the elections that follow.

    Attributes:
        topology: its shape; `add` and `remove` change it.
        goal: the survival goal in force.
        states: of each part, by the names that a status gives.
        links: by source and target.
        primary: the node that leads, or led last; None before the first election.
        events: what its parts noticed, in order of time.
    """

    def __init__(
        self, topology: Topology, *, election_s: float, clock: Callable[[], float]
    ) -> None:
        """Make a stopped cluster.

        Args:
            election_s: seconds without a primary after one is lost.
            clock: seconds.
        """
        self.topology = topology
        self.goal = topology.survive
        self.states = dict.fromkeys(self.parts(topology.regions), State.DOWN)
        self.links = self._undisturbed_links()
        self.primary: Node | None = None
        self.events: list[Event] = []
        self._election_s = election_s
        self._clock = clock
        self._lost_at_s: float | None = None

    def parts(self, targets: Iterable[Target]) -> list[str]:
        """Name the parts that targets stand for, as `status` does."""
        names: list[str] = []
        for target in targets:
            if isinstance(target, Region):
                region = self.topology.region(target.name)
                names += [node.name for node in self.topology.nodes_of(region.name)]
                names += [f"etcd:{region}", f"lb:{region}"]
            elif isinstance(target, Balancer):
                names.append(f"lb:{self.topology.region(target.region)}")
            else:
                names.append(self.topology.node(target.name).name)
        return names

    def set(self, state: State, parts: Iterable[str]) -> None:
        """Give parts a state, and let happen what follows at once."""
        self.states.update(dict.fromkeys(list(parts), state))
        self.settle()

    def move(self, parts: Iterable[str], before: State, after: State) -> None:
        """Give those of some parts that are in one state another one."""
        self.set(after, [part for part in parts if self.states[part] is before])

    def running(self) -> bool:
        """Tell whether any part runs or is frozen."""
        return any(state is not State.DOWN for state in self.states.values())

    def start(self) -> None:
        """Let every part run, undisturbed."""
        self.links = self._undisturbed_links()
        self.set(State.RUNNING, self.states)
        if self.primary is None:
            self.elect()

    def forget(self) -> None:
        """Forget who was primary, as data that is removed does."""
        self.primary = self._lost_at_s = None

    def add(self, node: Node, topology: Topology) -> None:
        """Let one more node run."""
        self.topology = topology
        self.set(State.RUNNING, [node.name])

    def remove(self, node: Node, topology: Topology) -> None:
        """Take a node away."""
        self.topology = topology
        del self.states[node.name]

    def change_link(self, link: LinkStatus) -> None:
        """Change a link."""
        self.links[link.source, link.target] = link
        self.settle()

    def reset_links(self) -> None:
        """Give every link the delay of the topology again."""
        self.links = self._undisturbed_links()
        self.settle()

    def _undisturbed_links(self) -> dict[tuple[str, str], LinkStatus]:
        return {
            (a, b): LinkStatus(a, b, self.topology.one_way_ms(a, b))
            for a, b in permutations(self.topology.region_names, 2)
        }

    def _linked(self, a: str, b: str) -> bool:
        return a == b or not (self.links[a, b].cut or self.links[b, a].cut)

    def _takes_part(self, region: str) -> bool:
        names = self.topology.region_names
        heard = [
            name
            for name in names
            if self.states[f"etcd:{name}"] is State.RUNNING and self._linked(region, name)
        ]
        return len(heard) > len(names) // 2

    def serves(self, node: Node) -> bool:
        """Tell whether a node runs in a region that takes part."""
        return self.states[node.name] is State.RUNNING and self._takes_part(node.region)

    def settle(self) -> None:
        """Let an election end that is due."""
        if self.primary is None:
            return
        if self.serves(self.primary):
            self._lost_at_s = None
            return
        now_s = self._clock()
        if self._lost_at_s is None:
            self._lost_at_s = now_s
            self._notice(Sign.SERVER_DOWN, self.primary)
        if now_s - self._lost_at_s >= self._election_s:
            self.elect()

    def elect(self, without: Node | None = None) -> None:
        """Let the first node that may take over do so: one of the same region where possible."""
        old = self.primary
        home = old.region if old else self.topology.region_names[0]
        same_region_only = old is not None and self.goal is SurvivalGoal.ZONE
        for node in sorted(self.topology.nodes, key=lambda node: node.region != home):
            if node == without or not self.serves(node):
                continue
            if node.region == home or not same_region_only:
                self.primary, self._lost_at_s = node, None
                self._notice_election(old, node)
                return

    def _notice(self, sign: Sign, node: Node) -> None:
        """Every balancer that runs sees a server of the primary's come or go."""
        self.events += [
            Event(self._clock(), sign, "fake balancer", region=region, node=node.name)
            for region in self.topology.region_names
            if self.states[f"lb:{region}"] is State.RUNNING
        ]

    def _notice_election(self, old: Node | None, new: Node) -> None:
        signs = [(Sign.LEADER_GONE, old), (Sign.LEADER, new), (Sign.PROMOTED, new)]
        self.events += [
            Event(self._clock(), sign, "fake election", node=node.name)
            for sign, node in signs
            if node is not None
        ]
        self._notice(Sign.SERVER_UP, new)

    def status(self, backend: str, *, wan: bool) -> ClusterStatus:
        """Describe every part as it is now."""
        self.settle()
        regions = self.topology.regions
        return ClusterStatus(
            backend=backend,
            survival_goal=self.goal,
            wan=wan,
            nodes=tuple(self._node_status(node) for node in self.topology.nodes),
            balancers=tuple(self._balancer_status(region) for region in regions),
            coordinators=tuple(self._coordinator_status(region) for region in regions),
            links=tuple(self.links.values()) if wan else (),
        )

    def _role(self, node: Node) -> Role:
        if node == self.primary:
            return Role.PRIMARY
        near = self.primary is not None and node.region == self.primary.region
        waited_for = {
            SurvivalGoal.NONE: False,
            SurvivalGoal.ZONE: near,
            SurvivalGoal.REGION: True,
        }
        return Role.SYNC if waited_for[self.goal] else Role.REPLICA

    def _node_status(self, node: Node) -> NodeStatus:
        state = self.states[node.name]
        primary = self.primary if self.primary and self.serves(self.primary) else None
        if state is not State.RUNNING:
            detail = state.value
        elif primary is None:
            detail = "there is no primary"
        elif not self._linked(node.region, primary.region):
            detail = "it does not stream from the primary"
        else:
            detail = ""
        role = Role.UNKNOWN if detail else self._role(node)
        return NodeStatus(
            name=node.name,
            region=node.region,
            role=role,
            state=state,
            healthy=not detail,
            pid=None,
            lag_bytes=0 if role in (Role.SYNC, Role.REPLICA) else None,
            detail=detail,
        )

    def _balancer_status(self, region: Region) -> ServiceStatus:
        state = self.states[f"lb:{region}"]
        primary = self.primary
        reaches = primary and self.serves(primary) and self._linked(region.name, primary.region)
        detail = state.value if state is not State.RUNNING else ""
        detail = detail or ("" if reaches else "it sees no primary")
        return self._service(f"lb:{region}", region, detail)

    def _coordinator_status(self, region: Region) -> ServiceStatus:
        state = self.states[f"etcd:{region}"]
        detail = state.value if state is not State.RUNNING else ""
        detail = detail or ("" if self._takes_part(region.name) else "it reaches no majority")
        return self._service(f"etcd:{region}", region, detail)

    def _service(self, name: str, region: Region, detail: str) -> ServiceStatus:
        state = self.states[name]
        return ServiceStatus(name, region.name, state, not detail, None, {}, detail)
