"""The whole WAN: every listener of a plan, on one network of links."""

from __future__ import annotations

from collections import Counter

from labkit.wan.front import Front
from labkit.wan.links import Network
from labkit.wan.plan import Plan
from labkit.wan.state import DiallerCount, RefusedCount, WanState


class Proxy:
    """Every listener of a plan.

    Attributes:
        network: the links; change them there.
    """

    def __init__(self, plan: Plan) -> None:
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

    def close(self) -> None:
        """Free every port and reset every connection. Idempotent."""
        for front in self._fronts:
            front.close()

    def state(self) -> WanState:
        """What each link does and has carried, who dialled, and who was refused."""
        diallers: Counter[tuple[str, str | None, str]] = Counter()
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
