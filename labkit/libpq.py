"""Connections that obey labkit alone, whatever the user's environment tells libpq.

libpq takes each parameter that a connection string leaves out from an environment variable
(PGHOSTADDR, PGOPTIONS and about thirty others; PostgreSQL 18, "Environment Variables"). A user has
such variables for databases of their own: with PGHOSTADDR set, the lab's user would log in at
another machine. labkit's own processes drop them (`labkit.environment`). A notebook or a script
that imports labkit keeps them for the user's connections; labkit's connections are told every
parameter that a variable would set. Three variables have no parameter: libpq sends them to the
server as settings of the session. `connect` takes these settings back.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from labkit.errors import BadInput

THROTTLED = "XXC02"
"""SQLSTATE of a statement that CockroachDB refuses before it runs, as a node has five open
transactions and no licence, an expired one, or one that needs telemetry (licensing-faqs.md, v25.4;
cockroachdb/cockroach pull request 135326)."""

_NOT_EMPTY = {
    "connect_timeout": "0",
    "max_protocol_version": "3.0",
    "min_protocol_version": "3.0",
    "sslcertmode": "allow",
}
"""The defaults of the parameters that libpq names no default for and that may not be empty."""


def alone(conninfo: str = "", **parameters: Any) -> str:
    """Complete a connection string so that no parameter is taken from the environment.

    Raises:
        BadInput: PGSERVICE is set, which no parameter overrides.
    """
    given: dict[str, Any] = dict(conninfo_to_dict(conninfo, **parameters))
    if not any(name.startswith("PG") for name in os.environ):
        return make_conninfo(**given)
    if os.environ.get("PGSERVICE"):
        raise BadInput(
            f"PGSERVICE is set ({os.environ['PGSERVICE']}): libpq obeys it in every connection of "
            "this process, those to the lab included: unset it (in a notebook: "
            "`del os.environ['PGSERVICE']`)"
        )
    defaults: dict[str, Any] = {}
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        variable = option.envvar.decode() if option.envvar else ""
        if variable in os.environ and name not in given and name != "service":
            usual = option.compiled.decode() if option.compiled else ""
            defaults[name] = usual or _NOT_EMPTY.get(name, "")
    return make_conninfo(**{**defaults, **given})


def connect(conninfo: str = "", **parameters: Any) -> psycopg.Connection:
    """Connect as `psycopg.connect` does; the environment changes nothing.

    Args:
        parameters: of the connection string, and `autocommit` and `prepare_threshold`.

    Raises:
        BadInput: PGSERVICE is set.
        psycopg.OperationalError: there is no connection to be had, or the server does not know the
            value of PGTZ, PGDATESTYLE or PGGEQO.
    """
    ours = {name: parameters.pop(name) for name in _PSYCOPG if name in parameters}
    connection = psycopg.connect(alone(conninfo, **parameters), **ours)
    for variable, statement in _SENT.items():
        if variable in os.environ:
            # outside of a transaction, which `execute` would begin; an engine that does not know
            # the setting has not obeyed the variable either
            connection.pgconn.exec_(statement)
    return connection


_SENT = {
    "PGDATESTYLE": b"SET DateStyle TO ISO, MDY",
    "PGGEQO": b"SET geqo TO on",
    "PGTZ": b"SET TimeZone TO 'UTC'",
}
"""What libpq sends to the server (`EnvironmentOptions` in fe-connect.c; no parameter overrides it),
and what gives a lab's session the setting that it has without the variable. RESET would not: it
gives a session what the client asked for when it connected."""
_PSYCOPG = ("autocommit", "prepare_threshold")
"""What psycopg keeps to itself."""
