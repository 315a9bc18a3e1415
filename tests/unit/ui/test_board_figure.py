from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest

from labkit.measurement.live import LiveSample, RegionSample
from labkit.record import FaultWindow
from labkit.report.figures.theme import REGION_COLORS
from labkit.ui import board_figure

REGIONS = ("west", "east")
KILL = FaultWindow("kill", "west/1", injected_s=103.0)
HEALED = FaultWindow("kill", "west/1", injected_s=103.0, took_effect_s=103.5, healed_s=105.0)


def recording(*faults: FaultWindow) -> board_figure.Recording:
    rows = np.array(
        [
            [0.25, 70, 60, 25, nan, 140, 130, 20, nan],
            [3.25, nan, nan, 0, 8, 4_000, 150, 10, 2],
            [6.25, 75, 61, 24, nan, 141, 131, 20, nan],
        ]
    )
    return board_figure.Recording(REGIONS, "Kill a node", rows, faults, start_s=100.0)


def test_a_row_holds_the_seconds_then_each_region_in_the_boards_order() -> None:
    sample = LiveSample(
        102.5,
        (
            RegionSample("east", acked_per_s=20, failed_per_s=2, p50_ms=130, slowest_ms=140),
            RegionSample("west", acked_per_s=25, failed_per_s=1, p50_ms=60, slowest_ms=70),
        ),
    )
    row = board_figure.row(sample, REGIONS, start_s=100.0)
    assert row == [2.5, 70, 60, 25, 1, 140, 130, 20, 2]


def test_a_region_without_failures_has_no_failure_mark() -> None:
    sample = LiveSample(1.0, (RegionSample("west", 25, 0, 60, 70),))
    assert isnan(board_figure.row(sample, ("west",), start_s=0.0)[-1])


def test_the_figure_has_one_trace_for_every_column_in_its_regions_colour() -> None:
    figure = board_figure.skeleton(REGIONS)
    assert len(figure.data) == len(REGIONS) * len(board_figure.COLUMNS)
    for i, trace in enumerate(figure.data):
        region = i // len(board_figure.COLUMNS)
        assert (trace.line.color or trace.marker.color) == REGION_COLORS[region]
        assert trace.name.startswith(REGIONS[region])
    assert [trace.name for trace in figure.data if trace.showlegend] == list(REGIONS)


def test_a_fault_is_shaded_in_both_panels_and_open_until_it_is_healed() -> None:
    open_, healed = (board_figure.shapes([fault], start_s=100.0) for fault in (KILL, HEALED))
    assert [band["yref"] for band in open_] == ["y domain", "y2 domain"]
    assert {(band["x0"], band["x1"]) for band in open_} == {(3.0, None)}
    assert {(band["x0"], band["x1"]) for band in healed} == {(3.0, 5.0)}


def test_the_finished_figure_holds_all_points_and_shades_an_open_fault_to_its_end() -> None:
    figure = board_figure.finished(recording(KILL))
    assert list(figure.data[0].x) == [0.25, 3.25, 6.25]
    assert list(figure.data[2].y) == [25, 0, 24]
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(3.0, 6.25)}
    assert figure.layout.title.text == "Kill a node"


def test_the_latency_axis_takes_in_every_latency_in_whole_decades() -> None:
    assert board_figure.finished(recording()).layout.yaxis.range == (1, 4)


@pytest.mark.parametrize("columns", [slice(0, 0), slice(1, 2)])
def test_a_run_without_any_ack_still_gives_a_figure(columns: slice) -> None:
    rows = recording().rows[columns]
    rows[:, 1:] = nan
    silent = board_figure.Recording(REGIONS, "Silence", rows, (), start_s=100.0)
    assert len(board_figure.finished(silent).data) == 8


def test_the_summary_says_in_words_what_the_figure_shows() -> None:
    assert board_figure.summary(recording(HEALED)).splitlines() == [
        "Kill a node: watched for 6 s",
        "  west: slowest 75 ms, acked 16.3/s, failed 2.7/s, no acks in 33% of the samples",
        "  east: slowest 4,000 ms, acked 16.7/s, failed 0.7/s, no acks in 0% of the samples",
        "  kill west/1 at 3.0 s, healed after 2.0 s",
    ]
    assert board_figure.summary(recording(KILL)).endswith("at 3.0 s, not healed")


def test_the_summary_of_nothing_says_so() -> None:
    nothing = board_figure.Recording(REGIONS, "Kill a node", np.empty((0, 9)), (), start_s=0.0)
    assert board_figure.summary(nothing) == "Kill a node: nothing was seen"
