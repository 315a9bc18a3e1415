"""An experiment again and again, on a cluster and a market in memory."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from market import Market, database, into_memory, without_pictures  # noqa: F401 - a fixture

from labkit.errors import BadInput, VerdictFailed, VerdictUnknown
from labkit.faults.signals import Kill, Pause
from labkit.measurement.live import Silent
from labkit.record import FaultWindow
from labkit.report import words
from labkit.report.page import report_html
from labkit.run import folders
from labkit.run.experiment import Experiment
from labkit.run.trials import Trials
from labkit.testing import FakeCluster
from labkit.trading.audit import FinalRead
from labkit.trading.ids import RunId
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result
from labkit.verdict.steady import SteadyState


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster(election_s=0.1)
    fake.start()
    return fake


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """The one test that looks at the report draws it."""
    without_pictures(monkeypatch)


def experiment_on(cluster: FakeCluster, folder: Path) -> Experiment:
    return Experiment(
        cluster,
        Market(),  # type: ignore[arg-type]
        steady=SteadyState(p99_ms=1000, success_ratio=0.9),
        fault=Kill(cluster.leader()),
        hold_s=0.3,
        steady_s=0.2,
        patience_s=30,
        scenario="node-loss",
        folder=folder,
        say=lambda _line: None,
    )


@pytest.fixture
def experiment(cluster, tmp_path, database) -> Experiment:  # noqa: F811
    return experiment_on(cluster, tmp_path / "run")


class Seen(Silent):
    """What somebody who looks on saw."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.phases: list[str] = []
        self.faults: dict[float, FaultWindow] = {}
        self.ended = 0

    def begin(self, regions: Any, title: str) -> None:
        self.begun.append(title)

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def fault(self, window: FaultWindow) -> None:
        self.faults[window.injected_s] = window

    def end(self) -> None:
        self.ended += 1


@dataclass(frozen=True)
class Done:
    """Three trials, what somebody saw of them, and what they said."""

    result: Result
    seen: Seen
    said: list[str]
    numbers: list[tuple[int, int]]
    """The trial that whoever executes the notebook was told of at each line."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Trials that all went well; a test that writes into their folder takes `a_copy`."""
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        into_memory(patch)
        fake = FakeCluster(election_s=0.1)
        fake.start()
        seen, said, numbers = Seen(), list[str](), list[tuple[int, int]]()
        folder = tmp_path_factory.mktemp("three") / "run"
        patch.setenv(folders.RUN_FOLDER, str(folder))

        def say(line: str) -> None:
            said.append(line)
            numbers.append(folders.trial_going_on(folder))

        experiment = replace(experiment_on(fake, folder), say=say)
        result = Trials(3, experiment, jitter_s=0.1).run(watch=seen)
        return Done(result, seen, said, numbers)


def a_copy(done: Done, folder: Path) -> Result:
    return Result.load(shutil.copytree(done.result.folder, folder))


def test_every_trial_kills_the_primary_of_its_moment(three):
    result = three.result
    victims = [trial.fault for trial in result.summary.trials]
    assert len(victims) == 3
    assert victims[0] == "kill us-west-2/1"
    assert all(a != b for a, b in pairwise(victims))


def test_the_moment_of_the_fault_is_jittered_by_the_seed(experiment, tmp_path):
    def moments(seed: int) -> list[float]:
        folder = tmp_path / f"run-{seed}-{len(list(tmp_path.iterdir()))}"
        # nothing is injected here: the moment is drawn all the same, and costs no outage
        mine = replace(experiment, folder=folder, fault=None, hold_s=0)
        result = Trials(2, mine, jitter_s=0.2, seed=seed).run()
        return [trial.inject_after_s for trial in result.summary.trials]

    first = moments(1)
    assert first == moments(1)
    assert first != moments(2)
    assert all(0 <= moment <= 0.2 for moment in first)
    assert len(set(first)) == 2


def test_victims_can_be_named_and_are_hit_in_turn(experiment):
    result = Trials(3, experiment, jitter_s=0, victims=["us-east-1/2", "primary"]).run()
    assert [trial.fault for trial in result.summary.trials] == [
        "kill us-east-1/2",
        "kill us-west-2/1",
        "kill us-east-1/2",
    ]


def test_each_trial_has_its_own_schedule_of_orders(three):
    assert [trial.summary.workload["seed"] for trial in three.result.trials] == [1, 2, 3]


def test_the_folder_is_that_of_any_run_with_a_folder_a_trial_in_it(three):
    result = three.result
    run = result.folder
    names = {path.name for path in run.iterdir()}
    saved = {"report.html", "result.json", "samples.parquet", "faults.jsonl", "events.jsonl"}
    saved.add("SHA256SUMS")
    parts = ("orders", "instruments", "accounts")
    final = {f"final_{part}.parquet" for part in parts}
    opening = {f"opening_{part}.parquet" for part in parts}
    assert names == {*saved, *final, "trials"}
    for number in ("1", "2", "3"):
        inside = {path.name for path in (run / "trials" / number).iterdir()}
        assert inside == {*saved, *final, *opening, "ledger"} - {"report.html"}
    loaded = Result.load(run)
    assert loaded.summary == result.summary
    assert [trial.summary for trial in loaded.trials] == [t.summary for t in result.trials]
    assert len(loaded.history.ops) == sum(len(trial.history.ops) for trial in loaded.trials)


