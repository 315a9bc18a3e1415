"""One experiment: steady -> inject -> hold -> heal -> steady -> final read -> verdict.

Orders flow the whole time. The fault is healed whatever happens in between, and what acknowledged
orders became is read from the database only after that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import pandas as pd
from pydantic import JsonValue

from labkit.cluster.base import Cluster, Gather, HasStateFolder, OnStage
from labkit.cluster.marks import Claim
from labkit.cluster.status import settled
from labkit.errors import BadInput, ClusterError, LabTakenDown
from labkit.faults.base import Fault
from labkit.faults.inject import Injection, healed_on_failure, inject
from labkit.history import History, Terms, save_faults
from labkit.measurement.live import LiveTail, RecentOps, Silent, Watch
from labkit.measurement.recovery import recovery
from labkit.record import FaultWindow
from labkit.report.page import write_report
from labkit.report.result import Result
from labkit.run import folders
from labkit.run.reads import read_back, read_before
from labkit.run.watchdog import Watchdog
from labkit.trading.audit import OPENING, FinalRead, kept
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.judge import judge
from labkit.verdict.run import About, RunRecord
from labkit.verdict.steady import SteadyState
from labkit.workload.classes import ClassWorkload
from labkit.workload.ledger import read_ledger
from labkit.workload.running import RunningWorkload
from labkit.workload.trading import TradingWorkload

T = TypeVar("T")

WATCH_EVERY_S = 0.2
"""Between two looks at what the clients wrote; a look is late only when the one before was long."""
OVERDUE_S = 30.0
"""How long after its time a fault may still hold: an orderly stop takes that long at most."""


@dataclass(frozen=True)
class Experiment:
    """A plan: what is done to a cluster while orders flow, and what must hold.

    Attributes:
        steady: what must hold before the fault and again after it is healed.
        fault: what is injected; None measures a healthy system for `hold_s`.
        hold_s: seconds from the injection to the healing.
        inject_after_s: how much longer to wait when the steady state was seen.
        steady_s: seconds for which the steady state must hold, before and after.
        patience_s: how much longer than `steady_s` to wait for it each time before that counts as
            failed.
        effect_timeout_s: how long the fault may take to show an effect before it counts as void.
        scenario: names the run folder.
        say: told in one line what happens when; by default printed.
        folder: the run folder; by default that of `run_folder`.
    """

    cluster: Cluster
    workload: TradingWorkload
    steady: SteadyState
    fault: Fault | None = None
    hold_s: float = 15.0
    steady_s: float = 6.0
    patience_s: float = 45.0
    effect_timeout_s: float = 10.0
    inject_after_s: float = 0.0
    scenario: str = "experiment"
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    folder: Path | None = None
    say: OnStage = print

    def __post_init__(self) -> None:
        """Refuse what cannot be judged.

        Raises:
            BadInput: the workload is a class of the user's, whose functions labkit does not know.
        """
        if isinstance(self.workload, ClassWorkload):
            raise BadInput(
                f"{Path(self.workload.file).name}: an experiment judges the orders of a "
                "TradingWorkload, and what the functions of a class do is not known to it: measure "
                "the class with `labkit load FILE`, or with its start(cluster, folder)"
            )

    def run(self, watch: Watch | None = None) -> Result:
        """Do it.

        Saves the run folder, and returns what was measured and judged. It does not raise when a
        requirement fails: `result.require(...)` does.

        Args:
            watch: looks on, such as a LiveBoard.

        Raises:
            FaultUnavailable: this backend cannot apply the fault; nothing was started.
            ClusterError: the cluster is not in service, and nothing was started: it needs mending,
                or did not come to rest within `patience_s`.
            LabBusy: another run measures the lab, and goes on; nothing was started.
            LabTakenDown: the lab was taken down meanwhile; the run folder says so.
            RunError: the workload broke down.
        """
        folder = self.folder or folders.run_folder(self.scenario, self.cluster.backend)
        with folders.going_on(self.cluster, folder):
            result = self.measure(folder, watch or Silent())
            write_report(result, folder)
            return result

    def measure(self, folder: Path, watch: Watch) -> Result:
        """`run` without the report. Raises what `run` does."""
        if self.fault is not None:
            self.fault.require_available(self.cluster)
        with folders.going_on(self.cluster, folder) as claim:
            return self._measure(folder, watch, claim)

    def _measure(self, folder: Path, watch: Watch, claim: Claim) -> Result:
        self._require_service()
        about = self.about()
        started_at = datetime.now(UTC)
        folders.begin(folder, about)
        watch.begin(self.cluster.topology.region_names, self.title)
        try:
            self.say(f"{self.workload.load}, run folder {folder}")
            phases, opening, final = self._go(folder, watch, claim)
        finally:
            watch.end()
        history = phases.history()
        try:
            record = RunRecord(
                about,
                history,
                started_at=started_at,
                finished_at=datetime.now(UTC),
                ledger=read_ledger(folder),
                final=final,
                opening=opening,
                steady_before=phases.found.get("before"),
                steady_after=phases.found.get("after"),
            )
            judged = judge(record).save(folder)
        except Exception as error:
            folders.complete(folder, f"{type(error).__name__} while it was judged", history)
            raise
        folders.drop_ops(folder)
        return Result.of(judged)

    def _go(
        self, folder: Path, watch: Watch, claim: Claim
    ) -> tuple[_Phases, FinalRead | None, FinalRead | None]:
        """Read the database, do everything, and read back what came of it.

        When it is broken off, keep what is.
        """
        phases = None
        try:
            opening = kept(read_before(self.cluster), folder, OPENING)
            with (
                Watchdog(self._guarded, folder / folders.WATCHDOG_LOG, self._service) as watchdog,
                self.cluster.failover_evidence() as gather,
                self.workload.start(self.cluster, folder) as running,
            ):
                phases = _Phases(self, running, watch, watchdog, folder, gather, claim)
                phases.go()
                running.stop()
            phases.enter("final read")
            final = read_back(self.cluster, running.run_id)
            claim.check()  # nothing can be read from a database that was stopped
            kept(final, folder)
        except BaseException as error:
            phase = phases.phase if phases else "starting the clients"
            history = phases.running.history() if phases else None
            by = claim.ended_by
            why = f"the lab was taken down by {by}" if by else type(error).__name__
            folders.complete(folder, f"{why} in its phase {phase!r}", history)
            if by and not isinstance(error, LabTakenDown):
                raise LabTakenDown(f"the lab was taken down during the run, by {by}") from error
            raise
        return phases, opening, final

    def _require_service(self) -> None:
        """Let the cluster come to rest: clients are served again before every replica follows."""
        status = self.cluster.status()
        if status.settling:
            self.say(f"waiting for the whole cluster: {'; '.join(status.missing)}")
            status = settled(self.cluster.status, timeout_s=self.patience_s)
        if not status.healthy:
            raise ClusterError(
                f"the cluster is not in service ({'; '.join(status.missing)}), so an experiment "
                "would show nothing: `labkit heal` brings it back"
            )

    def about(self) -> About:
        """Describe a run of the experiment before it has measured anything."""
        return About(
            scenario=self.scenario,
            backend=self.cluster.backend,
            topology=folders.topology_of(self.cluster),
            parameters=self.parameters,
            workload=json.loads(json.dumps(asdict(self.workload))),  # its tuples as lists
            versions=folders.versions_of(self.cluster),
        )

    @property
    def _guarded(self) -> Path | None:
        """The state folder that a watchdog finds the lab by; None when there is nothing to heal."""
        if self.fault is None or not isinstance(self.cluster, HasStateFolder):
            return None
        return self.cluster.home

    @property
    def _service(self) -> dict[str, float]:
        """Return what a watchdog must find after it had to heal."""
        return {**asdict(self.steady), "for_s": self.steady_s}

    @property
    def title(self) -> str:
        """Return what is done, in a word or two."""
        return f"{self.fault.label}" if self.fault else "no fault"


class _Phases:
    """The phases of one run. While an action blocks, `watch` is still told what clients did."""

    def __init__(
        self,
        experiment: Experiment,
        running: RunningWorkload,
        watch: Watch,
        watchdog: Watchdog,
        folder: Path,
        gather: Gather,
        claim: Claim,
    ) -> None:
        self.experiment, self.running, self.watch = experiment, running, watch
        self.watchdog, self.folder, self.gather, self.claim = watchdog, folder, gather, claim
        self.open_loop = asdict(experiment.workload).get("concurrency") is None
        self.phase = ""
        self.tail = LiveTail(experiment.cluster.topology.region_names)
        self.begun_s = monotonic()
        self.recent = RecentOps()
        self.polled: list[pd.DataFrame] = []
        self.next_look_s = self.begun_s
        self.faults: tuple[FaultWindow, ...] = ()
        self.shown: FaultWindow | None = None
        self.found: dict[str, Finding] = {}  # the last looks at the steady state
        self.looks: dict[str, tuple[float, float]] = {}  # from when until when
        self.watched_until_s = inf

    def go(self) -> None:
        self.enter("steady state")
        steady = self._await_steady("before")
        fault = self.experiment.fault
        if fault is None:
            self._pump(self.experiment.hold_s)
            return
        if not steady:
            return  # a fault says nothing about a system that was not well before it
        self._pump(self.experiment.inject_after_s)
        injection = inject(
            fault,
            self.experiment.cluster,
            record=self._record,
            run=self._beside,
            heal=self._heal,
            timeout_s=self.experiment.effect_timeout_s,
        )
        with healed_on_failure(injection, self._heal):
            probe = injection.after
            self._say(f"{'took effect' if probe.took_effect else 'NO EFFECT'}: {probe.detail}")
            self.enter("holding the fault")
            self._pump(injection.window.injected_s + self.experiment.hold_s - monotonic())
            self.enter("healing")
        self._beside(lambda: self._heal(injection))
        self.enter("recovery")
        if self._await_steady("after"):
            self.watched_until_s = self.running.watermark_s

    def history(self) -> History:
        """Everything that was recorded."""
        history = self.running.history().with_faults(self.faults).with_events(self.gather())
        return replace(history, terms=self._terms(self.watched_until_s))

    def _terms(self, watched_until_s: float) -> Terms:
        return Terms(watched_until_s, asdict(self.experiment.steady), self.looks)

    def _record(self, window: FaultWindow) -> None:
        """Write down what became of the fault; `_step` shows it."""
        if not self.faults:  # the injection begins now
            self._say(f"injecting: {window.label}")
            self.watchdog.holding(window.label, for_s=self._overdue_s)
        self.faults = (window,)
        save_faults(self.faults, self.folder)

    @property
    def _overdue_s(self) -> float:
        """Tell how long the fault may hold from the beginning of its injection on."""
        it = self.experiment
        injection_s = it.fault.injection_s if it.fault else 0.0
        return injection_s + it.hold_s + it.effect_timeout_s + OVERDUE_S

    def _heal(self, injection: Injection) -> None:
        """Heal the fault, except in a lab that is taken down: what is stopped would be started."""
        if self.claim.ended_by:
            return
        self.watchdog.healing()
        injection.heal()
        self.watchdog.healed()

    def enter(self, name: str) -> None:
        """Begin a phase, and say so."""
        self.phase = name
        self.watch.phase(name)
        self._say(name)

    def _say(self, line: str) -> None:
        self.experiment.say(f"{monotonic() - self.begun_s:5.1f} s  {line}")

    def _await_steady(self, when: str) -> bool:
        """Watch until the steady state has held for `steady_s`, or patience ends."""
        begun_s = monotonic()
        patient_until_s = begun_s + self.experiment.steady_s + self.experiment.patience_s
        while True:
            self._rest()
            self._step()
            since_s, until_s = self.looks[when] = self._last_seconds
            self.found[when] = finding = self.experiment.steady.check(
                self.recent.ops,
                regions=self.running.regions,
                since_s=since_s,
                until_s=until_s,
                when=when,
            )
            held = since_s >= begun_s and finding.verdict is Verdict.PASS and self._back(until_s)
            if held or monotonic() >= patient_until_s:
                return held

    def _back(self, until_s: float) -> bool:
        """Say whether every region is back from the fault, as RTO has it, by the orders due so far.

        An outage may have served the last seconds' orders and not be over for RTO. In a closed loop
        there is no RTO, and the steady state alone decides.
        """
        if not self.open_loop:
            return True
        self.polled = [pd.concat(self.polled)]  # what was polled, not read from the disk again
        history = History.from_frame(self.polled[0], self.faults, regions=self.running.regions)
        watched = replace(history, terms=self._terms(until_s))
        return all(row.rto_s is not None for row in recovery(watched))

    @property
    def _last_seconds(self) -> tuple[float, float]:
        """From when until when service is judged: all orders of that time have ended."""
        until_s = self.running.watermark_s
        return until_s - self.experiment.steady_s, until_s

    def _pump(self, for_s: float) -> None:
        """Pass on what finished, for a while."""
        until_s = monotonic() + for_s
        while True:
            self._step()
            if monotonic() >= until_s:
                return
            self._rest(until_s)

    def _rest(self, until_s: float = inf) -> None:
        """Sleep until the next look is due, but not past a moment."""
        now_s = monotonic()
        self.next_look_s = max(self.next_look_s + WATCH_EVERY_S, now_s)
        sleep(max(0.0, min(self.next_look_s, until_s) - now_s))

    def _step(self) -> None:
        self.claim.check()
        self.running.check()
        frame = self.running.poll()
        self.polled.append(frame)
        self.recent.feed(frame, since_s=self._last_seconds[0])
        self.tail.feed(frame)
        self.watch.update(self.tail.sample(monotonic()))
        for window in self.faults:
            if window is not self.shown:
                self.shown = window
                self.watch.fault(window)

    def _beside(self, action: Callable[[], T]) -> T:
        """Do something that blocks, and keep passing on meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            doing: Future[T] = pool.submit(action)
            while not wait([doing], WATCH_EVERY_S).done:
                self._step()
            return doing.result()
