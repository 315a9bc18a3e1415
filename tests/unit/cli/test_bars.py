"""What a terminal shows while a notebook runs headless."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from labkit.cli.bars import Bars, where
from labkit.run.notebook import Progress


def shown(monkeypatch: pytest.MonkeyPatch, *steps: Progress, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr("labkit.cli.bars.console", lambda **_: console)
    with Bars("04_region_loss") as bars:
        for step in steps:
            bars(step)
            bars._bars.refresh()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


IN_A_TRIAL = Progress(3, 8, "holding the fault", trial=2, trials=5)


def test_a_terminal_has_a_bar_for_cells_and_one_for_trials(monkeypatch):
    said = shown(monkeypatch, Progress(2, 8, "electing"), IN_A_TRIAL, terminal=True)
    assert re.search(r"04_region_loss \S+ 1/8 .*electing", said)
    assert re.search(r"04_region_loss \S+ 2/8", said)  # what is under way is not done
    assert re.search(r"trials +\S+ 1/5 .*holding the fault", said)


def test_without_trials_there_is_one_bar(monkeypatch):
    assert "trials" not in shown(monkeypatch, Progress(2, 8, "electing"), terminal=True)


def test_without_a_terminal_there_is_a_line_for_each_line(monkeypatch):
    said = shown(monkeypatch, Progress(3, 8, ""), IN_A_TRIAL, terminal=False)
    assert said == "notebook 04_region_loss\n[3/8, trial 2 of 5] holding the fault\n"


def test_a_place_names_the_cell_and_the_trial():
    assert where(Progress(5, 14, "")) == "[5/14]"
    assert where(IN_A_TRIAL) == "[3/8, trial 2 of 5]"
