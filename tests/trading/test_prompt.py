"""The small SQL prompt, typed at as a person would."""

from __future__ import annotations

import psycopg
import pytest

from labkit.cli.prompt import prompt, run

Typed = str | type[BaseException]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[Typed]:
    """What the person types, line by line; exceptions are keys. It ends with Ctrl-D."""
    lines: list[Typed] = []

    def fake_input(_prompt: str) -> str:
        if not lines:
            raise EOFError
        line = lines.pop(0)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", fake_input)
    return lines


def test_a_statement_may_span_lines_and_shows_its_rows(
    dsn: str, typed: list[Typed], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["SELECT symbol", "FROM instruments", "WHERE symbol = 'MSFT';"]
    prompt(dsn)
    assert "MSFT" in capsys.readouterr().out


def test_a_failed_statement_is_reported_and_the_prompt_goes_on(
    dsn: str, typed: list[Typed], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["SELECT nonsense;", "SELECT 'still ' || 'here';"]
    prompt(dsn)
    printed = capsys.readouterr()
    assert "nonsense" in printed.err
    assert "still here" in printed.out


def test_ctrl_c_drops_what_was_begun(
    dsn: str, typed: list[Typed], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["SELECT nonsense", KeyboardInterrupt, "SELECT 6 * 7;"]
    prompt(dsn)
    printed = capsys.readouterr()
    assert "42" in printed.out
    assert printed.err == ""


def test_a_lost_connection_is_made_anew(
    dsn: str, typed: list[Typed], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["SELECT pg_terminate_backend(pg_backend_pid());", "SELECT 6 * 7;"]
    prompt(dsn)
    assert "42" in capsys.readouterr().out


def test_statements_that_return_nothing_show_what_they_did(
    conn: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    run(conn, "UPDATE users SET name = '[b]' WHERE false; SELECT NULL AS nothing, '[/x]' AS markup")
    printed = capsys.readouterr().out
    assert "UPDATE 0" in printed
    assert "[/x]" in printed


def test_no_connection_at_the_start_is_an_error(typed: list[Typed]) -> None:
    with pytest.raises(psycopg.OperationalError):
        prompt("postgresql://trader@127.0.0.1:1/trade")
