"""The `cockroach` command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import certs, grammar, http_api, session
from .errors import Refused, SqlError, Unreachable
from .flags import DOCUMENTED, Arguments, parse
from .gossip import Line
from .node import Flags, Node, client_tls
from .postgres import Store
from .shell import run_sql

STORE_VARIABLE = "STANDIN_STORE"
"""[USER@]HOST:PORT of the shared PostgreSQL; a node needs it."""
ANSWER_S = 30
"""A busy machine answers late, and the program has no such limit."""
NOT_COCKROACHDB = "this is a test double, not CockroachDB"


def main() -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:]
    try:
        command, rest = _command(words)
        if command == "version":
            print(f"Build Tag:        v25.4.17\nStand-in:         {NOT_COCKROACHDB}")
            return 0
        return _run(parse(command, rest))
    except (Refused, Unreachable) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        print(f'Failed running "{words[0] if words else ""}"', file=sys.stderr)
        return 1


def _command(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    if words[:1] == ["version"]:
        return "version", ()
    for length in (1, 2):
        command = " ".join(words[:length])
        if command in DOCUMENTED:
            return command, words[length:]
    raise Refused(f"the stand-in does not model: cockroach {' '.join(words[:2])}")


def _run(arguments: Arguments) -> int:
    if arguments.command.startswith("cert "):
        return certs.run(arguments)
    if arguments.command == "start":
        return asyncio.run(_start(flags_of(arguments)))
    if arguments.command == "sql":
        return asyncio.run(run_sql(arguments, *_target(arguments), _certs(arguments)))
    return asyncio.run(_ask(arguments))


def _certs(arguments: Arguments) -> Path | None:
    if arguments.on("--insecure"):
        return None
    folder = Path(arguments.get("--certs-dir", str(Path.home() / ".cockroach-certs")))
    if not (folder / "ca.crt").is_file():
        raise Refused(
            f"problem with CA certificate: not found\nno certificates in {folder}: "
            "say --insecure, or name their folder with --certs-dir"
        )
    return folder


def _target(arguments: Arguments) -> tuple[str, int]:
    return _address(arguments.get("--host", "localhost"), arguments.get("--port", "26257"))


def _address(text: str, default_port: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon else (text, int(default_port))


def flags_of(arguments: Arguments) -> Flags:
    """What a node is told.

    Raises:
        Refused: a value that v25.4 would not take, or something is missing.
    """
    if arguments.positional:
        raise Refused(f'unknown command {arguments.positional[0]!r} for "cockroach start"')
    join = arguments.listed("--join")
    if not join:
        raise Refused(
            "no --join flags provided to 'cockroach start'\n"
            "HINT: Consider using 'cockroach init' or 'cockroach start-single-node' instead"
        )
    store = os.environ.get(STORE_VARIABLE)
    if not store:
        raise Refused(f"the stand-in needs {STORE_VARIABLE}=HOST:PORT of its PostgreSQL")
    listen = _address(arguments.get("--listen-addr", ":26257"), "26257")
    advertise = arguments.get("--advertise-addr") or listen[0] or os.uname().nodename
    host, port = _address(advertise, str(listen[1]))
    return Flags(
        listen=listen,
        http=_address(arguments.get("--http-addr", ":8080"), "8080"),
        advertise=f"{host}:{port}",
        locality=_locality(arguments.get("--locality")),
        elsewhere=tuple(_elsewhere(item) for item in arguments.listed("--locality-advertise-addr")),
        join=tuple("{}:{}".format(*_address(address, "26257")) for address in join),
        certs=_certs(arguments),
        folder=_folder(arguments.get("--store", "cockroach-data")),
        store=Store.parse(store),
    )


def _locality(text: str) -> tuple[tuple[str, str], ...]:
    tiers = []
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise Refused(f"invalid argument for \"--locality\": tier must be in the form "
                          f'"key=value" not {part!r}')  # fmt: skip
        tiers.append((key, value))
    return tuple(tiers)


def _elsewhere(item: str) -> tuple[tuple[str, str], str]:
    tier, at, address = item.partition("@")
    if not at or not address:
        raise Refused(f'invalid argument for "--locality-advertise-addr": {item!r} has no @address')
    [pair] = _locality(tier)
    host, port = _address(address, "26257")
    return pair, f"{host}:{port}"


def _folder(text: str) -> Path | None:
    fields = dict(part.partition("=")[::2] for part in text.split(",")) if "=" in text else {}
    if fields.get("type") == "mem":
        return None
    return Path(fields.get("path", text.split(",")[0]))


async def _start(flags: Flags) -> int:
    """Run a node until it is told to stop."""
    print(f"CockroachDB node starting: {NOT_COCKROACHDB}", flush=True)
    if grammar.checker() is None:
        print(f"statements are not checked: no grammar in {grammar.VARIABLE}", flush=True)
    node = Node.create(flags)
    node.serve_sql = session.serve_sql
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await node.start()
        http = await http_api.listen(node)
    except OSError as error:
        raise Refused(f"cannot listen: {error}") from error
    told = [asyncio.create_task(stopping.wait()), asyncio.create_task(node.told_to_stop.wait())]
    await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
    print("initiating graceful shutdown of server", flush=True)
    await node.drain()
    await node.stop()
    http.close()
    print("server drained and shutdown completed", flush=True)
    os._exit(0)  # whoever still dials meets a closed port, as with any process that ends


async def _ask(arguments: Arguments) -> int:
    """init, node status, node ls, node drain, node decommission, node recommission."""
    folder = _certs(arguments)
    tls = None if folder is None else client_tls(folder, arguments.get("--user", "root"))
    host, port = _target(arguments)
    line = Line(f"{host}:{port}", tls)
    try:
        return await _request(arguments, line)
    except Unreachable as error:
        raise Refused(f"cannot dial server.\n{error}") from error
    finally:
        line.close()


async def _request(arguments: Arguments, line: Line) -> int:
    if arguments.command == "init":
        await line.call({"op": "init"}, ANSWER_S)
        print("Cluster successfully initialized")
        return 0
    identity = await line.call({"op": "identity"}, ANSWER_S)
    if not identity["node_id"]:
        raise Refused("node is waiting for cluster initialization: run `cockroach init`")
    if arguments.command == "node drain":
        if arguments.positional and int(arguments.positional[0]) != identity["node_id"]:
            raise Refused("the stand-in does not model: draining a node through another one")
        await line.call({"op": "drain", "shutdown": arguments.on("--shutdown")}, 600)
        print("drain ok")
        return 0
    if arguments.command in ("node status", "node ls"):
        _print_members((await line.call({"op": "members"}, ANSWER_S))["members"], arguments)
        return 0
    nodes = [int(number) for number in arguments.positional]
    if arguments.on("--self"):
        nodes = [identity["node_id"]]
    if not nodes:
        raise Refused("no node ID specified; use --self to target the node specified with --host")
    state = "active"
    if arguments.command == "node decommission":
        state = "decommissioning" if arguments.get("--wait") == "none" else "decommissioned"
    answer = await line.call({"op": "set-state", "nodes": nodes, "state": state}, ANSWER_S)
    _print_members([m for m in answer["members"] if m["node_id"] in nodes], arguments)
    return 0


def _print_members(members: list[dict[str, Any]], arguments: Arguments) -> None:
    if arguments.command == "node ls":
        print("\n".join(["id", *(str(member["node_id"]) for member in members)]))
        return
    print("id\taddress\tsql_address\tbuild\tlocality\tis_live\tmembership")
    for member in members:
        print("\t".join(
            (str(member["node_id"]), member["address"], member["sql_address"], "v25.4.17",
             member["locality"], str(member["live"]).lower(), member["state"])
        ))  # fmt: skip


__all__ = ["SqlError", "flags_of", "main"]
