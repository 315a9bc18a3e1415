"""The live board: latency and throughput of every region in a notebook, while a run goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from json import loads
from time import monotonic
from typing import Any

import numpy as np
import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from labkit.measurement.live import LiveSample
from labkit.record import FaultWindow
from labkit.report.figures import theme
from labkit.report.figures.saved import picture
from labkit.ui import board_figure
from labkit.ui.pane import Pane, plotly_module, script, style

_KEPT_ROWS = 1_500
"""Five minutes at five samples a second; older ones leave the board, not the run's history."""
_SENT_ROWS = 20
"""Every message repeats the last ones, so a page that misses some seconds is whole again without
asking: while a cell runs, the kernel answers nobody."""


class LiveBoard(Pane):
    """A `Watch` that draws: pass it to `Experiment.run(watch=...)`.

    It shows itself when the run begins, unless the author has displayed it before. When the run
    ends, a static plotly figure of what was recorded takes its place, which a saved notebook shows
    without a kernel. Its methods may be called from any thread, also where no page is open.

    `spec` has what a run fixes: regions, the figure without points, the name of the plotly module.
    Rows are sent as they come, so there is no `view`.
    """

    _esm = script("live_board")
    _css = style("live_board")

    snapshot = traitlets.Any(None).tag(sync=True, to_json=lambda _, board: board.take_snapshot())
    """Never assigned: made afresh whenever a page asks for the state (a reload, a second view)."""

    def __init__(self, *, shows_itself: bool = True) -> None:
        """Make a board that waits for a run.

        Args:
            shows_itself: whether it appears when a run begins; not where it is part of a page.
        """
        self._shows_itself = shows_itself
        self._lock = threading.RLock()
        self._displays: list[DisplayHandle] = []
        self._runs = 0
        self._running = False
        self._reset((), "")
        super().__init__()

    def begin(self, regions: Sequence[str], title: str) -> None:
        """Clear the board for a run, and show it in IPython if it is not shown yet."""
        plotly = plotly_module()
        with self._lock:
            self._runs += 1
            self._running = True
            self._reset(regions, title)
            self.spec = {
                "run": self._runs,
                "title": title,
                "regions": [
                    {
                        "name": name,
                        "color": theme.region_color(regions, name),
                        "dash": theme.region_dash(regions, name),
                    }
                    for name in regions
                ],
                "figure": loads(board_figure.skeleton(regions).to_json()),
                "keep": _KEPT_ROWS,
                **plotly,
            }
            if self._shows_itself and not self._displays and get_ipython() is not None:
                self._ipython_display_()

    def phase(self, name: str) -> None:
        """Show the phase a run is in."""
        with self._lock:
            self._phase = name
            self._push()

    def update(self, sample: LiveSample) -> None:
        """Add a sample; ignored unless a run is on."""
        with self._lock:
            if self._running:
                self._rows.append(np.array(board_figure.row(sample, self._regions, self._start_s)))
                self._count += 1
                self._push(_SENT_ROWS)

    def fault(self, window: FaultWindow) -> None:
        """Shade a fault from its injection on; a window of the same injection replaces it."""
        with self._lock:
            self._faults[window.label, window.injected_s] = window
            self._push()

    def end(self) -> None:
        """Stop, and leave a static figure where the board was shown. Idempotent."""
        with self._lock:
            if not self._running:
                return
            self._running = False
            self._phase = "done"
            self._push()
            shown, self._displays = self._displays, []
            bundle = self._static_bundle() if shown else {}
        for handle in shown:
            handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def take_snapshot(self) -> dict[str, Any]:
        """Everything on the board, as the page takes it."""
        with self._lock:
            return {**self._message(len(self._rows)), "rows": self._bytes(len(self._rows))}

    def _ipython_display_(self) -> None:
        # shown with an id, so that `end` can put the static figure in the same place
        bundle = {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            },
            "text/plain": "LiveBoard",
        }
        with self._lock:
            handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            self._displays.append(handle)

    def _reset(self, regions: Sequence[str], title: str) -> None:
        self._regions, self._title = tuple(regions), title
        self._start_s = monotonic()
        self._phase = ""
        self._rows: deque[np.ndarray] = deque(maxlen=_KEPT_ROWS)
        self._count = 0
        self._faults: dict[tuple[str, float], FaultWindow] = {}

    def _visible_faults(self) -> list[FaultWindow]:
        """Those that a kept row may still show."""
        first_s = self._start_s + float(self._rows[0][0]) if self._rows else self._start_s
        return [f for f in self._faults.values() if f.healed_s is None or f.healed_s >= first_s]

    def _message(self, rows: int) -> dict[str, Any]:
        """Return what goes with the last `rows` rows; `first` is the number of the first one."""
        faults = self._visible_faults()
        return {
            "type": "rows",
            "run": self._runs,
            "first": self._count - rows,
            "phase": self._phase,
            "shapes": board_figure.shapes(faults, self._start_s),
            "fault": self._fault_times(faults[-1]) if faults else None,
        }

    def _fault_times(self, fault: FaultWindow) -> dict[str, Any]:
        return {
            "label": fault.label,
            "injected": fault.injected_s - self._start_s,
            "effect": None
            if fault.took_effect_s is None
            else fault.took_effect_s - fault.injected_s,
            "healed": None if fault.healed_s is None else fault.healed_s - fault.injected_s,
        }

    def _bytes(self, rows: int) -> memoryview:
        last = list(islice(self._rows, len(self._rows) - rows, None))
        return memoryview(np.concatenate(last).tobytes() if last else b"")

    def _push(self, rows: int = 0) -> None:
        rows = min(rows, len(self._rows))
        self.send(self._message(rows), buffers=[self._bytes(rows)])

    def do_snapshot(self, _content: object) -> None:
        """Send all rows: a page missed some."""
        with self._lock:
            self._push(len(self._rows))

    def _static_bundle(self) -> dict[str, Any]:
        empty = np.empty((0, 1 + len(board_figure.COLUMNS) * len(self._regions)))
        recording = board_figure.Recording(
            self._regions,
            self._title,
            np.array(self._rows) if self._rows else empty,
            tuple(self._visible_faults()),
            self._start_s,
        )
        figure = board_figure.finished(recording)
        return {
            "application/vnd.plotly.v1+json": loads(figure.to_json()),
            **picture(figure),
            "text/plain": board_figure.summary(recording),
        }
