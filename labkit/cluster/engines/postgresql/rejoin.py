"""The ways in which nodes came back, read from their Patroni logs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from labkit.cluster.base import Rejoin
from labkit.cluster.engines.postgresql.layout import Layout, member_name

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) [A-Z]+: (.*)$", re.MULTILINE)
"""A line of Patroni's own, in local time; PostgreSQL's in the same file have a point and a zone."""

_STARTED = "Patroni global thread_pool_size"
"""Logged once by every Patroni that starts."""
_REWIND = "running pg_rewind from"
_COPY = "replica has been created using"
_FOLLOWS = ", a secondary, and following a leader"


def rejoins(layout: Layout, since: datetime) -> tuple[Rejoin, ...]:
    """Return the nodes that came back after a moment, in the order of the topology."""
    found = []
    for node in layout.topology.nodes:
        log = layout.logs / f"{member_name(node)}.log"
        if log.exists():
            found.append(
                rejoin(node.name, log.read_text(errors="replace", encoding="utf-8"), since)
            )
    return tuple(one for one in found if one is not None)


def rejoin(node: str, log: str, since: datetime) -> Rejoin | None:
    """Tell how one node came back: it was started again, or had to rewind where it stood.

    Args:
        since: with a time zone.

    Returns:
        None when neither happened after `since`.
    """
    lines = [
        (at, text)
        for stamp, text in _LINE.findall(log)
        if (at := datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)) >= since
    ]
    starts = [i for i, (_, text) in enumerate(lines) if text.startswith(_STARTED)]
    begin = starts[-1] if starts else _first(lines, _REWIND, 0)
    if begin is None:
        return None
    how, done = "stream", begin
    for i in range(begin, len(lines)):
        if _COPY in lines[i][1]:
            how, done = "copy", i
        elif _REWIND in lines[i][1] and how != "copy":
            how, done = "rewind", i
    follows = _first(lines, _FOLLOWS, done)
    return Rejoin(
        node=node,
        how=how,
        started_at=lines[begin][0],
        following_at=None if follows is None else lines[follows][0],
    )


def _first(lines: list[tuple[datetime, str]], text: str, begin: int) -> int | None:
    return next((i for i in range(begin, len(lines)) if text in lines[i][1]), None)
