"""`cockroach sql -e` and `-f`: statements sent one by one, rows printed as they are."""

from __future__ import annotations

import asyncio
import csv
import struct
import sys
from pathlib import Path

from . import wire
from .errors import Refused, SqlError, Unreachable
from .flags import Arguments
from .node import client_tls
from .postgres import Backend
from .text import split


async def run_sql(arguments: Arguments, host: str, port: int, certs: Path | None) -> int:
    """Run what --execute and --file hold; the first error ends it with status 1.

    Raises:
        Refused: the server cannot be reached, or there is nothing to run.
    """
    texts = list(arguments.values.get("--execute", []))
    texts += [Path(name).read_text() for name in arguments.values.get("--file", [])]
    if not texts and not sys.stdin.isatty():
        texts = [sys.stdin.read()]
    if not texts:
        raise Refused("the stand-in does not model: an interactive shell")
    user = arguments.get("--user", "root")
    database = arguments.get("--database", "defaultdb")
    backend = await _connect(host, port, {"user": user, "database": database}, certs)
    try:
        for statement in (one for text in texts for one in split(text)):
            answer = await backend.send(wire.query(statement.text))
            refused = wire.first_error(answer)
            if refused is not None:
                fields = wire.error_fields(refused)
                print(f"ERROR: {fields['M']}\nSQLSTATE: {fields['C']}", file=sys.stderr)
                return 1
            _print(answer, arguments.get("--format", "tsv"))
    except (OSError, EOFError) as error:
        raise Refused("the connection to the server was lost") from error
    finally:
        backend.close()
    return 0


async def _connect(host: str, port: int, parameters: dict[str, str], certs: Path | None) -> Backend:
    try:
        reader, writer = await asyncio.open_connection(host, port)
        if certs is not None:
            writer.write(struct.pack("!ii", 8, wire.SSL_REQUEST))
            if await reader.readexactly(1) != b"S":
                raise Refused("the server does not speak TLS: is it --insecure?")
            await writer.start_tls(client_tls(certs, parameters["user"]), server_hostname=host)
        writer.write(wire.startup(parameters))
        backend = Backend(reader, writer)
        await backend.greet()
    except (OSError, EOFError, Unreachable) as error:
        raise Refused(f"cannot dial server.\n{host}:{port}: {error}") from error
    except SqlError as error:
        raise Refused(f"{error.message}\nSQLSTATE: {error.sqlstate}") from error
    return backend


def _print(answer: list[wire.Message], form: str) -> None:
    if form not in ("tsv", "csv"):
        raise Refused(f"the stand-in does not model: sql --format={form}")
    columns = wire.columns_of(answer)
    if not columns:
        print("".join(wire.take_text(m.body)[0] for m in answer if m.kind == b"C"))
        return
    writer = csv.writer(sys.stdout, dialect="excel-tab" if form == "tsv" else "excel",
                        lineterminator="\n")  # fmt: skip
    writer.writerow(columns)
    writer.writerows([["NULL" if v is None else v for v in row] for row in wire.rows_of(answer)])
