"""A SQL client's session: its statements translated, its commits replicated, its retries made."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from . import auth, wire
from .auth import Client
from .errors import SqlError, Unreachable, not_modelled
from .extended import Batch, Extended
from .multiregion import Action
from .postgres import Backend
from .settings import PASSED_ON, SESSION_VARIABLES, on
from .text import quote, split
from .transactions import Transactions
from .translate import Context, Control, Plan, translate
from .wire import Message

if TYPE_CHECKING:
    from .node import Node

VERSION = "CockroachDB CCL v25.4.17 (stand-in, not CockroachDB)"
SHUTTING_DOWN = "server is shutting down"
"""What a drained session is told, with 57P01."""
TOLD_BY_US = frozenset({"server_version", "session_authorization", "is_superuser"})
IDLE_TRANSACTION_S = 8
"""A gateway that is frozen heartbeats no transaction, so that its locks go in the end."""


@dataclass(slots=True, eq=False)
class Session:
    """One client."""

    node: Node
    client: Client
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    backend: Backend
    transactions: Transactions
    extended: Extended = field(default_factory=Extended)
    variables: dict[str, str] = field(default_factory=dict)
    running: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """In a statement or a transaction."""
        return self.running or self.transactions.status != b"I"

    @property
    def stale(self) -> bool:
        """Its reads are follower reads, which need no majority."""
        return on(self.variables.get("default_transaction_use_follower_reads", "off"))

    def end(self) -> None:
        """Hang up, as a node that shuts down does."""
        with suppress(OSError):
            self.writer.write(wire.error("57P01", SHUTTING_DOWN, "FATAL").packed)
        self.node.sessions.discard(self)
        self.backend.writer.close()
        self.writer.close()
        if self.task is not None:
            self.task.cancel()

    def context(self) -> Context:
        catalog = self.node.catalog
        members = [m for m in catalog.members.values() if m.state != "decommissioned"]
        return Context(
            self.client.database,
            tuple(catalog.databases.values()),
            tuple(sorted(members, key=lambda member: member.node_id)),
            frozenset(self.node.gossip.live()),
            catalog.settings,
            self.variables,
            tuple(catalog.tables.values()),
        )

    async def serve(self) -> None:
        """Answer until the client hangs up."""
        while True:
            message = await wire.read(self.reader)
            if message.kind == b"X":
                return
            self.running = True
            began = monotonic()
            if message.kind == b"Q":
                answer = await self._simple(wire.take_text(message.body)[0])
            elif (batch := self.extended.add(message)) is not None:
                answer = await self._batch(batch)
            else:
                continue
            failed = wire.first_error(answer) is not None
            self.node.counters.statement(monotonic() - began, failed=failed)
            self.writer.write(b"".join(part.packed for part in answer))
            await self.writer.drain()
            self.running = False

    async def _simple(self, text: str) -> list[Message]:
        """Run the statements of one message; the first error ends it."""
        answer: list[Message] = []
        try:
            statements = split(text)
            if not statements:
                answer.append(Message(b"I"))
            elif len(statements) > 1 and self.transactions.status == b"I":
                answer += await self._together([translate(s, self.context()) for s in statements])
            else:
                for statement in statements:
                    answer += await self._one(translate(statement, self.context()))
                    if wire.first_error(answer):
                        break
        except SqlError as error:
            answer.append(await self._failed(error))
        return [*answer, wire.ready(self.transactions.status)]

    async def _together(self, plans: list[Plan]) -> list[Message]:
        """Several statements in one message are one transaction (transactions.md, v25.4)."""
        if any(plan.action or plan.control is not Control.NONE for plan in plans):
            raise not_modelled("several statements in one message, unless they are all of data")
        groups = [[wire.query(plan.sql)] for plan in plans]
        return await self.transactions.run(groups, writes=True, stale=False)

    async def _one(self, plan: Plan) -> list[Message]:
        if plan.action is not None:
            return [wire.complete(await self._act(plan.action))]
        if plan.control is not Control.NONE:
            return await self.transactions.control(plan)
        answer = await self.transactions.run(
            [[wire.query(plan.sql)]], writes=plan.writes, stale=plan.stale or self.stale
        )
        self._note(plan, answer)
        return answer

    def _note(self, plan: Plan, answer: list[Message]) -> None:
        if plan.variable is not None and wire.first_error(answer) is None:
            name, value = plan.variable
            self.variables[name] = value
            if name == "statement_timeout":
                self.transactions.timeout_s = seconds(value)

    async def _failed(self, error: SqlError) -> Message:
        """A refusal that PostgreSQL has not seen fails the transaction all the same."""
        if self.transactions.status == b"T":
            await self.transactions.spoil()
        return wire.error(error.sqlstate, error.message)

    async def _batch(self, batch: Batch) -> list[Message]:
        """Run what came up to a Sync."""
        try:
            plans = self.extended.plan(batch, self.context())
            for plan in plans:
                if plan.control is not Control.NONE:
                    raise not_modelled("BEGIN and COMMIT in the extended protocol")
                if plan.action is not None:
                    return [
                        *batch.pretended(await self._act(plan.action)),
                        wire.ready(self.transactions.status),
                    ]
            answer = await self.transactions.run(
                [batch.messages],
                writes=any(plan.writes for plan in plans),
                stale=self.stale or all(plan.stale for plan in plans),
                again=batch.again,
            )
            for plan in plans:
                self._note(plan, answer)
            answer = batch.unseen_removed(answer)
        except SqlError as error:
            answer = [await self._failed(error)]
        return [*answer, wire.ready(self.transactions.status)]

    async def _act(self, action: Action) -> str:
        """Do what is the node's to do; returns the tag.

        Raises:
            SqlError: it failed, or the client is in a transaction.
        """
        if self.transactions.status != b"I":
            raise not_modelled(f"{action.tag} in a transaction")
        await self.node.quorum(self.transactions.gone)
        if action.unless_role:
            role = f"SELECT 1 FROM pg_roles WHERE rolname = {quote(action.unless_role)}"
            if await self.backend.rows(role):
                return action.tag
        if action.sql:
            groups = [[wire.query(sql)] for sql in action.sql]
            answer = await self.transactions.run(groups, writes=True, stale=False)
            refused = wire.first_error(answer)
            if refused is not None:
                fields = wire.error_fields(refused)
                raise SqlError(fields["C"], fields["M"])
        try:
            await self._note_in_catalog(action)
        except Unreachable as error:
            raise SqlError("58000", str(error)) from error
        finally:
            await self.node.tell_everybody()
        return action.tag

    async def _note_in_catalog(self, action: Action) -> None:
        catalog = self.node.catalog
        if action.database is not None:
            before = catalog.databases.get(action.database.name)
            if before is None:
                await catalog.create(action.database)
            else:
                await catalog.save(action.database)
                await catalog.place(action.database, dict.fromkeys(before.regions))
        if action.drop_database:
            await catalog.inside(
                "defaultdb", f'DROP DATABASE "{action.drop_database}" WITH (FORCE)'
            )
            await catalog.drop("database", action.drop_database)
            for database, name in list(catalog.tables):
                if database == action.drop_database:
                    await catalog.drop("table", f"{database}/{name}")
        if action.table is not None:
            await catalog.note_table(action.table)
        for name in action.forget:
            await catalog.drop("table", f"{self.client.database}/{name}")
        if action.put is not None:
            await catalog.put(*action.put)
        if action.drop is not None:
            await catalog.drop(*action.drop)


async def serve_sql(
    node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes
) -> None:
    """A SQL client has come."""
    try:
        client = await auth.greet(reader, writer, head, node.tls)
        while node.member is None:  # a node that is not in a cluster lets its clients wait
            if reader.at_eof():
                return
            await asyncio.sleep(0.1)
        session = await _open(node, client, reader, writer)
    except SqlError as error:
        writer.write(wire.error(error.sqlstate, error.message, "FATAL").packed)
        with suppress(OSError, ssl.SSLError):
            await writer.drain()
        return
    session.task = asyncio.current_task()
    node.sessions.add(session)
    node.counters.connections += 1
    node.counters.new_connections += 1
    try:
        await session.serve()
    except asyncio.CancelledError:
        if not node.draining:
            raise
    finally:
        node.sessions.discard(session)
        node.counters.connections -= 1
        session.backend.writer.close()


async def _open(
    node: Node, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Session:
    """Let a client in.

    Raises:
        SqlError: it may not come in, or asks for what there is not.
    """
    if node.draining:
        raise SqlError("57P01", "server is not accepting clients, try another node")
    if node.tls is not None:
        await auth.authenticate(client, reader, writer, node.catalog)
    for name in client.options:
        if name not in PASSED_ON | SESSION_VARIABLES:
            raise SqlError("42704", f'unrecognized configuration parameter "{name}"')
    options = {
        "default_transaction_isolation": "serializable",
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_S}s",
        "search_path": '"$user",\\ public,\\ standin',
        "standin.region": node.region,
        "standin.version": VERSION.replace(" ", "\\ "),
        **{k: v.replace(" ", "\\ ") for k, v in client.options.items() if k in PASSED_ON},
    }
    if on(client.options.get("default_transaction_use_follower_reads", "off")):
        options["default_transaction_read_only"] = "on"
    parameters = {
        "user": client.user,
        "database": client.database,
        "application_name": client.application,
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
    store = node.flags.store
    try:
        backend = await Backend.open(store.host, store.port, parameters)
    except Unreachable as error:
        raise SqlError("58000", f"the stand-in's PostgreSQL: {error}") from error
    gone = reader.at_eof
    transactions = Transactions(node, backend, client.database, gone)
    session = Session(node, client, reader, writer, backend, transactions)
    session.variables = {k: v for k, v in client.options.items() if k in SESSION_VARIABLES}
    transactions.timeout_s = seconds(client.options.get("statement_timeout", "0"))
    told = {"crdb_version": VERSION, "server_version": "13.0.0"}
    for message in backend.greeting:
        if message.kind == b"S" and wire.take_text(message.body)[0] in TOLD_BY_US:
            continue
        if message.kind == b"Z":
            for name, value in told.items():
                writer.write(wire.parameter_status(name, value).packed)
        writer.write(message.packed)
    await writer.drain()
    return session


def seconds(text: str) -> float:
    """A time-out as PostgreSQL writes it: milliseconds, unless a unit follows."""
    for unit, size in (("ms", 0.001), ("min", 60.0), ("s", 1.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size
    return float(text or 0) / 1000
