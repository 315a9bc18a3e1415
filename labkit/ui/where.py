"""The pane that shows the region, the age of its prices, and the latency from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from labkit.report.figures import theme
from labkit.ui.pane import Pane, script, style
from labkit.ui.polling import Every
from labkit.ui.session import Session, now_ms


class WhereAmI(Pane):
    """A switch of regions, and of fresh or nearby prices, with what was measured of each."""

    _esm = script("where")
    _css = style("where")

    def __init__(self, session: Session) -> None:
        self._session = session
        names = session.cluster.topology.region_names
        super().__init__(
            regions=[{"name": name, "color": theme.region_color(names, name)} for name in names]
        )
        session.watch("orders", self._show)
        self._heartbeat = Every(self._show, every_s=1.0, name="where")

    def close(self) -> None:
        """Show no more. Idempotent."""
        self._heartbeat.end()
        super().close()

    def do_region(self, content: Mapping[str, Any]) -> None:
        """Another region was chosen."""
        name = str(content["name"])
        if name in self._session.cluster.topology.region_names:
            self._session.move_to(name)
        self._show()

    def do_fresh(self, content: Mapping[str, Any]) -> None:
        """Fresh prices, or nearby ones."""
        self._session.read_fresh(bool(content["fresh"]))
        self._show()

    def _show(self) -> None:
        session = self._session
        here = session.market.reading(session.region, fresh=False)
        self.view = {
            "seen_ms": now_ms(),
            "region": session.region,
            "fresh": session.fresh,
            "stale_s": here.stale_s,
            "behind": here.behind,
            "regions": [self._region(name) for name in self._session.cluster.topology.region_names],
        }

    def _region(self, name: str) -> dict[str, object]:
        took_ms = self._session.orders.took_ms(name)
        reads = {}
        for way, fresh in (("fresh", True), ("nearby", False)):
            seen = self._session.market.reading(name, fresh).seen
            reads[way] = {
                "ms": round(seen.took_s * 1000, 1) if seen.value and not seen.problem else None,
                **seen.to_page(),
            }
        return {
            "name": name,
            **reads,
            "orders": len(took_ms),
            "last_ms": took_ms[-1] if took_ms else None,
            "median_ms": median(took_ms) if took_ms else None,
        }
