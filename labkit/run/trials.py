"""An experiment again and again: RTO is a distribution, not one lucky number.

result = lab.Trials(5, experiment).run(watch=lab.LiveBoard())
result = result.require(rto_s=15, lost_acks=0)  # in every trial
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from uuid import UUID

from labkit.cluster.base import resolve
from labkit.errors import BadInput, LabTakenDown
from labkit.faults.base import Fault
from labkit.faults.victims import Victims
from labkit.history import History
from labkit.measurement.live import LiveSample, Silent, Watch
from labkit.record import FaultWindow
from labkit.report.page import write_report
from labkit.report.result import Result
from labkit.run import folders
from labkit.run.experiment import Experiment
from labkit.run.reads import read_back
from labkit.topology import Target
from labkit.trading.audit import OPENING, FinalRead, kept, read_in
from labkit.trading.ids import RunId, parts
from labkit.verdict.finding import Verdict
from labkit.verdict.summary import Trial
from labkit.verdict.trials import TrialRun, read_of_all, together, trial_of
from labkit.workload.ledger import read_ledger


@dataclass(frozen=True)
class Trials:
    """The same experiment `n` times, each time at another moment and on another victim.

    Every trial is a whole experiment: steady state, fault, healing, steady state, final read.
    After the last one the orders of all trials are read back once more. When a trial does not end
    in a steady state, no further one is begun, and the verdict is not PASS.

    Attributes:
        n: how many trials; 1 is the experiment as it stands.
        experiment: its own fault is that of the first trial.
        jitter_s: each trial waits for up to this much longer in the steady state before it injects
            the fault, so that the moment does not always fall on the same place of a timer.
        seed: of the moments and the victims. The orders' schedule is seeded by the workload, with
            another seed in each trial.
        victims: whom the trials hit, in turn, as `resolve` takes them; looked up when the trial
            begins, so "primary" is the primary of that moment. By default what stands where the
            experiment's victim stood (`labkit.faults.victims`).

    Raises:
        BadInput: `n` is not positive, `jitter_s` is negative, or there are victims and no fault.
    """

    n: int
    experiment: Experiment
    jitter_s: float = 5.0
    seed: int = 1
    victims: Sequence[str | Target] = ()

    def __post_init__(self) -> None:
        if self.n < 1:
            raise BadInput(f"Trials: n is {self.n}, it must be 1 or more")
        if not self.jitter_s >= 0:
            raise BadInput(f"Trials: jitter_s is {self.jitter_s}, it must be 0 or more")
        if self.victims and self.experiment.fault is None:
            raise BadInput("Trials: victims are given, but the experiment has no fault")

    def run(self, watch: Watch | None = None) -> Result:
        """Do them all.

        Saves one run folder, with a folder in it for each trial, and returns one result: its
        numbers are those of the worst trial, and `result.trials` has each. When a trial breaks
        down, those before it are saved all the same.

        Args:
            watch: looks on, such as a LiveBoard; sees all trials as one run.

        It raises what `Experiment.run` raises.
        """
        if self.n == 1:
            return self.experiment.run(watch)
        cluster = self.experiment.cluster
        folder = self.experiment.folder or folders.run_folder(
            self.experiment.scenario, cluster.backend
        )
        with folders.going_on(cluster, folder):
            folders.begin(folder, self.experiment.about())
            course = _Course(self, folder, watch or Silent())
            try:
                course.go()
            except BaseException as error:
                number = len(course.done) + 1
                down = str(error) if isinstance(error, LabTakenDown) else ""
                course.ended = f"trial {number} broke down ({down or type(error).__name__})"
                course.give_up()
                raise
            result = course.save()
            write_report(result, folder)
            return result


class _Course:
    """The trials as they go."""

    def __init__(self, trials: Trials, folder: Path, watch: Watch) -> None:
        self.trials, self.folder, self.watch = trials, folder, watch
        self.cluster = trials.experiment.cluster
        self.say = trials.experiment.say
        self.chance = Random(trials.seed)
        self.taken: list[Fault] = []
        self.done: list[tuple[Trial, Result]] = []
        self.finals: list[FinalRead | None] = []
        self.ended = ""

    def go(self) -> None:
        """One trial after another, until all are done or service does not come back."""
        experiment, n = self.trials.experiment, self.trials.n
        victims = Victims.like(experiment.fault, self.cluster) if experiment.fault else None
        watch = _OneRun(self.watch, n)
        self.watch.begin(self.cluster.topology.region_names, f"{n} trials: {experiment.title}")
        try:
            for number in range(1, n + 1):
                if number > 1:
                    self._heal()
                watch.number = number
                self._trial(number, self._fault(number, victims), watch)
                if self.ended:
                    self.say(self.ended)
                    break
            self.say("reading the orders of all trials back once more")
            self.watch.phase("final read of all trials")
            self.finals = [read_back(self.cluster, run_of(run.history)) for _, run in self.done]
        finally:
            folders.end_trials()
            self.watch.end()

    def give_up(self) -> None:
        """Keep what was done; the trial that broke down has its own folder."""
        if self.done:
            write_report(self.save(), self.folder)
        else:
            folders.complete(self.folder, self.ended)

    def save(self) -> Result:
        """Judge what was done together, and write it down."""
        runs = [
            TrialRun(trial, result, read_ledger(self.folder / trial.folder))
            for trial, result in self.done
        ]
        first = self.folder / self.done[0][0].folder
        whole = together(
            runs,
            planned=self.trials.n,
            ended=self.ended,
            final=kept(read_of_all(self.finals), self.folder),
            opening=read_in(first, OPENING),
        )
        return Result.of(whole.save(self.folder))

    def _heal(self) -> None:
        """Heal what failed beside the fault; an experiment heals its own."""
        if not self.cluster.status().healthy:
            self.say("healing what the trial left")
            self.cluster.heal()

    def _trial(self, number: int, fault: Fault | None, watch: Watch) -> None:
        whole = self.trials.experiment
        inject_after_s = whole.inject_after_s + self.chance.uniform(0, self.trials.jitter_s)
        folder = f"{folders.TRIALS_FOLDER}/{number}"
        experiment = replace(
            whole,
            fault=fault,
            inject_after_s=inject_after_s,
            workload=replace(whole.workload, seed=whole.workload.seed + number - 1),
        )
        folders.begin_trial(number, self.trials.n)
        self.say(
            f"trial {number} of {self.trials.n}: {experiment.title}, "
            f"{inject_after_s:.1f} s after the steady state is seen"
        )
        result = experiment.measure(self.folder / folder, watch)
        trial = trial_of(result, number=number, inject_after_s=inject_after_s, folder=folder)
        self.done.append((trial, result))
        unsteady = [
            finding.summary
            for finding in trial.findings
            if finding.checker.startswith("steady_") and finding.verdict is not Verdict.PASS
        ]
        if unsteady:
            self.ended = f"trial {number} was {unsteady[0]}"
        elif number < self.trials.n:
            self.save()  # whatever ends the run later

    def _fault(self, number: int, victims: Victims | None) -> Fault | None:
        """Choose what this trial injects: first the experiment's own fault, then others like it."""
        fault, chosen = self.trials.experiment.fault, self.trials.victims
        if fault is None or victims is None:
            return None
        if chosen:
            victim = chosen[(number - 1) % len(chosen)]
            target = resolve(self.cluster, victim) if isinstance(victim, str) else victim
            fault = replace(fault, target=target)
        elif number > 1:
            fault = victims.another(self.cluster, self.taken, self.chance)
        self.taken.append(fault)
        return fault


class _OneRun:
    """Shows several trials to a `Watch` as one run."""

    def __init__(self, watch: Watch, of: int) -> None:
        self.watch, self.of = watch, of
        self.number = 1

    def begin(self, regions: Sequence[str], title: str) -> None:
        """Ignore the beginning of a trial: the run has begun already."""

    def phase(self, name: str) -> None:
        """With the trial it belongs to."""
        self.watch.phase(f"trial {self.number} of {self.of}: {name}")

    def update(self, sample: LiveSample) -> None:
        """As it is."""
        self.watch.update(sample)

    def fault(self, window: FaultWindow) -> None:
        """As it is."""
        self.watch.fault(window)

    def end(self) -> None:
        """Ignore the end of a trial: the run goes on."""


def run_of(history: History) -> RunId | None:
    """Find the run that a history's orders belong to; None when it has no orders."""
    for order_id in history.ops["order_id"]:
        made = parts(UUID(order_id)) if order_id else None
        if made is not None:
            return made.run
    return None
