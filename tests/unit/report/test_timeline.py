from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from histories import FAULT, REGIONS, failover_run, order, orders

from labkit.errors import BadInput
from labkit.history import History
from labkit.record import FaultWindow, Outcome
from labkit.report.figures import theme
from labkit.report.figures.timeline import WINDOWS, timeline
from labkit.report.page import report_html, write_report

HOSTILE = "</script><script>alert(1)</script>"


def traces(figure, row: int) -> list:
    axis = "y" if row == 1 else "y2"
    return [trace for trace in figure.data if (trace.yaxis or "y") == axis]


def texts(figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def test_latency_above_and_throughput_below_share_their_time():
    figure = timeline(failover_run())
    assert figure.layout.xaxis.matches == "x2"
    assert len(traces(figure, 1)) == 2 * len(REGIONS)  # p50 and slowest
    assert len(traces(figure, 2)) == 2 * len(REGIONS)  # acked, and not acked
    assert figure.layout.yaxis.type == "log"


def test_each_region_has_its_colour_and_one_name_in_the_legend():
    figure = timeline(failover_run())
    for region in REGIONS:
        mine = [trace for trace in figure.data if trace.name == region]
        assert {trace.line.color for trace in mine} == {theme.region_color(REGIONS, region)}
        assert [trace.showlegend for trace in mine].count(True) == 1


def test_time_is_seconds_since_the_fault():
    figure = timeline(failover_run())
    times = traces(figure, 1)[0].x
    assert times[0] == -10
    assert 0 in times
    assert figure.layout.xaxis2.title.text == "seconds since the fault"


def test_the_fault_is_shaded_in_both_panels_and_named():
    figure = timeline(failover_run())
    shades = figure.layout.shapes
    assert [(shade.x0, shade.x1) for shade in shades] == [(0, 20), (0, 20)]
    assert {shade.yref for shade in shades} == {"y domain", "y2 domain"}
    assert "kill us-west-2/1" in texts(figure)


def test_a_fault_that_was_never_healed_is_shaded_to_the_end():
    open_fault = FaultWindow("kill", "us-west-2/1", injected_s=110, took_effect_s=111)
    figure = timeline(failover_run(faults=[open_fault]))
    assert figure.layout.shapes[0].x1 == pytest.approx(50, abs=0.2)


def test_a_fault_that_took_no_effect_says_so():
    figure = timeline(failover_run(faults=[FaultWindow("kill", "us-west-2/1", injected_s=110)]))
    assert "kill us-west-2/1 (no effect)" in texts(figure)


def test_labels_of_faults_at_one_moment_stand_below_each_other():
    both = [FaultWindow("kill", name, 110, 110.1, 120) for name in ("us-west-2/1", "us-west-2/2")]
    figure = timeline(failover_run(faults=both))
    shifts = [a.yshift for a in figure.layout.annotations if a.text.startswith("kill")]
    assert len(set(shifts)) == 2


def test_the_longest_write_gap_is_marked_where_it_was():
    figure = timeline(failover_run())
    (arrow,) = [a for a in figure.layout.annotations if a.showarrow]
    assert arrow.ax == pytest.approx(0, abs=0.2)
    assert arrow.x == pytest.approx(6, abs=0.2)
    assert any(re.match(r"write gap 6\.\d\d s in ", text) for text in texts(figure))


def test_operations_that_were_not_acked_are_crosses_at_their_rate():
    ops = [*orders("west", 100, 120), *(order("west", 105, 105.5, Outcome.FAIL) for _ in range(3))]
    figure = timeline(failover_run(history=History.of(ops)), width_s=1)
    (crosses,) = [trace for trace in figure.data if trace.mode == "markers"]
    assert list(crosses.x) == [5]
    assert list(crosses.y) == [3]


def test_without_a_fault_time_counts_from_the_start():
    figure = timeline(failover_run(faults=[]))
    assert figure.layout.xaxis2.title.text == "seconds since the start"
    assert not figure.layout.shapes
    assert not texts(figure)


def test_a_long_run_has_no_more_points_than_a_screen_shows():
    history = History.of(orders("west", 0, 36_000, per_s=0.1))
    figure = timeline(failover_run(history=history))
    assert WINDOWS / 4 < len(figure.data[0].x) <= WINDOWS + 1


def test_a_run_without_operations_is_an_empty_figure():
    figure = timeline(failover_run(history=History.of([], [FAULT])))
    assert not figure.data


def test_a_point_without_width_is_refused():
    with pytest.raises(BadInput, match="width_s"):
        timeline(failover_run(), width_s=-1)


def test_what_it_was_given_stays_text():
    faults = [FaultWindow("kill", HOSTILE, 110, 111, 120)]
    figure = timeline(failover_run(scenario=HOSTILE, faults=faults))
    assert "<script" not in json.dumps([*texts(figure), figure.layout.title.text])


def test_the_page_fetches_nothing(tmp_path: Path):
    page = write_report(failover_run(), tmp_path).read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert "@import" not in page


def test_the_page_tells_the_verdict_before_anything_else():
    page = report_html(failover_run(lose=1))
    body = page[page.index("<body>") :]
    places = [
        body.index(words)
        for words in (
            "1 of 1,800 acknowledged orders is missing",
            "RTO",
            "Over time",
            "How it was measured",
            "Environment",
            "postgresql 18.3",
        )
    ]
    assert places == sorted(places)


def test_the_page_escapes_everything_it_was_given():
    hostile = failover_run(
        scenario=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        versions={"server": HOSTILE},
        faults=[FaultWindow("kill", HOSTILE, 110, 111, 120)],
    )
    assert HOSTILE not in report_html(hostile)
    assert "<script>alert" not in report_html(hostile)
