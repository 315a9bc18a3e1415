"""The load: a switch, a rate, and what every region feels."""

from __future__ import annotations

import atexit
import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, isnan
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import IO, Any, Final

from labkit.clock import wait_until
from labkit.cluster.base import Cluster, HasStateFolder
from labkit.errors import LabBusy, LabError, NotReady
from labkit.measurement.live import LiveTail
from labkit.record import FaultWindow
from labkit.ui.live_board import LiveBoard
from labkit.ui.pane import Pane, script, style
from labkit.ui.polling import Every, first_line
from labkit.ui.session import now_ms
from labkit.workload.running import RunningWorkload
from labkit.workload.trading import TradingWorkload

RATES: Final = (1.0, 300.0)
"""The least and the most orders a second that the switch takes."""
EVERY_S: Final = 0.25


def connections_for(rate_per_s: float) -> int:
    """Count the connections that a region's clients need: orders of 0.4 s, and at least six.

    A server takes a hundred, from pages and other clients too.
    """
    return min(20, max(6, ceil(0.4 * rate_per_s)))


@contextmanager
def the_only_load(cluster: Cluster, *, wait_s: float = 5.0) -> Iterator[None]:
    """Hold the right to send load: one page of a lab at a time.

    Two loads can be more connections than a server takes.

    Args:
        wait_s: how long the load of a page that was just left may take to end.

    Raises:
        LabBusy: another page has a load.
    """
    if not isinstance(cluster, HasStateFolder):
        yield
        return
    with (cluster.home / "load.lock").open(
        "w", encoding="utf-8"
    ) as file:  # let go of when the kernel dies, too
        try:
            wait_until(lambda: _locked(file), what="the load's lock", timeout_s=wait_s)
        except NotReady:
            raise LabBusy("another page has a load on this lab: stop it there") from None
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class LoadSwitch(Pane):
    """Starts and stops the trading workload; `board` draws it. One at a time.

    Its orders are real ones, of the accounts and instruments that are there for load. It ends with
    the kernel, whatever way that ends.
    """

    _esm = script("load")
    _css = style("load")

    def __init__(self, cluster: Cluster, *, rate_per_s: float = 30.0) -> None:
        """Make a switch that is off.

        Args:
            rate_per_s: what it offers first, all regions together.
        """
        self._cluster = cluster
        self._lock = Lock()
        self._state, self._problem, self._rate_per_s = "off", "", rate_per_s
        self._stop = Event()
        self._thread: Thread | None = None
        self.board = LiveBoard(shows_itself=False)
        super().__init__(least=RATES[0], most=RATES[1])
        self._heartbeat = Every(self._show, every_s=1.0, name="load")

    def close(self) -> None:
        """End the load and show no more. Idempotent."""
        self.end()
        self._heartbeat.end()
        super().close()

    def do_start(self, content: Mapping[str, Any]) -> None:
        """Start the load; say on the page why a rate is refused."""
        rate_per_s = content["rate_per_s"]  # JSON has no NaN: a field without a number sends null
        try:
            self.start(float("nan" if rate_per_s is None else rate_per_s))
        except ValueError as error:
            self._set(self._state, str(error))

    def do_stop(self, _content: Mapping[str, Any]) -> None:
        """End the load: the switch was turned off."""
        self._stop.set()

    def start(self, rate_per_s: float) -> None:
        """Begin to send, in a thread of its own; does nothing when it is on.

        Raises:
            ValueError: the rate is not one of `RATES`.
        """
        if not RATES[0] <= rate_per_s <= RATES[1]:
            asked = "no rate" if isnan(rate_per_s) else f"a rate of {rate_per_s:,g} is out of range"
            raise ValueError(f"{asked}: choose {RATES[0]:g} to {RATES[1]:g} orders per second")
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop.clear()
            self._rate_per_s = rate_per_s
            self._thread = Thread(target=self._run, name="labkit-load", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Stop sending and wait until the orders in flight have ended. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def fault(self, window: FaultWindow) -> None:
        """Shade the time of a fault in the live charts."""
        self.board.fault(window)

    def _run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="labkit-desk-"))
        atexit.register(self.end)  # before the interpreter takes the workers' pipes away
        try:
            self._set("starting")
            workload = TradingWorkload(
                rate_per_s=self._rate_per_s,
                connections=connections_for(
                    self._rate_per_s / len(self._cluster.topology.region_names)
                ),
            )
            with (
                the_only_load(self._cluster),
                workload.start(self._cluster, folder) as running,
            ):
                self._set("on")
                self.board.begin(
                    self._cluster.topology.region_names, f"{self._rate_per_s:g} orders a second"
                )
                self.board.phase("sending")
                self._pump(running)
                self._set("stopping")
        except LabError as error:
            self._set("off", first_line(error))
        else:
            self._set("off")
        finally:
            self.board.end()
            atexit.unregister(self.end)
            shutil.rmtree(folder, ignore_errors=True)

    def _pump(self, running: RunningWorkload) -> None:
        tail = LiveTail(self._cluster.topology.region_names)
        while not self._stop.wait(EVERY_S):
            running.check()
            tail.feed(running.poll())
            self.board.update(tail.sample(monotonic()))

    def _set(self, state: str, problem: str = "") -> None:
        self._state, self._problem = state, problem
        self._show()

    def _show(self) -> None:
        self.view = {
            "seen_ms": now_ms(),
            "state": self._state,
            "problem": self._problem,
            "rate_per_s": self._rate_per_s,
        }
