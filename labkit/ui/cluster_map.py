"""The cluster as it is now, with a button for everything that can be done to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from labkit.cluster.base import Cluster
from labkit.cluster.status import ClusterStatus
from labkit.errors import LabError
from labkit.record import FaultWindow
from labkit.report.figures.map import cluster_map
from labkit.report.figures.saved import picture
from labkit.ui import map_view
from labkit.ui.fault_runner import EVERYTHING, KINDS, FaultRunner, reasons
from labkit.ui.pane import Pane, script, style
from labkit.ui.polling import Poller, Seen
from labkit.ui.saving import NOT_SAVED

EVERY_S = 0.8
"""Between two looks; one takes up to a second while parts are down."""


class ClusterMap(Pane):
    """Regions, nodes, roles, balancers and WAN links, live; whatever is pressed can be broken.

    It looks at the cluster past the WAN, in a thread of its own, and tells how old what it shows
    is. `close` ends that thread.
    """

    _esm = script("cluster_map")
    _css = style("cluster_map")

    def __init__(
        self,
        cluster: Cluster,
        *,
        faults: bool = True,
        on_fault: Callable[[FaultWindow], None] = lambda window: None,
    ) -> None:
        """Make a map of a cluster.

        Args:
            faults: whether the map has the buttons.
            on_fault: called from any thread when one of them injected, took effect or healed.
        """
        self._cluster = cluster
        self._why_not: dict[str, str] | None = None
        self._runner = FaultRunner(cluster, self._log_changed, on_fault)
        self._showing = Lock()
        self._seen: Seen[ClusterStatus] = Seen()
        super().__init__(
            **map_view.geometry(cluster.topology),
            faults=faults,
            kinds=KINDS if faults else {},
            everything=EVERYTHING,
            backend=cluster.backend,
        )
        self._poller = Poller(self._look, self._tell, every_s=EVERY_S, name="map")

    def close(self) -> None:
        """Look no more. Idempotent."""
        self._poller.end()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        shown = super()._repr_mimebundle_(**kwargs)
        return shown and (shown[0] | self.stand_in("The map"), shown[1])

    def stand_in(self, name: str) -> dict[str, str]:
        """Return the cluster as it is now, for those who have the notebook and no kernel.

        Empty where nobody can save it, and while the cluster does not tell how it is.
        """
        if os.environ.get(NOT_SAVED):
            return {}
        try:
            figure = cluster_map(self._cluster.status(), self._cluster.topology)
        except LabError:
            return {}
        when = f"{name} on {datetime.now(UTC):%d %B %Y, %H:%M} UTC; run its cell to have it live"
        figure.update_layout(title_text=when)
        return {**picture(figure), "text/plain": f"{when}."}

    def do_inject(self, content: Mapping[str, Any]) -> None:
        """Inject a fault: its button was pressed."""
        delay_ms = content.get("delay_ms")
        self._runner.inject(
            str(content["kind"]),
            str(content["target"]),
            None if delay_ms is None else float(delay_ms),
        )

    def do_heal(self, content: Mapping[str, Any]) -> None:
        """Heal: a heal button was pressed."""
        self._runner.heal(str(content["target"]))

    def _look(self) -> ClusterStatus:
        if self._why_not is None:
            self._why_not = reasons(self._cluster)
        return self._cluster.status()

    def _tell(self, seen: Seen[ClusterStatus]) -> None:
        with self._showing:
            self._seen = seen
            self._show()

    def _log_changed(self) -> None:
        with self._showing:
            self._show()
        self._poller.soon()

    def _show(self) -> None:
        status = self._seen.value
        self.view = {
            **(map_view.now(status, self._cluster.topology) if status else {}),
            **self._seen.to_page(),
            "why_not": self._why_not or {},
            "log": [entry.to_page() for entry in self._runner.entries],
        }
