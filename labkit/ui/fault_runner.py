"""Faults at a button: injected and healed beside the kernel's main thread, with receipts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from threading import Lock, Thread
from time import monotonic, time

from labkit.cluster.base import Cluster, HasStateFolder
from labkit.cluster.marks import require_no_run
from labkit.errors import LabError
from labkit.faults.inject import Injection, heal_target, inject
from labkit.faults.parse import FAULTS, parse
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause, Stop
from labkit.faults.slow import Slow
from labkit.record import FaultWindow
from labkit.ui.polling import first_line

EVERYTHING = "everything"
"""The target of the button that heals all."""
KEPT_ENTRIES = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: what was done to what, and what came of it.

    Attributes:
        state: "working", "effect" (it took effect), "healed", "void" (it took none) or "refused".
        detail: what the probe saw, or why it was refused.
        at_s: seconds since the epoch.
        took_s: until the state; None while working.
    """

    number: int
    action: str
    target: str
    at_s: float
    state: str = "working"
    detail: str = ""
    took_s: float | None = None

    def to_page(self) -> dict[str, object]:
        """Plain data for the page."""
        return {
            "number": self.number,
            "action": self.action,
            "target": self.target,
            "at_ms": round(self.at_s * 1000),
            "state": self.state,
            "detail": self.detail,
            "took_s": self.took_s,
        }


class FaultRunner:
    """Injects and heals, each in a thread of its own; healing one after the other.

    What it injects holds until it is healed, whoever does that: a page that is closed heals
    nothing, because others may be looking at the fault.
    """

    def __init__(
        self,
        cluster: Cluster,
        on_change: Callable[[], None],
        on_fault: Callable[[FaultWindow], None] = lambda window: None,
    ) -> None:
        """Make a runner that has done nothing yet.

        Args:
            on_change: called from any thread when the log changed.
            on_fault: called likewise with the window of a fault whenever it changes.
        """
        self._cluster = cluster
        self._on_change = on_change
        self._on_fault = on_fault
        self._open: dict[str, list[Injection]] = {}
        self._numbers = count(1)
        self._lock = Lock()
        self._healing = Lock()
        self._entries: dict[int, Entry] = {}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The log, the newest first."""
        with self._lock:
            return tuple(reversed(self._entries.values()))

    def inject(self, kind: str, target: str, delay_ms: float | None = None) -> Thread:
        """Apply a fault as `labkit fault KIND TARGET` does, and look for its effect."""
        return self._begin(kind, target, lambda: self._inject(kind, target, delay_ms))

    def heal(self, target: str = EVERYTHING) -> Thread:
        """Undo every fault of a target, or all faults."""
        return self._begin("heal", target, lambda: self._heal(target))

    def _begin(self, action: str, target: str, work: Callable[[], tuple[str, str]]) -> Thread:
        entry = Entry(next(self._numbers), action, target, time())
        self._record(entry)

        def run() -> None:
            begun_s = monotonic()
            try:
                state, detail = work()
            except LabError as error:
                notes = getattr(error, "__notes__", ())
                state, detail = "refused", "; ".join((first_line(error), *notes))
            except Exception as error:  # a thread has nobody else to tell
                state, detail = "refused", f"{type(error).__name__}: {first_line(error)}"
                raise
            finally:
                took_s = monotonic() - begun_s
                self._record(replace(entry, state=state, detail=detail, took_s=took_s))

        thread = Thread(target=run, name=f"labkit-{action}", daemon=True)
        thread.start()
        return thread

    def _record(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.number] = entry
            while len(self._entries) > KEPT_ENTRIES:
                del self._entries[min(self._entries)]
        self._on_change()

    def _require_no_run(self) -> None:
        if isinstance(self._cluster, HasStateFolder):
            require_no_run(self._cluster.home)

    def _inject(self, kind: str, target: str, delay_ms: float | None) -> tuple[str, str]:
        self._require_no_run()
        fault = parse(kind, target, self._cluster, delay_ms=delay_ms if kind == "slow" else None)
        injection = inject(fault, self._cluster, record=self._on_fault)
        with self._lock:
            self._open.setdefault(target, []).append(injection)
        return ("effect" if injection.after.took_effect else "void"), injection.after.detail

    def _heal(self, target: str) -> tuple[str, str]:
        self._require_no_run()
        with self._healing:
            if target == EVERYTHING:
                self._cluster.heal()
            else:
                heal_target(self._cluster, target)
        with self._lock:
            healed = list(self._open) if target == EVERYTHING else [target]
            injections = [one for name in healed for one in self._open.pop(name, ())]
        for injection in injections:
            injection.healed()
        return "healed", "in service again"


KINDS: Mapping[str, tuple[str, ...]] = {
    "node": (Kill.name, Stop.name, Pause.name),
    "balancer": (Kill.name, Stop.name, Pause.name),
    "region": (Kill.name, Stop.name, Pause.name, Partition.name, Slow.name),
    "link": (Partition.name, Slow.name),
}
"""What can be done to each kind of target, in the order of the buttons."""


def reasons(cluster: Cluster) -> dict[str, str]:
    """Why this backend cannot do a fault; those it can do are left out. Asks for its status."""
    region = cluster.topology.regions[0]
    found = {name: fault(region).available(cluster) for name, fault in FAULTS.items()}
    return {name: reason for name, reason in found.items() if reason}