def test_median_and_worst_are_in_the_result_and_the_report(three):
    result = three.result
    spread = {row.measure: row for row in result.summary.spread}
    assert {"rto_s", "write_gap_s", "lost_acks", "p99_ms"} <= set(spread)
    assert spread["write_gap_s"].trials == 3
    assert 0 < spread["write_gap_s"].median <= spread["write_gap_s"].worst
    words = str(result)
    assert re.search(r"median of 3 trials \([\d.]+ to [\d.]+ s with 75 %\)", words)
    table = words[words.index("Trials, each") : words.index("Latency")]
    rows = [line.split()[0] for line in table.splitlines() if line.strip()]
    assert rows[-5:] == ["1", "2", "3", "median", "worst"]


def test_a_limit_holds_for_the_worst_trial(three, tmp_path):
    result = a_copy(three, tmp_path / "copy")
    worst_s = next(row.worst for row in result.summary.spread if row.measure == "write_gap_s")
    assert result.require(write_gap_s=worst_s, lost_acks=0, duplicates=0)
    with pytest.raises(VerdictFailed, match=r"write_gap_s is .* \(trial \d: "):
        result.require(write_gap_s=worst_s / 2)


def test_an_order_that_a_later_trial_loses_is_lost(experiment, monkeypatch):
    """In trial 1 it was there; after trial 2 it is not."""
    market = Market.database

    def forget() -> None:
        if len(market.orders) == 2:
            next(iter(market.orders.values()))[:1] = []

    monkeypatch.setattr(Market, "on_poll", staticmethod(forget))
    result = Trials(2, experiment, jitter_s=0).run()
    assert result.trials[0].summary.finding("lost_acks").verdict is Verdict.PASS
    lost = result.summary.finding("lost_acks")
    assert lost.verdict is Verdict.FAIL
    with pytest.raises(VerdictFailed, match="lost_acks"):
        result.require(lost_acks=0)


def lack_the_first_order(read: FinalRead) -> FinalRead:
    return replace(read, orders=read.orders[1:])


def a_cent_too_many(read: FinalRead) -> FinalRead:
    accounts = read.accounts.copy()
    accounts.loc[0, "balance_cents"] += 1
    return replace(read, accounts=accounts)


@pytest.mark.parametrize(
    ("spoil", "checker", "verdict", "number"),
    [
        (lack_the_first_order, "lost_acks", Verdict.FAIL, 1),
        (a_cent_too_many, "money", Verdict.FAIL, 2),
        (lambda _read: None, "lost_acks", Verdict.UNKNOWN, 1),
    ],
)
def test_what_is_found_in_a_trial_is_in_the_whole(
    experiment,
    database,  # noqa: F811
    monkeypatch,
    spoil,
    checker,
    verdict,
    number,
):
    """Its own final read shows it; the one after the last trial does not any more."""

    def final_read(dsn: str, run: RunId) -> FinalRead | None:
        read = database.final_read(dsn, run)
        return spoil(read) if database.reads == number else read

    monkeypatch.setattr("labkit.run.reads.final_read", final_read)
    result = Trials(2, experiment, jitter_s=0).run()
    assert [trial.verdict for trial in result.trials].count(verdict) == 1
    found = result.summary.finding(checker)
    assert (result.verdict, found.verdict) == (verdict, verdict)
    assert found.summary.startswith(f"trial {number}: ")
    assert all(offender.startswith(f"trial {number}: ") for offender in found.offenders)
    assert Result.load(result.folder).summary == result.summary
    wanted = VerdictFailed if verdict is Verdict.FAIL else VerdictUnknown
    with pytest.raises(wanted, match=f"{checker}: trial {number}: "):
        result.require(rto_s=15)
    if checker == "lost_acks":
        with pytest.raises(wanted, match="lost_acks"):
            result.require(lost_acks=0)


def test_headline_and_table_of_trials_agree_on_what_was_lost(
    experiment,
    database,  # noqa: F811
    monkeypatch,
):
    """Whether a trial's own read lacks it, or the one after the last trial."""
    for read_that_lacks_it in (1, 3):
        database.reads = 0
        monkeypatch.setattr(
            "labkit.run.reads.final_read",
            lambda dsn, run, n=read_that_lacks_it: (
                lack_the_first_order(read)
                if (read := database.final_read(dsn, run)) is not None and database.reads == n
                else read
            ),
        )
        folder = experiment.folder.with_name(f"lacks-{read_that_lacks_it}")
        summary = Trials(2, replace(experiment, folder=folder), jitter_s=0).run().summary
        assert dict(words.headlines(summary))["Lost acks"].startswith("1 (")
        lost = words.TRIAL_HEADINGS.index("lost acks")
        assert words.trial_cells(summary)[-1][lost] == "1"
        assert words.trial_cells(summary)[-1][-1] == "failed"
        assert summary.rpo_s is not None


