"""One experiment on a cluster and a market in memory: its course, and what is left when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from market import Database, Market, RunningMarket, database  # noqa: F401 - one is a fixture

from labkit.cluster import marks
from labkit.cluster.status import ClusterStatus
from labkit.errors import BadInput, ClusterError, FaultUnavailable, LabBusy, LabTakenDown, RunError
from labkit.faults.signals import Kill
from labkit.faults.slow import Slow
from labkit.measurement.live import Silent, Watch
from labkit.run import folders
from labkit.run.experiment import Experiment
from labkit.run.finished import make_whole
from labkit.run.reads import read_back
from labkit.run.trials import Trials
from labkit.testing import FakeCluster
from labkit.topology import Node, Region
from labkit.trading.ids import RunId
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result
from labkit.verdict.steady import SteadyState

WHOLE = {
    "report.html",
    "result.json",
    "samples.parquet",
    "faults.jsonl",
    "events.jsonl",
    "ledger",
    "opening_orders.parquet",
    "opening_instruments.parquet",
    "opening_accounts.parquet",
    "SHA256SUMS",
}
FINAL = {"final_orders.parquet", "final_instruments.parquet", "final_accounts.parquet"}


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster(election_s=0.1)
    fake.start()
    return fake


@pytest.fixture
def experiment(cluster, tmp_path, database) -> Experiment:  # noqa: F811
    return Experiment(
        cluster,
        Market(),  # type: ignore[arg-type]
        steady=SteadyState(p99_ms=1000, success_ratio=0.9),
        fault=Kill(cluster.leader()),
        hold_s=0.3,
        steady_s=0.2,
        patience_s=30,
        scenario="node-loss",
        folder=tmp_path / "run",
        say=lambda _: None,
    )


class Breaks(Silent):
    """Raises when a run enters a phase, as a Ctrl-C there would."""

    def __init__(self, at: str, error: BaseException) -> None:
        self.at, self.error = at, error

    def phase(self, name: str) -> None:
        if name == self.at:
            raise self.error


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_that_goes_well_leaves_a_whole_folder(experiment, tmp_path):
    result = experiment.run()
    assert result.verdict is Verdict.PASS
    assert names(tmp_path / "run") == WHOLE | FINAL
    assert result.summary.finding(folders.COMPLETED) is None


def test_a_run_goes_on_until_service_is_seen_to_be_back(experiment):
    """A steady state is seen sooner here: it takes less than what ends an outage."""
    slow = FakeCluster(election_s=0.5)
    slow.start()
    result = replace(experiment, cluster=slow, fault=Kill(slow.leader()), hold_s=0.8).run()
    assert [row.rto_s for row in result.summary.recovery] != []
    for row in result.summary.recovery:
        assert row.rto_s
        assert row.observed_s >= row.rto_s - row.rto_error_s + 1.0


def test_a_steady_state_longer_than_the_patience_is_waited_for_and_the_fault_injected(experiment):
    result = replace(experiment, steady_s=2.0, patience_s=1.9).run()
    assert [row.fault for row in result.summary.recovery] != []
    assert result.summary.finding("steady_before").verdict is Verdict.PASS


def test_service_is_judged_in_the_regions_that_order(experiment):
    result = replace(experiment, workload=Market(regions=("eu-west-1",))).run()
    assert result.verdict is Verdict.PASS
    assert result.history.regions == ("eu-west-1",)


@pytest.mark.parametrize("number", [8, 12, 16])
def test_service_is_not_steady_before_the_orders_under_way_have_ended(experiment, number):
    """Or a run would be called steady that is not, once its last orders are known."""
    slow = Market(slow=number, slow_s=0.7)
    steady = SteadyState(p99_ms=500)
    result = replace(experiment, workload=slow, steady=steady, fault=None, hold_s=0.0).run()
    assert result.history.ops["finished_s"].sub(result.history.ops["scheduled_s"]).max() > 0.6
    assert result.summary.finding("steady_before").verdict is Verdict.PASS


def test_a_cluster_that_comes_to_rest_by_itself_is_waited_for(experiment, cluster, monkeypatch):
    behind, said = iter([True, True, True]), []
    at_rest = cluster.status

    def status() -> ClusterStatus:
        now = at_rest()
        if not next(behind, False):
            return now
        last = replace(now.nodes[-1], healthy=False, detail="does not stream")
        return replace(now, nodes=(*now.nodes[:-1], last))

    monkeypatch.setattr(cluster, "status", status)
    result = replace(experiment, say=said.append).run()
    assert said[0] == "waiting for the whole cluster: eu-west-1/3: does not stream"
    assert result.verdict is Verdict.PASS


def test_a_cluster_that_needs_mending_is_refused_at_once_and_nothing_is_started(
    experiment, cluster, tmp_path
):
    cluster.kill(Node(region="eu-west-1", index=2))
    with pytest.raises(ClusterError, match=r"eu-west-1/2: down.*labkit heal"):
        experiment.run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "phase", ["steady state", "holding the fault", "healing", "recovery", "final read"]
)
def test_a_run_interrupted_in_any_phase_leaves_a_whole_folder(experiment, tmp_path, phase):
    with pytest.raises(KeyboardInterrupt):
        experiment.run(watch=Breaks(phase, KeyboardInterrupt()))
    run = tmp_path / "run"
    assert names(run) == WHOLE
    result = Result.load(run)
    assert result.verdict is Verdict.UNKNOWN
    finding = result.summary.finding(folders.COMPLETED)
    assert finding.summary == f"the run was broken off: KeyboardInterrupt in its phase {phase!r}"
    assert "broken off" in (run / "report.html").read_text()
    assert len(result.history.ops) > 0 or phase == "steady state"
    injected = phase != "steady state"
    assert bool(result.history.faults) is injected
    assert all(fault.healed_s is not None for fault in result.history.faults)


def test_an_interrupted_run_leaves_no_fault(experiment, cluster):
    with pytest.raises(KeyboardInterrupt):
        experiment.run(watch=Breaks("holding the fault", KeyboardInterrupt()))
    assert cluster.status().healthy


def test_a_fault_that_holds_already_is_refused_and_left_alone(experiment, cluster, tmp_path):
    slow = Slow(Region(name="eu-west-1"))
    slow.inject(cluster)
    with pytest.raises(FaultUnavailable, match="slow eu-west-1 holds already"):
        replace(experiment, fault=slow).run()
    assert slow.probe(cluster).took_effect
    assert Result.load(tmp_path / "run").history.faults == ()


def test_a_fault_that_failed_half_way_is_healed(experiment, cluster, tmp_path, monkeypatch):
    kill = cluster.kill

    def fail_half_way(target: Node) -> None:
        kill(target)
        raise ClusterError(f"{target}: one process did not die")

    monkeypatch.setattr(cluster, "kill", fail_half_way)
    with pytest.raises(ClusterError, match="did not die"):
        experiment.run()
    assert cluster.status().healthy
    (window,) = Result.load(tmp_path / "run").history.faults
    assert window.healed_s is not None
    assert window.took_effect_s is None


# the lab under it is taken down, or another run has it


class Homed(FakeCluster):
    """Has a state folder, by which other processes find it."""

    home: Path


class TakesDown(Silent):
    """Takes the lab down, as `labkit down` of another process, when a run enters a phase."""

    def __init__(self, home: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.at, self.monkeypatch = home, at, monkeypatch

    def phase(self, name: str) -> None:
        if name == self.at:
            with self.monkeypatch.context() as other:
                other.setattr("os.getpid", lambda: 1)
                assert marks.ask_to_end(self.home, "`labkit down`")


@pytest.fixture
def homed(experiment, tmp_path) -> Experiment:
    cluster = Homed(election_s=0.1)
    cluster.home = tmp_path / "home"
    cluster.home.mkdir()
    cluster.start()
    return replace(experiment, cluster=cluster, fault=Kill(cluster.leader()))


@pytest.mark.parametrize("phase", ["holding the fault", "final read"])
def test_a_run_whose_lab_is_taken_down_says_so_and_does_not_heal(
    homed, tmp_path, monkeypatch, phase
):
    healed = []
    monkeypatch.setattr(Kill, "heal", lambda *_: healed.append(phase))
    with pytest.raises(LabTakenDown, match="by `labkit down`"):
        homed.run(watch=TakesDown(homed.cluster.home, phase, monkeypatch))
    result = Result.load(tmp_path / "run")
    assert result.verdict is Verdict.UNKNOWN
    assert result.summary.finding(folders.COMPLETED).summary == (
        f"the run was broken off: the lab was taken down by `labkit down` in its phase {phase!r}"
    )
    assert healed == ([phase] if phase == "final read" else [])  # in its time, before that
    assert marks.run_of(homed.cluster.home) is None
    assert names(tmp_path / "run") - {"watchdog.log"} == WHOLE


def test_trials_whose_lab_is_taken_down_keep_those_that_were_done(homed, tmp_path, monkeypatch):
    phase = "trial 2 of 3: recovery"
    with pytest.raises(LabTakenDown):
        Trials(3, homed, jitter_s=0).run(TakesDown(homed.cluster.home, phase, monkeypatch))
    result = Result.load(tmp_path / "run")
    assert result.verdict is Verdict.UNKNOWN
    assert len(result.trials) == 1
    assert "taken down" in str(result.summary.findings)
    assert marks.run_of(homed.cluster.home) is None


def test_a_run_goes_on_when_a_second_one_is_refused(homed, tmp_path):
    refused = []

    class Begins(Silent):
        def phase(self, name: str) -> None:
            if name == "holding the fault":
                with pytest.raises(LabBusy, match="a run is going on") as error:
                    replace(homed, folder=tmp_path / "second").run()
                refused.append(str(error.value))

    assert homed.run(watch=Begins()).verdict is Verdict.PASS
    assert str(tmp_path / "run") in refused[0]
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("name", ["samples.parquet", "ops", "ledger", "trials", "report.html"])
def test_somebodys_files_are_refused_where_a_run_would_write_and_not_touched(
    experiment, tmp_path, name
):
    run = tmp_path / "run"
    (run / "ops").mkdir(parents=True)
    (run / "ops").rename(run / name)
    (run / name / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match=f"has {name} already"):
        experiment.run()
    assert names(run) == {name}
    assert (run / name / "mine.txt").read_text() == "mine"


def test_a_run_leaves_the_files_alone_that_it_does_not_write(experiment, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    experiment.run()
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_run_whose_clients_break_down_leaves_what_was_recorded(experiment, tmp_path, monkeypatch):
    def check(running: RunningMarket) -> None:
        if len(running.ops) > 30:
            raise RunError("a worker died")

    monkeypatch.setattr(RunningMarket, "check", check)
    with pytest.raises(RunError):
        experiment.run()
    assert names(tmp_path / "run") == WHOLE
    assert len(Result.load(tmp_path / "run").history.ops) > 30


def test_a_run_whose_clients_do_not_start_says_so(experiment, tmp_path, monkeypatch):
    def start(self: Market, cluster: FakeCluster, folder: Path) -> RunningMarket:
        raise RunError("no worker began to send")

    monkeypatch.setattr(Market, "start", start)
    with pytest.raises(RunError):
        experiment.run()
    result = Result.load(tmp_path / "run")
    assert "RunError in its phase 'starting the clients'" in (
        result.summary.finding(folders.COMPLETED).summary
    )


def test_a_folder_that_has_another_run_is_refused_and_not_touched(experiment, tmp_path):
    experiment.run()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for again in (experiment, Trials(2, experiment)):
        with pytest.raises(BadInput, match="has another run"):
            again.run()
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before


# what a process that was killed leaves: no exception was ever handled


def kill_in(run: Callable[[Watch], Result], phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """End a run as `kill -9` would: drafts and the clients' files are left, nothing else."""
    with monkeypatch.context() as patch:
        patch.setattr(folders, "complete", lambda *_: None)
        patch.setattr("labkit.run.trials._Course.give_up", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            run(Breaks(phase, KeyboardInterrupt()))


def test_what_a_killed_run_recorded_becomes_a_whole_folder(experiment, tmp_path, monkeypatch):
    run = tmp_path / "run"
    kill_in(experiment.run, "holding the fault", monkeypatch)
    assert folders.is_open(run)
    make_whole(run, "its kernel died")
    assert names(run) == WHOLE
    result = Result.load(run)
    assert result.verdict is Verdict.UNKNOWN
    assert "its kernel died" in result.summary.finding(folders.COMPLETED).summary
    assert [fault.label for fault in result.history.faults] == ["kill us-west-2/1"]
    assert result.summary.scenario == "node-loss"
    assert len(result.history.ops) > 10


def test_the_trials_before_the_one_in_which_a_run_was_killed_are_in_its_result(
    experiment, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    trials = Trials(3, experiment, jitter_s=0)
    kill_in(trials.run, "trial 2 of 3: holding the fault", monkeypatch)
    make_whole(run, "its kernel died")
    result = Result.load(run)
    assert len(result.trials) == 1
    assert result.summary.finding("trials").summary == "1 of 3 trials were begun"
    assert (run / "report.html").exists()
    assert names(run / "trials" / "2") == WHOLE


def test_the_final_read_does_not_need_a_leader_when_it_begins(cluster, monkeypatch):
    read = []
    monkeypatch.setattr("labkit.run.reads.final_read", lambda dsn, run: read.append(dsn))
    for region in cluster.topology.regions:
        cluster.kill(region)
    read_back(cluster, RunId.new())
    assert read == [cluster.dsn("us-west-2")]
