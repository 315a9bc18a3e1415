"""How a statement becomes part of a transaction, and a transaction durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from . import wire
from .errors import SqlError
from .postgres import Backend
from .translate import Control, Plan
from .wire import Message

if TYPE_CHECKING:
    from .node import Node

RETRIED = frozenset({"40001", "40P01"})
BEGIN_IMPLICIT = "BEGIN ISOLATION LEVEL REPEATABLE READ"
"""A write conflict makes a statement start anew, as in CockroachDB. Not SERIALIZABLE: PostgreSQL
would also hold reads against each other, by the page, for as long as another region takes to
answer; CockroachDB does it by the key (architecture/transaction-layer.md)."""
"""PostgreSQL's deadlocks are conflicts like others in CockroachDB."""
RETRY_TEXT = "restart transaction: TransactionRetryWithProtoRefreshError: "
ABORTED_TEXT = f"{RETRY_TEXT}TransactionAbortedError(ABORT_REASON_ABORTED_RECORD_FOUND)"


@dataclass(slots=True)
class Transactions:
    """The transactions of one session.

    Attributes:
        gone: whether the client has hung up.
        status: `I`, `T` or `E`, as the client knows it.
        timeout_s: of a statement, 0 without.
    """

    node: Node
    backend: Backend
    database: str
    gone: Callable[[], bool]
    status: bytes = b"I"
    timeout_s: float = 0.0
    _wrote: bool = False

    async def run(
        self,
        groups: Sequence[Sequence[Message]],
        *,
        writes: bool,
        stale: bool,
        again: Sequence[Message] = (),
    ) -> list[Message]:
        """Run groups of messages, each of which ends in a ready state, as one unit.

        Outside a transaction it is one of its own: run again on a conflict, since nothing has been
        sent to the client yet.

        Returns all answers, without the ready states.
        """
        deadline = monotonic() + self.timeout_s if self.timeout_s else float("inf")
        implicit = self.status == b"I"
        answer: list[Message] = []
        for attempt in range(1000):
            if not stale:
                await self._majority(deadline)
            prefix = again if attempt else ()
            attempted = await self._attempt(groups, prefix, wrap=implicit and writes)
            if attempted is not None:
                answer = attempted
                refused = wire.first_error(answer)
                if not implicit or refused is None or _sqlstate(refused) not in RETRIED:
                    break
            if self.gone():
                raise EOFError
            if monotonic() >= deadline:
                raise _timed_out()
            await asyncio.sleep(min(0.002 * attempt, 0.1))
        if not implicit:
            self._wrote = self._wrote or writes
        return [_as_cockroach_says(message) for message in answer]

    async def _attempt(
        self, groups: Sequence[Sequence[Message]], prefix: Sequence[Message], *, wrap: bool
    ) -> list[Message] | None:
        """Once. None: no other region took part, and all is rolled back."""
        if wrap:
            await self.backend.send(wire.query(BEGIN_IMPLICIT))
        answer: list[Message] = []
        for number, group in enumerate(groups):
            first = number == 0
            part = await self.backend.send(*(prefix if first else ()), *group)
            answer += part[len(prefix) :] if first and len(part) > len(prefix) else part
            if wire.first_error(part):
                break
        if not wrap:
            self._take_status(answer)
        elif wire.first_error(answer):
            await self.backend.send(wire.query("ROLLBACK"))
        else:
            answer += await self._commit()
            if answer[-1].kind == b"H":  # not PostgreSQL's: see _commit
                return None
        return [message for message in answer if message.kind != b"Z"]

    async def _commit(self) -> list[Message]:
        """Commit what was wrapped; its own answers are nothing to the client, its error is."""
        replicated = await self.node.replicate(self.database)
        if not replicated or self.gone():
            await self.backend.send(wire.query("ROLLBACK"))
            return [Message(b"H")]
        committed = await self.backend.send(wire.query("COMMIT"))
        self.node.counters.commits += 1
        refused = wire.first_error(committed)
        return [refused] if refused else []

    async def control(self, plan: Plan) -> list[Message]:
        """BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE."""
        if plan.control is Control.BEGIN and self.status == b"I":
            self._wrote = False
        if plan.control is Control.COMMIT and self.status == b"T" and self._wrote:
            if not await self.node.replicate(self.database):
                await self.backend.send(wire.query("ROLLBACK"))
                self.status = b"I"
                await self.node.quorum(self.gone)
                return [wire.error("40001", ABORTED_TEXT)]
            if self.gone():
                raise EOFError
        answer = await self.backend.send(wire.query(plan.sql))
        self._take_status(answer)
        if plan.control is Control.COMMIT and not wire.first_error(answer):
            self.node.counters.commits += 1
        return [_as_cockroach_says(message) for message in answer if message.kind != b"Z"]

    async def spoil(self) -> None:
        """Fail the transaction that the client is in."""
        answer = await self.backend.send(wire.query("SELECT 1/0"))
        self._take_status(answer)

    def _take_status(self, answer: Sequence[Message]) -> None:
        for message in answer:
            if message.kind == b"Z":
                self.status = message.body

    async def _majority(self, deadline: float) -> None:
        def enough() -> bool:
            if monotonic() >= deadline:
                raise _timed_out()
            return self.gone()

        await self.node.quorum(enough)


def _timed_out() -> SqlError:
    return SqlError("57014", "query execution canceled due to statement timeout")


def _sqlstate(error: Message) -> str:
    return wire.error_fields(error).get("C", "")


def _as_cockroach_says(message: Message) -> Message:
    """PostgreSQL's errors where CockroachDB's differ."""
    if message.kind != b"E":
        return message
    fields = wire.error_fields(message)
    if fields["C"] in RETRIED:
        return wire.error("40001", RETRY_TEXT + fields["M"])
    if fields["C"] == "42601":  # the documented grammar has it, or is not at hand
        return wire.error("0A000", f"the stand-in does not model: {fields['M']}")
    return message