def test_one_trial_is_the_experiment_itself(experiment):
    result = Trials(1, experiment).run()
    assert result.trials == result.summary.trials == ()
    assert result.worst_trial is result


def test_without_a_steady_state_no_further_trial_is_begun(experiment, cluster, monkeypatch):
    """The second trial never becomes steady."""

    def collapse() -> None:
        if len(Market.database.orders) == 2:
            cluster.pause(cluster.topology.regions[0])
            cluster.pause(cluster.topology.regions[1])

    monkeypatch.setattr(Market, "on_poll", staticmethod(collapse))
    result = Trials(4, replace(experiment, patience_s=4), jitter_s=0).run()
    assert len(result.trials) == 2
    # unsteady, or on a slow machine not seen for long enough to tell: neither is a pass
    assert result.verdict is not Verdict.PASS
    assert "2 of 4 trials were begun: trial 2 was" in result.summary.finding("trials").summary


def test_a_last_trial_without_a_steady_state_is_told_too(experiment, cluster, monkeypatch):
    def collapse() -> None:
        if len(Market.database.orders) == 2:
            cluster.pause(cluster.topology.regions[0])
            cluster.pause(cluster.topology.regions[1])

    monkeypatch.setattr(Market, "on_poll", staticmethod(collapse))
    result = Trials(2, replace(experiment, patience_s=4), jitter_s=0).run()
    assert result.summary.finding("trials").verdict is Verdict.UNKNOWN


def test_what_a_trial_leaves_broken_is_healed_before_the_next(experiment, cluster, monkeypatch):
    bystander = cluster.topology.node("eu-west-1/3")
    done = []

    def break_another() -> None:
        if not done and cluster.calls[-1].action == "restart":
            done.append(cluster.kill(bystander))

    monkeypatch.setattr(Market, "on_poll", staticmethod(break_another))
    result = Trials(2, experiment, jitter_s=0).run()
    assert len(result.trials) == 2
    assert "heal" in [call.action for call in cluster.calls]


def test_trials_before_one_that_breaks_down_are_kept(experiment, tmp_path, monkeypatch):
    def interrupt() -> None:
        if len(Market.database.orders) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Market, "on_poll", staticmethod(interrupt))
    with pytest.raises(KeyboardInterrupt):
        Trials(5, experiment, jitter_s=0).run()
    result = Result.load(tmp_path / "run")
    assert len(result.trials) == 2
    assert result.verdict is Verdict.UNKNOWN
    with pytest.raises(VerdictUnknown, match="2 of 5 trials were begun"):
        result.require(rto_s=10)


def test_who_looks_on_sees_one_run_with_a_fault_a_trial(three):
    seen = three.seen
    assert seen.begun == ["3 trials: kill us-west-2/1"]
    assert seen.ended == 1
    assert len(seen.faults) == 3
    assert "trial 2 of 3: holding the fault" in seen.phases


def test_who_executes_the_notebook_is_told_the_trial_and_its_end(three):
    assert set(three.numbers) == {(1, 3), (2, 3), (3, 3)}
    assert three.numbers == sorted(three.numbers)
    assert any("trial 2 of 3: " in line for line in three.said)
    assert folders.trial_going_on(three.result.folder) == (0, 0)


def test_the_report_shows_each_trial_and_opens_offline(three):
    page = report_html(three.result)
    assert "Trials, each with its worst region" in page
    assert "The trials side by side" in page
    assert page.count("plotly.js v") == 1
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("arguments", "names"),
    [({"n": 0}, "n is 0"), ({"jitter_s": -1}, "jitter_s")],
)
def test_trials_that_cannot_be_are_refused(experiment, arguments, names):
    with pytest.raises(BadInput, match=names):
        Trials(**{"n": 2, "experiment": experiment, **arguments})


def test_victims_without_a_fault_are_refused(experiment):
    with pytest.raises(BadInput, match="no fault"):
        Trials(2, replace(experiment, fault=None), victims=["primary"])


def test_a_healthy_system_can_be_measured_several_times(experiment):
    result = Trials(2, replace(experiment, fault=None), jitter_s=0).run()
    assert [trial.fault for trial in result.summary.trials] == [None, None]
    assert "no fault was injected" in str(result)


def test_a_second_experiment_of_a_notebook_gets_a_folder_in_the_first(
    experiment, tmp_path, monkeypatch
):
    monkeypatch.setenv("LABKIT_RUN_FOLDER", str(tmp_path / "whole"))
    for fault in (Kill, Pause):
        again = replace(
            experiment, folder=None, fault=fault(experiment.cluster.leader()), scenario=fault.name
        )
        again.run()
    assert Result.load(tmp_path / "whole").summary.scenario == "kill"
    assert Result.load(tmp_path / "whole" / "more" / "2-pause").summary.scenario == "pause"
