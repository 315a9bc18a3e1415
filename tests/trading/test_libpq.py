"""What the user's environment says to libpq, on a real server."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from labkit import libpq

SENT = {"PGDATESTYLE": "German", "PGTZ": "America/New_York", "PGGEQO": "off"}


def settings(conn: psycopg.Connection) -> list[str]:
    names = ("DateStyle", "TimeZone", "geqo")
    return [str(conn.execute(f"SHOW {name}".encode()).fetchone()) for name in names]


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_session_has_the_servers_settings_whatever_the_users_environment_asks_for(
    dsn: str, monkeypatch: pytest.MonkeyPatch, autocommit: bool
) -> None:
    with libpq.connect(dsn) as conn:
        usual = settings(conn)
    for name, value in SENT.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(dsn) as theirs:
        assert settings(theirs) != usual
    with libpq.connect(dsn, autocommit=autocommit) as ours:
        assert ours.info.transaction_status is TransactionStatus.IDLE
        ours.rollback()
        now = settings(ours)
    assert [one.replace("Etc/UTC", "UTC") for one in usual] == now
