"""Names, labels and control characters from outside never break or colour what is printed."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from commands import labkit
from histories import failover_run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labkit.plain import LONGEST, one_line, plain
from labkit.report.page import report_html
from labkit.verdict.seal import RESULT_FILE, write_result
from labkit.verdict.summary import Summary

HOSTILE = "[red]x[/foo] \x1b[31mred\x1b]0;title\x07\x9b1m\r\n20990101 pass :smile: \u202e<b>&\x00"


def hidden(text: str) -> set[str]:
    """Characters of a text that a terminal obeys; ends of lines are the printer's own."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {char for char in text if unicodedata.category(char) in kinds} - {"\n"}


@given(st.text())
def test_plain_text_is_one_line_without_control_characters(text: str) -> None:
    for shown in (plain(text), one_line(text)):
        assert hidden(shown) == set()
        assert "\n" not in shown
        assert len(shown) <= 10 * LONGEST


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=LONGEST))
def test_plain_text_leaves_what_can_be_seen_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_a_message_of_several_lines_is_one_line() -> None:
    assert one_line("FATAL: no\nDETAIL: none\n") == "FATAL: no DETAIL: none"


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every text in JSON data but the names of findings, as the container and its key."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in pairs:
        if isinstance(value, dict | list):
            found += places(value)
        elif isinstance(value, str) and key != "checker":  # without its findings it is damaged
            found.append((data, key))
    return found


@cache
def hostile_summary() -> Summary:
    """A result whose every text that may be any text is a hostile one."""
    told = failover_run(lose=1).summary
    data = json.loads(told.to_json())
    changed = 0
    for container, key in places(data):
        before = container[key]
        container[key] = f"{HOSTILE}{before}"
        try:
            Summary.model_validate(data)
            changed += 1
        except (ValidationError, ValueError):
            container[key] = before
    assert changed > 20
    return Summary.model_validate(data)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of runs with two hostile ones, one of them by its folder's name as well."""
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    told = hostile_summary().to_json()
    for name in ("20250101T000000Z-a", f"20250102[red]x[foo]\x1b[31m\n{'n' * 180}"):
        (tmp_path / name / "more" / "x-bad").mkdir(parents=True)
        write_result(tmp_path / name, told)
    return tmp_path


def test_a_report_in_a_terminal_shows_hostile_text_as_text() -> None:
    hostile = replace(failover_run(), summary=hostile_summary())
    tame = str(failover_run(lose=1))
    told = str(hostile)
    assert hidden(told) == set()
    assert "[red]x[/foo] \\x1b[31mred" in told
    assert "20990101" not in {line.split()[0] for line in told.splitlines() if line.strip()}
    assert len(tame.splitlines()) <= len(told.splitlines())


def test_a_report_as_a_page_shows_hostile_text_as_text() -> None:
    page = report_html(replace(failover_run(), summary=hostile_summary()))
    body = re.sub(r"<script.*?</script>", "", page[page.index("<main") :], flags=re.DOTALL)
    assert "[red]x[/foo] \\x1b[31mred" in body
    assert "<b>&" not in body
    assert hidden(body) <= {"\t"}


@pytest.mark.usefixtures("runs")
def test_hostile_names_and_labels_break_no_listing() -> None:
    done = labkit("runs")
    assert done.exit_code == 0
    assert hidden(done.stdout) == set()
    assert "20250102[red]x[foo]\\x1b[31m\\nnnn" in done.stdout
    assert [line[:5] for line in done.stdout.splitlines() if line[:3] == "209"] == []
    assert len(json.loads(labkit("runs", "--json").stdout)) == 2


@pytest.mark.usefixtures("runs")
def test_hostile_names_and_labels_break_no_comparison(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = labkit("compare", "last", "last-1", "--html", str(page))
    assert done.exit_code == 0
    assert hidden(done.stdout) == set()
    assert "\\x1b[31mred" in page.read_text()
    json.loads(labkit("compare", "last", "last-1", "--json").stdout)


def test_a_result_with_half_a_character_is_damaged(runs: Path) -> None:
    file = runs / "20250101T000000Z-a" / RESULT_FILE
    file.write_text(failover_run().summary.to_json().replace("node-loss", "\\ud800"))
    done = labkit("runs", "--json")
    assert done.exit_code == 0
    assert [bool(run["damaged"]) for run in json.loads(done.stdout)] == [False, True]


@pytest.mark.parametrize(
    "name", ["[/foo]", "a\x1b[31m", "x" * 5000, "", "../../../etc\n", "\ud800"]
)
@pytest.mark.parametrize("command", [["compare"], ["run"], ["dsn"], ["fault", "kill"], ["load"]])
@pytest.mark.usefixtures("runs", "cluster")
def test_a_hostile_name_that_was_typed_is_refused_in_one_plain_line(
    command: list[str], name: str
) -> None:
    done = labkit(*command, name)
    assert done.exit_code == 2
    assert hidden(done.stderr) == set()
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 2 * LONGEST


def test_a_run_is_not_compared_with_itself(runs: Path) -> None:
    done = labkit("compare", "last", str(runs / "20250101T000000Z-a"), "last-1")
    assert done.exit_code == 2
    assert "is named twice" in done.stderr


def test_a_result_nested_too_deep_is_none(runs: Path) -> None:
    folder = runs / "20250103T000000Z-deep"
    folder.mkdir()
    (folder / RESULT_FILE).write_text("[" * 100_000)
    assert labkit("runs").exit_code == 0
    (folder / RESULT_FILE).unlink()
