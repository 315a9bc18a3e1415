from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from histories import FAULT, REGIONS, failover_run, orders
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from labkit.errors import BadInput, VerdictFailed, VerdictUnknown
from labkit.faults.base import Fault
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill
from labkit.history import History
from labkit.measurement.rounding import rounded
from labkit.measurement.staleness import Staleness
from labkit.operations.rolling import RollingRestart
from labkit.record import FaultWindow, Outcome
from labkit.report.page import report_html
from labkit.topology import DEFAULT, Balancer
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.limits import requirements
from labkit.verdict.result import Result, read_summary


class Text(HTMLParser):
    """The words of a page, without its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1] not in {"style", "script"}:
            self.words.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.words).split())


def requirement(result: Result, name: str) -> Finding:
    finding = result.summary.finding(f"require_{name}")
    assert finding is not None
    return finding


def never_back() -> Result:
    """One region, never healthy again in the 29 s it was watched."""
    ops = [
        *orders("us-west-2", 100, 110),
        *orders("us-west-2", 110, 140, outcome=Outcome.INFO),
    ]
    return failover_run(history=History.of(ops, [replace(FAULT, healed_s=None)]))


def test_what_holds_becomes_part_of_the_findings():
    result = failover_run().require(rto_s=15, write_gap_s=7, lost_acks=0, duplicates=0)
    names = ("rto_s", "write_gap_s", "lost_acks", "duplicates")
    assert {requirement(result, name).verdict for name in names} == {Verdict.PASS}
    assert result.verdict is Verdict.PASS


def test_staleness_is_a_limit_only_when_it_is_required():
    run = failover_run()
    rows = (Staleness("us-west-2", 10, 1, 0.1, 1.5), Staleness("eu-west-1", 10, 0, 0.0, 0.0))
    stale = replace(run, summary=run.summary.model_copy(update={"staleness": rows}))
    assert requirement(stale.require(staleness_s=1.5), "staleness_s").verdict == "pass"
    with pytest.raises(VerdictFailed, match=r"staleness_s is 1.5 \(us-west-2\), required .* 1.4"):
        stale.require(staleness_s=1.4)
    with pytest.raises(VerdictUnknown, match="no replica read was answered"):
        run.require(staleness_s=1.5)


def test_outages_can_be_required_of_the_regions_that_were_not_hit_only():
    result = failover_run()
    (home,) = FAULT.regions
    (hit,) = [row for row in result.summary.recovery if row.region == home]
    others = [row for row in result.summary.recovery if row.region in REGIONS and row is not hit]
    required = result.require(elsewhere=True, write_gap_s=60)
    longest = max(others, key=lambda row: row.write_gap_s or 0)
    assert longest.region in requirement(required, "write_gap_s").summary
    with pytest.raises(VerdictFailed, match="lost_acks"):
        failover_run(lose=3).require(elsewhere=True, lost_acks=0)


def test_a_fault_of_several_regions_is_aimed_at_each_of_them():
    """Whatever its label looks like: `rolling restart us-west-2, us-east-1`."""
    west, east, eu = DEFAULT.regions
    aimed: list[tuple[Fault, list[str]]] = [
        (RollingRestart(west, also=(east,)), [west.name, east.name]),
        (Partition(west, peer=eu), [west.name, eu.name]),
        (Kill(Balancer(region=east.name)), [east.name]),
        (Kill(DEFAULT.nodes_of(eu.name)[0]), [eu.name]),
    ]
    for fault, regions in aimed:
        window = replace(fault.begun(DEFAULT, 110), took_effect_s=110.2, healed_s=130)
        summary = failover_run(faults=[window]).summary
        assert [row.region for row in summary.recovery if row.aimed_at] == regions
        (found,) = requirements(summary, {"write_gap_s": 60}, elsewhere=True)
        assert found.elsewhere
        assert not any(f"({region}," in found.summary for region in regions)


def test_every_broken_requirement_has_its_line():
    with pytest.raises(VerdictFailed) as raised:
        failover_run(lose=3).require(rto_s=2, lost_acks=0, duplicates=0)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["require_rto_s", "require_lost_acks"]
    assert lines[0].endswith(
        "rto_s is 5.95 ± 0.05 (us-west-2, kill us-west-2/1), required at most 2"
    )


def test_the_worst_region_decides():
    assert failover_run().require(p99_ms=151)
    with pytest.raises(VerdictFailed, match=r"p99_ms is 150 .*eu-west-1, after"):
        failover_run().require(p99_ms=149)


def test_a_finding_no_limit_speaks_of_must_pass_too():
    with pytest.raises(VerdictFailed, match="lost_acks"):
        failover_run(lose=1).require(rto_s=15)


def test_a_limit_may_allow_what_a_checker_refuses():
    """A scenario that shows what weaker guarantees lose."""
    result = failover_run(lose=3).require(lost_acks=5, rpo_s=15)
    assert requirement(result, "lost_acks").verdict is Verdict.PASS
    assert result.verdict is Verdict.FAIL  # they are lost all the same


def test_a_void_run_fulfils_no_requirement():
    with pytest.raises(VerdictUnknown, match="took no effect"):
        failover_run(faults=[replace(FAULT, took_effect_s=None)]).require(rto_s=15)


def test_without_a_final_read_losses_are_unknown():
    with pytest.raises(VerdictUnknown, match="require_lost_acks: lost_acks is not known"):
        failover_run(final=None).require(lost_acks=0)


def test_without_a_fault_there_is_no_rto():
    with pytest.raises(VerdictUnknown, match="no fault was injected"):
        failover_run(faults=[]).require(rto_s=15)


def test_without_a_fault_p99_is_that_of_the_whole_run():
    result = failover_run(faults=[]).require(p99_ms=6001)
    assert "whole run" in requirement(result, "p99_ms").summary


def test_a_service_that_did_not_come_back_breaks_any_limit_it_was_watched_for():
    with pytest.raises(VerdictFailed, match=r"rto_s is more than 29.* not recovered"):
        never_back().require(rto_s=15)


def test_a_service_watched_for_less_than_the_limit_is_unknown():
    judged = never_back().with_findings(
        [Finding("lost_acks", Verdict.PASS, ""), Finding("phantoms", Verdict.PASS, "")]
    )
    with pytest.raises(VerdictUnknown, match="require_rto_s: rto_s is not known"):
        judged.require(rto_s=60)


def test_a_limit_that_an_outage_broke_is_broken_whatever_came_after_it():
    again = orders("us-west-2", 160, 165, per_s=10, outcome=Outcome.FAIL)
    ops = pd.concat([failover_run().history.ops, History.of(again).ops])
    history = History.from_frame(ops, [FAULT], regions=REGIONS)
    with pytest.raises(VerdictFailed, match=r"rto_s is more than 5\.9"):
        failover_run(history=history).require(rto_s=5)


def test_a_limit_within_the_error_of_an_rto_is_not_proven():
    with pytest.raises(VerdictUnknown, match=r"rto_s is 5\.95 ± 0\.05 .* its error leaves open"):
        failover_run().require(rto_s=5.95)


def test_a_closed_loop_fulfils_no_limit_on_rto():
    closed = failover_run(workload={"concurrency": 8, "seed": 1})
    with pytest.raises(VerdictUnknown, match=r"rto_s is not known .*not measured in a closed loop"):
        closed.require(rto_s=1)
    assert "not measured in a closed loop" in str(closed)
    assert "Availability lost, in order-seconds" not in str(closed)
    assert "Orders are sent by schedule" not in report_html(closed)
    assert "Orders are sent in a closed loop" in report_html(closed)
    assert "Orders are sent by schedule" in report_html(failover_run())
    for words in ("RTO is the longest outage", "Availability lost is in order-seconds"):
        assert words not in report_html(closed)
        assert words in report_html(failover_run())
    assert "The write gap is the longest time" in report_html(closed)


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (6.93, 0.05, "6.93 ± 0.05"),
        (6.93, 0.1, "6.9 ± 0.2"),
        (6.9, 0.1, "6.9 ± 0.1"),
        (14.23, 0.96, "14 ± 2"),
        (6.3004, 0.0004, "6.300 ± 0.001"),
        (0.0, 0.27, "under 0.3"),
        (5.0, 0.0, "5"),
    ],
)
def test_a_number_is_written_no_finer_than_it_is_known(value, error, written):
    assert rounded(value, error) == written


@given(st.floats(0.001, 1000), st.floats(0.0001, 100))
def test_the_truth_is_within_what_is_written(value, error):
    shown, off = map(float, rounded(value, error).split(" ± "))
    assert shown - off <= value - error + 1e-6
    assert shown + off >= value + error - 1e-6


def test_without_an_after_p99_is_unknown():
    with pytest.raises(VerdictFailed, match="require_p99_ms: p99_ms is not known"):
        never_back().require(p99_ms=400, rto_s=15)


@pytest.mark.parametrize(
    ("limits", "names"),
    [({"rto": 15}, "rto_s"), ({"rto_s": -1}, "rto_s"), ({"p99_ms": float("nan")}, "p99_ms")],
    ids=["unknown", "negative", "nan"],
)
def test_a_requirement_that_cannot_be_is_refused(limits: dict[str, float], names: str):
    with pytest.raises(BadInput, match=names):
        failover_run().require(**limits)


def test_outcomes_are_written_even_when_they_fail(tmp_path: Path):
    result = failover_run().save(tmp_path)
    with pytest.raises(VerdictFailed):
        result.require(rto_s=1)
    saved = read_summary(tmp_path)
    assert saved.verdict is Verdict.FAIL
    assert saved.finding("require_rto_s").verdict is Verdict.FAIL


def test_a_result_that_was_not_saved_writes_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failover_run().require(rto_s=15)
    assert list(tmp_path.iterdir()) == []


def text_of(result: Result) -> str:
    return str(result)


def page_of(result: Result) -> str:
    return str(Text(result._repr_html_()))


@pytest.mark.parametrize("render", [text_of, page_of], ids=["text", "html"])
class TestEveryForm:
    def test_begins_with_the_verdict_in_plain_words(self, render):
        words = render(failover_run())
        assert re.search(
            r"^node-loss on fake\s+Passed\.? All 1,800 acknowledged orders are in the database\. "
            r"Service was gone for 5\.95 s ± 0\.05 s under\s+kill\s+us-west-2/1\.",
            words,
        )

    def test_says_why_it_failed(self, render):
        assert re.search(
            r"Failed\.? 2 of 1,800 acknowledged orders are missing", render(failover_run(lose=2))
        )

    def test_says_why_nothing_is_proven(self, render):
        void = failover_run(faults=[replace(FAULT, took_effect_s=None)])
        assert re.search(r"Not proven\.? Void: kill us-west-2/1 was injected", render(void))

    def test_has_the_numbers_in_their_order(self, render):
        words = render(failover_run())
        headings = ["RTO", "Write gap", "Lost acks", "Duplicates", "Latency", "checked"]
        places = [words.index(heading) for heading in headings]
        assert places == sorted(places)
        latency = words[words.index("Latency") : words.index("checked")]
        assert re.search(r"p50.*p99.*before.*outage.*during.*after", latency, re.DOTALL)
        for region in REGIONS:
            assert region in latency

    def test_says_that_no_outage_was_seen_and_how_long_one_may_have_been(self, render):
        late = FaultWindow("kill", "us-west-2/2", injected_s=130, took_effect_s=130.1, healed_s=140)
        words = " ".join(render(failover_run(faults=[late])).split())
        assert "No outage was seen under kill us-west-2/2: under 0.1 s in each region." in words
        assert "none seen: under 0.1 s in each region" in words

    def test_says_that_service_did_not_recover(self, render):
        assert "not recovered in 29.0 s" in render(never_back())

    def test_says_that_there_was_no_fault(self, render):
        assert "no fault was injected" in render(failover_run(faults=[]))

    def test_shows_what_it_was_given_as_it_was_given(self, render):
        odd = failover_run(scenario="<b>[bold]5 > 3[/bold] & so on")
        assert "<b>[bold]5 > 3[/bold] & so on" in render(odd)


def test_a_terminal_gets_the_same_words():
    result = failover_run()
    console = Console(width=110, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(result)
    coloured = captured.get()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert plain != coloured
    assert plain.split() == str(result).split()


def test_notebooks_of_older_versions_find_require_on_the_report():
    result = failover_run()
    assert result.report.require(rto_s=15).summary.finding("require_rto_s")


def test_a_result_in_hand_is_one_line():
    result = failover_run()
    assert repr(result) == "<Result of node-loss on fake: pass>"
