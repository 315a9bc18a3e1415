"""Another user of the machine, who knows every port of a lab and tries everything.

Run as `python intruder.py UID < what.json > found.json`. It is started with the rights of the
tests, imports what it needs, and becomes the other user before it does anything. It needs nothing
of labkit's, so that it cannot read a credential by accident; wrong ones and a foreign certificate
are given to it.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - what is imported later may be out of reach
import json
import os
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import product
from pathlib import Path
from typing import Any

import psycopg

HOST = "127.0.0.1"
TIMEOUT_S = 5.0
ABROAD = {"Host": "intruder.example", "Origin": "http://intruder.example"}
"""What a page of another site sends, its name bound to 127.0.0.1."""

REQUESTS = [
    (line.split()[0], line.split()[1])
    for line in """
        GET /
        GET /;csv
        GET /patroni
        GET /primary
        GET /replica
        GET /health
        GET /liveness
        GET /cluster
        GET /history
        GET /config
        GET /metrics
        GET /links
        GET /version
        GET /v2/keys
        GET /v2/members
        GET /members
        GET /leases
        GET /raft/probing
        GET /debug/vars
        GET /debug/pprof/
        HEAD /primary
        OPTIONS /primary
        PATCH /config
        PUT /config
        POST /reload
        POST /restart
        DELETE /restart
        POST /switchover
        DELETE /switchover
        POST /failover
        POST /reinitialize
        POST /sigterm
        POST /failsafe
        POST /mpp
        POST /links
        POST /reset
        POST /listeners
        POST /;csv
        POST /raft
        POST /leases/internal
        PUT /v2/keys/service
        POST /v3/kv/put
        POST /v3/kv/range
        POST /v3/kv/txn
        POST /v3/kv/deleterange
        POST /v3/kv/compaction
        POST /v3/kv/lease/leases
        POST /v3/lease/grant
        POST /v3/lease/keepalive
        POST /v3/lease/revoke
        POST /v3/watch
        POST /v3/cluster/member/list
        POST /v3/cluster/member/add
        POST /v3/cluster/member/remove
        POST /v3/cluster/member/update
        POST /v3/cluster/member/promote
        POST /v3/auth/enable
        POST /v3/auth/disable
        POST /v3/auth/authenticate
        POST /v3/auth/user/add
        POST /v3/auth/role/add
        POST /v3/maintenance/status
        POST /v3/maintenance/alarm
        POST /v3/maintenance/defragment
        POST /v3/maintenance/hash
        POST /v3/maintenance/snapshot
        POST /v3/maintenance/transfer-leadership
        POST /v3/maintenance/downgrade
        POST /v3/election/campaign
        POST /v3/lock/lock
    """.strip().splitlines()
]
"""What any part of a lab would answer, if it answered."""
ORDERS = [one for one in REQUESTS if one[0] in ("PATCH", "PUT", "POST", "DELETE")]
TLS = ("TLS", "TLS, foreign certificate")
"""How an intruder speaks TLS: without a certificate, and with one of its own."""
SOME = [("GET", "/config"), ("PATCH", "/config"), ("POST", "/v3/kv/put"), ("GET", "/version")]


REFUSED = (400, 401, 403)


def http(what: dict[str, Any]) -> list[list[Any]]:
    """Send requests, by HTTP and TLS, with each wrong credential.

    A request is refused when nothing is answered, or by 400, 401 or 403. The WAN wants to hear of a
    region first: it is told one.

    Args:
        what: "tries", each with "ports" of this machine or [host, port], and "requests", "schemes",
            "credentials"; "contexts": scheme -> how it speaks TLS; "region".

    Returns:
        What was not refused, or may be read by pages of other sites: scheme, method, path, place,
        status, headers by which it may.
    """
    contexts = what["contexts"]

    def ask(case: tuple[Any, tuple[str, str], str, str]) -> list[list[Any]]:
        port, (method, path), scheme, credential = case
        at = place(port)
        headers = {**ABROAD, "X-Region": what["region"], "X-Server-From": "1234"}
        if credential:
            headers["Authorization"] = credential
        body = "{}" if method in ("POST", "PUT", "PATCH") else None
        if scheme == "http":
            connection = HTTPConnection(*at, timeout=TIMEOUT_S)
        else:
            connection = HTTPSConnection(*at, timeout=TIMEOUT_S, context=contexts[scheme])
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            reply.read()
        except (HTTPException, OSError):
            return []
        finally:
            connection.close()
        shared = [name for name in reply.headers if name.lower().startswith("access-control")]
        if reply.status in REFUSED and not shared:
            return []
        return [[scheme, method, path, at, reply.status, shared]]

    cases = [
        case
        for one in what["tries"]
        for case in product(one["ports"], one["requests"], one["schemes"], one["credentials"])
    ]
    return list(each(ask, cases))


def sql(what: list[dict[str, Any]]) -> list[str]:
    """Log in as each user, to each database, in each way; who got in.

    Args:
        what: tries, each with "ports" of this machine or [host, port], and "users", "databases",
            "ways": what else libpq is told. Without a password in it none is looked up.
    """

    def log_in(case: tuple[Any, str, str, dict[str, str]]) -> list[str]:
        port, user, database, way = case
        host, number = at = place(port)
        try:
            connection = psycopg.connect(
                **{
                    "host": host,
                    "port": number,
                    "user": user,
                    "dbname": database,
                    "connect_timeout": int(TIMEOUT_S),
                    "gssencmode": "disable",
                    "passfile": os.devnull,
                    **way,
                }
            )
        except psycopg.Error:
            return []
        connection.close()
        return [f"{at} let {user} into {database} {way}"]

    cases = [
        case
        for one in what
        for case in product(one["ports"], one["users"], one["databases"], one["ways"])
    ]
    return list(each(log_in, cases))


def place(port: int | tuple[str, int]) -> tuple[str, int]:
    """Host and port."""
    return (HOST, port) if isinstance(port, int) else (port[0], port[1])


def files(what: dict[str, Any]) -> list[str]:
    """List every folder, read every file, enter every socket; which of them let us."""
    found = []
    for name in what["paths"]:
        path = Path(name)
        try:
            kind = path.lstat().st_mode
            if stat.S_ISDIR(kind):
                os.listdir(path)  # noqa: PTH208 - one question, no more
            elif stat.S_ISSOCK(kind):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(name)
            else:
                path.open("rb").close()
        except OSError:
            continue
        found.append(f"{name} is open")
    for pid in what["pids"]:
        try:
            Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        found.append(f"the environment of process {pid} can be read")
    return found


def orders_with_the_password(what: dict[str, Any]) -> list[str]:
    """Give each Patroni every order, with the password of its health checks; what was obeyed."""
    token = base64.b64encode(what["login"].encode()).decode()

    def give(case: tuple[int, tuple[str, str]]) -> list[str]:
        port, (method, path) = case
        connection = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, what["body"], {"Authorization": f"Basic {token}"})
            status = connection.getresponse().status
        except (HTTPException, OSError):  # it hangs up on what it has not read
            return []
        finally:
            connection.close()
        return [] if status == 403 else [f"{method} {path} on port {port}: {status}"]

    return list(each(give, list(product(what["ports"], ORDERS))))


def each(do: Any, cases: list[Any]) -> Iterator[Any]:
    """Do something for each case, many at once; what all of them found."""
    with ThreadPoolExecutor(48) as pool:
        for found in pool.map(do, cases):
            yield from found


def main() -> None:
    """Become somebody else, try what standard input says, and print what was found."""
    uid = int(sys.argv[1])
    what = json.load(sys.stdin)
    if "http" in what:
        plain, own = ssl._create_unverified_context(), ssl._create_unverified_context()  # noqa: S323
        own.load_cert_chain(*what["http"]["certificate"])
        what["http"]["contexts"] = dict(zip(TLS, (plain, own), strict=True))
    "a".encode("idna")
    if uid != os.geteuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    tries = {
        "http": http,
        "sql": sql,
        "files": files,
        "orders_with_the_password": orders_with_the_password,
    }
    json.dump({name: tries[name](given) for name, given in what.items()}, sys.stdout)


if __name__ == "__main__":
    main()
