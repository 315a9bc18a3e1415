from __future__ import annotations

import json
import threading
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import pytest

from labkit.measurement.live import LiveSample, RegionSample
from labkit.record import FaultWindow
from labkit.ui import live_board, pane
from labkit.ui.live_board import LiveBoard

REGIONS = ("west", "east")
WIDTH = 9  # seconds, and four numbers a region


class Page:
    """Keeps rows the way live_board.js does, out of nothing but the messages it gets."""

    def __init__(self, board: LiveBoard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[dict[str, Any]] = []
        self.rows: dict[int, np.ndarray] = {}
        self.listening = True
        monkeypatch.setattr(board, "send", self._receive)

    def _receive(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        if self.listening:
            self.messages.append(message)
            rows = np.frombuffer(buffers[0]).reshape(-1, WIDTH)
            self.rows |= dict(enumerate(rows, start=message["first"]))

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> LiveBoard:
    board = LiveBoard()
    board.begin(REGIONS, "Kill a node")
    return board


@pytest.fixture
def page(board: LiveBoard, monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(board, monkeypatch)


def sample(at_s: float = 0.0) -> LiveSample:
    regions = tuple(RegionSample(name, 25, 1, 60, 70) for name in REGIONS)
    return LiveSample(at_s or monotonic(), regions)


def test_a_page_gets_every_row_once_with_the_phase(board: LiveBoard, page: Page) -> None:
    board.phase("steady state")
    for _ in range(3):
        board.update(sample())
    assert sorted(page.rows) == [0, 1, 2]
    assert list(page.rows[2][1:]) == [70, 60, 25, 1] * 2
    assert page.last["phase"] == "steady state"


def test_a_page_that_missed_some_seconds_is_whole_again_with_the_next_message(
    board: LiveBoard, page: Page
) -> None:
    board.update(sample())
    page.listening = False
    for _ in range(10):
        board.update(sample())
    page.listening = True
    board.update(sample())
    assert sorted(page.rows) == list(range(12))


def test_a_page_that_missed_more_gets_everything_when_it_asks(board: LiveBoard, page: Page) -> None:
    page.listening = False
    for _ in range(50):
        board.update(sample())
    page.listening = True
    board.update(sample())
    assert len(page.rows) < 51
    board._handle_custom_msg({"do": "snapshot"}, [])
    assert sorted(page.rows) == list(range(51))


def test_a_late_view_finds_everything_in_the_state(board: LiveBoard) -> None:
    board.phase("fault")
    for _ in range(50):
        board.update(sample())
    snapshot = board.get_state("snapshot")["snapshot"]
    assert len(np.frombuffer(snapshot["rows"]).reshape(-1, WIDTH)) == 50
    assert (snapshot["first"], snapshot["phase"]) == (0, "fault")


def test_a_fault_is_shown_from_injection_and_updated_until_it_is_healed(
    board: LiveBoard, page: Page
) -> None:
    fault = FaultWindow("kill", "west/1", monotonic())
    board.fault(fault)
    assert page.last["fault"]["effect"] is page.last["fault"]["healed"] is None
    board.fault(fault := replace(fault, took_effect_s=fault.injected_s + 0.5))
    assert page.last["fault"]["effect"] == pytest.approx(0.5)
    board.fault(replace(fault, healed_s=fault.injected_s + 7.0))
    assert page.last["fault"]["healed"] == pytest.approx(7.0)
    assert page.last["fault"]["label"] == "kill west/1"
    assert len(page.last["shapes"]) == 2


def test_it_keeps_a_bounded_history_and_drops_the_faults_before_it(
    board: LiveBoard, page: Page
) -> None:
    start = monotonic()
    board.fault(FaultWindow("kill", "west/1", start, healed_s=start + 1))
    board.fault(FaultWindow("pause", "west/2", start + 2))
    for i in range(live_board._KEPT_ROWS + 100):
        board.update(sample(start + i / 4))
    snapshot = board.take_snapshot()
    assert snapshot["first"] == 100
    assert len(snapshot["rows"]) == live_board._KEPT_ROWS * WIDTH * 8
    assert [shape["label"]["text"] for shape in page.last["shapes"]] == ["pause west/2", ""]


def test_nothing_is_drawn_after_the_end(board: LiveBoard, page: Page) -> None:
    board.update(sample())
    board.end()
    assert page.last["phase"] == "done"
    told = len(page.messages)
    board.update(sample())
    board.end()
    assert len(page.messages) == told


def test_a_second_run_starts_from_an_empty_board(board: LiveBoard, page: Page) -> None:
    board.update(sample())
    board.fault(FaultWindow("kill", "west/1", monotonic()))
    board.end()
    board.begin(REGIONS, "Again")
    board.phase("steady state")
    assert (page.last["run"], page.last["first"]) == (2, 0)
    assert (page.last["shapes"], page.last["fault"]) == ([], None)
    assert board.spec["title"] == "Again"


def test_it_takes_samples_from_a_thread_while_views_ask_for_its_state(board: LiveBoard) -> None:
    def feed() -> None:
        for _ in range(500):
            board.update(sample())

    thread = threading.Thread(target=feed)
    thread.start()
    counts = []
    while thread.is_alive():
        counts.append(len(board.take_snapshot()["rows"]))
    thread.join()
    assert all(count % (WIDTH * 8) == 0 for count in counts)
    assert board.take_snapshot()["first"] == 0
    assert len(board.take_snapshot()["rows"]) == 500 * WIDTH * 8


def test_what_a_notebook_saves_of_it_is_small(board: LiveBoard) -> None:
    state = {key: value for key, value in board.get_state().items() if key != "snapshot"}
    assert len(json.dumps(state)) < 40_000


def test_a_board_without_a_chart_says_why_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_only() -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(pane, "ensure_plotly_module", read_only)
    board = LiveBoard()
    board.begin(REGIONS, "Kill a node")
    board.update(sample())
    assert "Read-only file system" in board.spec["problem"]
    assert len(board.take_snapshot()["rows"]) == WIDTH * 8


def test_end_before_begin_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    board = LiveBoard()
    page = Page(board, monkeypatch)
    board.end()
    assert page.messages == []


def test_outside_a_notebook_it_prints_nothing(
    board: LiveBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    board.begin(REGIONS, "Kill a node")
    board.update(sample())
    board.end()
    assert capsys.readouterr().out == ""
