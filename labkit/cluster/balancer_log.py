"""Evidence from HAProxy's log: servers that it takes out or back.

With `LOG` in its configuration it writes a line at each transition, stamped by itself with the wall
clock in microseconds. That is finer than what its statistics keep (`lastchg`: whole seconds).

    2025-11-25T19:41:49.004501+00:00 Server read_write/us-west-2-1 is DOWN, reason: Layer4 ...

A server that is dialled by its name goes when the name does, too:

    ... Server us-west-2/crdb1-us-west-2 is going DOWN for maintenance (DNS NX status). ...
    ... Server us-west-2/crdb1-us-west-2 ('crdb1-us-west-2') is UP/READY (resolves again).

A server is taken out after as many failed checks as `fall` says, so what is stamped is the
balancer's decision and not the moment at which the server failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from labkit.clock import Anchor
from labkit.events import Event, Sign

LOG = "log stdout format iso local0 notice"
"""For the section `global`; proxies join in by `log global`. At this level only transitions are
logged, not the sessions of clients (HAProxy configuration manual, "log")."""

SOURCE = "HAProxy"
_LINE = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\dT\S+) Server (?P<proxy>[^/\s]+)/(?P<server>\S+) (?:\('[^']*'\) )?"
    r"is (?:going )?(?P<state>UP|DOWN)\b(?:/READY| for maintenance)?"
    r"(?: \((?P<name>[^)]*)\))?[^.]*?(?:, reason: (?P<reason>[^,.]+))?(?:[,.].*)?$"
)


def transitions(
    text: str,
    *,
    region: str,
    servers: Mapping[tuple[str, str], str],
    anchor: Anchor,
    since_s: float,
) -> Iterator[Event]:
    """Return the transitions of a region's balancer in the order in which it logged them.

    Args:
        servers: (proxy, server) -> name of the node; what is not in it is passed over.
        since_s: monotonic; what was logged before is passed over.
    """
    drift_s = anchor.drift_s()
    for line in text.splitlines():
        found = _LINE.match(line)
        node = found and servers.get((found["proxy"], found["server"]))
        if not found or not node:
            continue
        try:
            at_s = anchor.monotonic_s(datetime.fromisoformat(found["at"]).timestamp())
        except ValueError:
            continue  # a line that was written over by another
        if at_s >= since_s:
            sign = Sign.SERVER_UP if found["state"] == "UP" else Sign.SERVER_DOWN
            reason = (found["reason"] or found["name"] or "").strip()
            yield Event(at_s, sign, SOURCE, region, node, within_s=drift_s, detail=reason)
