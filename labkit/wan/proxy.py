"""The whole WAN: every listener of a plan, on one network of links."""

from __future__ import annotations

from collections import Counter

from labkit.errors import ClusterError
from labkit.wan.front import Front
from labkit.wan.links import Network
from labkit.wan.peek import peek_for
from labkit.wan.plan import Plan
from labkit.wan.state import DiallerCount, RefusedCount, WanState


class Proxy:
    """Every listener of a plan.

    Attributes:
        plan: what it serves.
        network: the links; change them there.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.network = Network(plan)
        self._fronts = [Front(listener, plan, self.network) for listener in plan.listeners]

    async def listen(self) -> None:
        """Bind every listener.

        Raises:
            PortInUse: a port is taken; names it and its listener.
            ClusterError: a port cannot be bound for another reason.
        """
        for front in self._fronts:
            await front.listen()

    async def serve(self, plan: Plan) -> None:
        """Serve the listeners and names of another plan; connections of those that stay, stay.

        Raises:
            PortInUse, ClusterError: see `listen`; nothing new is served.
        """
        wanted = {*plan.listeners}
        # first, because a new listener may have the port of one that ends
        for front in self._fronts:
            if front.listener not in wanted:
                front.close()
        self._fronts = [front for front in self._fronts if front.listener in wanted]
        known = {front.listener for front in self._fronts}
        new = [Front(one, plan, self.network) for one in plan.listeners if one not in known]
        try:
            for front in new:
                await front.listen()
        except ClusterError:
            for front in new:
                front.close()
            raise
        for front in self._fronts:
            front.peek = peek_for(front.listener, plan)
        self._fronts += new
        self.plan = plan

    def close(self) -> None:
        """Free every port and reset every connection. Idempotent."""
        for front in self._fronts:
            front.close()

    def state(self) -> WanState:
        """Describe what each link does and has carried, who dialled, and who was refused."""
        diallers: Counter[tuple[str, str, str]] = Counter()
        for front in self._fronts:
            for source, count in front.diallers.items():
                diallers[front.listener.kind.value, source, front.listener.region] += count
        return WanState(
            links=self.network.state(),
            diallers=tuple(
                DiallerCount(kind, source, target, count)
                for (kind, source, target), count in diallers.items()
            ),
            refused=tuple(
                RefusedCount(front.listener.name, reason, count)
                for front in self._fronts
                for reason, count in front.refused.items()
            ),
        )
