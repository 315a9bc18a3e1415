"""A run folder is judged again from its files, and an edited one never passes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from commands import labkit
from market import Market, into_memory, without_pictures

from labkit.errors import BadInput, VerdictFailed
from labkit.faults.signals import Kill
from labkit.history import SAMPLES_FILE, History, Terms, write_columns
from labkit.run.experiment import Experiment
from labkit.run.trials import Trials
from labkit.testing import FakeCluster
from labkit.verdict.again import JUDGED_AGAIN, judged_again
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result, look_at
from labkit.verdict.seal import RESULT_FILE, broken_seals, seal, write_result
from labkit.verdict.steady import SteadyState

pytestmark = pytest.mark.spoils_results


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run folder of one experiment and one of two trials; both passed."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        into_memory(patch)
        for name in ("one", "trials"):
            cluster = FakeCluster(election_s=0.1)
            cluster.start()
            experiment = Experiment(
                cluster,
                Market(),  # type: ignore[arg-type]
                steady=SteadyState(p99_ms=5000, success_ratio=0.9),
                fault=Kill(cluster.leader()),
                hold_s=0.3,
                steady_s=0.2,
                patience_s=60,
                folder=tmp_path_factory.mktemp(name) / "20260101T000000Z-node-loss-fake",
                say=lambda _line: None,
            )
            run = experiment if name == "one" else Trials(2, experiment, jitter_s=0)
            result = run.run()
            assert result.verdict is Verdict.PASS, str(result)
            folders[name] = result.folder
    return folders


@pytest.fixture(params=["one", "trials"])
def run(request: pytest.FixtureRequest, kept: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept[request.param], tmp_path / kept[request.param].name))


def part_of(run: Path) -> Path:
    """The folder that has a ledger: that of the run, or of its last trial."""
    return run / "trials" / "2" if (run / "trials").exists() else run


def test_a_run_judged_again_comes_to_the_same(run: Path):
    stored, again = Result.load(run).summary, judged_again(run).summary
    (said,) = [found for found in again.findings if found.checker == JUDGED_AGAIN]
    assert (said.verdict, said.offenders) == (Verdict.PASS, ())
    assert [found for found in again.findings if found is not said] == list(stored.findings)
    assert again.recovery == stored.recovery
    done = labkit("judge", str(run))
    assert done.exit_code == 0, done.stdout
    assert json.loads(labkit("judge", str(run), "--json").stdout)["verdict"] == "pass"


def test_limits_that_were_required_are_held_to_again(run: Path):
    with pytest.raises(VerdictFailed):
        Result.load(run).require(write_gap_s=0.0001)
    assert judged_again(run).summary.finding("require_write_gap_s").verdict is Verdict.FAIL
    assert judged_again(run).summary.finding(JUDGED_AGAIN).verdict is Verdict.PASS
    text = (run / RESULT_FILE).read_text()
    data = json.loads(text)
    for found in data["findings"]:
        if found["checker"] == "require_write_gap_s":
            found.update(verdict="pass", offenders=[], count=0)
    data["verdict"] = "pass"
    (run / RESULT_FILE).write_text(json.dumps(data))
    assert judged_again(run).verdict is Verdict.FAIL


def test_what_was_required_elsewhere_only_is_held_to_again_elsewhere_only(
    kept: dict[str, Path], tmp_path: Path
):
    """Also where both give the same words: the finding says which of them was required."""
    run = Path(shutil.copytree(kept["one"], tmp_path / "run"))
    Result.load(run).require(elsewhere=True, write_gap_s=1000)
    again = judged_again(run).summary
    assert again.finding("require_write_gap_s").elsewhere
    assert again.finding(JUDGED_AGAIN).verdict is Verdict.PASS


def test_trials_that_were_taken_away_are_told_by_how_many_were_planned(
    kept: dict[str, Path], tmp_path: Path
):
    run = Path(shutil.copytree(kept["trials"], tmp_path / "run"))
    data = json.loads((run / RESULT_FILE).read_text())
    assert (data["trials_planned"], data["trials_ended"]) == (2, "")
    data["trials"] = data["trials"][:1]
    write_result(run, json.dumps(data))
    assert "1 of 2 are there" in look_at(run)[1][0]
    again = judged_again(run).summary
    assert again.finding("trials").verdict is Verdict.UNKNOWN
    assert again.finding("trials").summary == "1 of 2 trials were begun"


def test_a_second_requirement_does_not_undo_the_first(kept: dict[str, Path], tmp_path: Path):
    run = Path(shutil.copytree(kept["one"], tmp_path / "run"))
    result = Result.load(run)
    with pytest.raises(VerdictFailed):
        result.require(write_gap_s=0.0001)
    with pytest.raises(VerdictFailed, match="write_gap_s"):
        result.require(lost_acks=0)
    assert Result.load(run).verdict is Verdict.FAIL
    assert result.require(write_gap_s=1000).verdict is Verdict.PASS


# a liar with a text editor: whatever is changed, PASS does not come out


def result_json(change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda run: edit(run / RESULT_FILE, change)


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text()
    new = change(text)
    assert new != text, "the attack changes nothing"
    path.write_text(new)


def first_line_gone(text: str) -> str:
    return text.partition("\n")[2]


def frames(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    write_columns(change(pd.read_parquet(path)), path)


def ledger_of(run: Path) -> Path:
    return min((part_of(run) / "ledger").glob("*.log"))


LIES: dict[str, Callable[[Path], object]] = {
    "RTO": result_json(lambda text: text.replace('"rto_s": ', '"rto_s": 9')),
    "a count of latencies": result_json(lambda text: text.replace('"ok": ', '"ok": 1', 1)),
    "an ack less in the ledger": lambda run: edit(ledger_of(run), first_line_gone),
    "an ack more in the ledger": lambda run: edit(ledger_of(run), lambda text: text + "x\n"),
    "no ledger": lambda run: shutil.rmtree(part_of(run) / "ledger"),
    "no fault": lambda run: edit(part_of(run) / "faults.jsonl", first_line_gone),
    "a fault that was healed sooner": lambda run: edit(
        part_of(run) / "faults.jsonl", lambda text: text.replace('"healed_s": ', '"healed_s": 1')
    ),
    "no event": lambda run: edit(part_of(run) / "events.jsonl", lambda _: ""),
    "no final read": lambda run: [path.unlink() for path in run.glob("**/final_*")],
    "no opening read": lambda run: [path.unlink() for path in run.glob("**/opening_*")],
    "no digests": lambda run: (part_of(run) / "SHA256SUMS").unlink(),
    "a final read with an order less": lambda run: frames(
        part_of(run) / "final_orders.parquet", lambda orders: orders[1:]
    ),
    "a final read with a cent more": lambda run: frames(
        part_of(run) / "final_accounts.parquet",
        lambda accounts: accounts.assign(balance_cents=accounts["balance_cents"] + 1),
    ),
    "another final read than was made": lambda run: frames(
        part_of(run) / "final_orders.parquet",
        lambda orders: orders.assign(received=2),
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_folder_that_was_edited_does_not_pass(run: Path, lie: Callable[[Path], object]):
    lie(run)
    result = judged_again(run)
    assert result.verdict is not Verdict.PASS
    found = result.summary.finding(JUDGED_AGAIN)
    assert found.verdict is Verdict.UNKNOWN
    assert found.offenders


@pytest.mark.parametrize("sealed_again", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "verdict"),
    [
        ("outcome", "maybe", Verdict.UNKNOWN),
        ("region", "atlantis", Verdict.UNKNOWN),
        ("kind", "rumour", Verdict.UNKNOWN),
        ("finished_s", float("nan"), Verdict.UNKNOWN),
        ("scheduled_s", float("inf"), Verdict.UNKNOWN),
        ("attempts", 0, Verdict.UNKNOWN),
        ("order_id", "", Verdict.UNKNOWN),
        ("symbol", "XYZ", Verdict.FAIL),
        ("side", "sell", Verdict.FAIL),
    ],
)
def test_samples_that_were_edited_do_not_pass(
    kept: dict[str, Path],
    tmp_path: Path,
    column: str,
    value: object,
    verdict: Verdict,
    sealed_again,
):
    """Also when the digests were made anew."""
    run = Path(shutil.copytree(kept["one"], tmp_path / "run"))
    history = History.load(run)
    ops = history.ops.astype({column: object})
    ops.loc[3, column] = value
    History.from_frame(
        ops, history.faults, anchor_s=history.anchor_s, regions=history.regions
    ).save(run)
    if sealed_again:
        seal(run)
    assert judged_again(run).verdict is verdict


def test_a_folder_that_cannot_be_judged_ends_with_3(kept: dict[str, Path], tmp_path: Path):
    run = Path(shutil.copytree(kept["one"], tmp_path / "20260102T000000Z-x"))
    (run / SAMPLES_FILE).unlink()
    done = labkit("judge", str(run))
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1)
    assert "samples.parquet" in done.stderr


@pytest.mark.parametrize("steady", [{"p99_ms": float("nan")}, {"p99_ms": 500.0, "mood": 1.0}, {}])
def test_a_steady_state_that_nobody_could_ask_for_is_damage(
    kept: dict[str, Path], tmp_path: Path, steady: dict[str, float]
):
    run = Path(shutil.copytree(kept["one"], tmp_path / "20260102T000000Z-x"))
    history = History.load(run)
    replace(history, terms=Terms(float("inf"), steady, {})).save(run)
    done = labkit("judge", str(run))
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1)


def test_no_bit_of_the_samples_flips_unseen(kept: dict[str, Path], tmp_path: Path):
    """The digest tells of 200 flips of one bit each, wherever they are.

    What pages hold has a checksum of its own; their headers and the footer have none, so some
    flips change what is read. One in four is read, which takes longer than its digest.
    """
    run = Path(shutil.copytree(kept["one"], tmp_path / "run"))
    path = run / SAMPLES_FILE
    whole = path.read_bytes()
    chance = random.Random(1)
    for number in range(200):
        place = chance.randrange(len(whole))
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        assert f"{SAMPLES_FILE}: is not what the run left" in broken_seals(run)
        if number % 4 == 0:
            with suppress(BadInput):  # and nothing else is raised
                History.load(run)
