"""The extended query protocol: Parse, Bind, Execute up to a Sync, as one batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import wire
from .errors import SqlError, not_modelled
from .text import split
from .translate import Context, Plan, translate
from .wire import Message


@dataclass(slots=True)
class Batch:
    """What came up to a Sync, as PostgreSQL is to get it.

    Attributes:
        unseen: kinds of answers at the beginning that the client did not ask for.
        again: what must go before `messages` when they are sent a second time.
    """

    messages: list[Message] = field(default_factory=list)
    unseen: list[bytes] = field(default_factory=list)
    again: list[Message] = field(default_factory=list)

    def unseen_removed(self, answer: list[Message]) -> list[Message]:
        expected = list(self.unseen)
        kept = []
        for message in answer:
            if expected and message.kind == expected[0]:
                expected.pop(0)
            else:
                kept.append(message)
        return kept

    def pretended(self, tag: str) -> list[Message]:
        """The answer to a batch that PostgreSQL never saw."""
        answers = {
            b"P": [Message(b"1")],
            b"B": [Message(b"2")],
            b"C": [Message(b"3")],
            b"D": [Message(b"n")],
            b"E": [wire.complete(tag)],
        }
        return [part for message in self.messages for part in answers.get(message.kind, [])]


@dataclass(slots=True)
class Extended:
    """What a session remembers of the extended protocol: its prepared statements."""

    texts: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    waiting: list[Message] = field(default_factory=list)

    def add(self, message: Message) -> Batch | None:
        """Take a message; a Sync makes a batch of what has come.

        Raises:
            EOFError: a kind that is not spoken here: the session must end.
        """
        if message.kind not in (b"P", b"B", b"D", b"E", b"C", b"S", b"H"):
            raise EOFError(f"the stand-in does not model: message {message.kind!r}")
        if message.kind != b"H":  # Flush: the client will have its answers at the Sync
            self.waiting.append(message)
        if message.kind != b"S":
            return None
        batch, self.waiting = Batch(self.waiting), []
        return batch

    def plan(self, batch: Batch, context: Context) -> list[Plan]:
        """Translate what is parsed in a batch; gives the plans of all that is bound in it.

        Raises:
            SqlError: a statement is refused.
        """
        used: list[Plan] = []
        messages: list[Message] = []
        for message in batch.messages:
            if message.kind == b"P":
                message, name = self._parse(message, context)
                if name:
                    batch.again.append(_close(name))
                if self.plans[name].action is not None:
                    used.append(self.plans[name])
            elif message.kind == b"B":
                _, at = wire.take_text(message.body)
                name, _ = wire.take_text(message.body, at)
                if name not in self.plans:
                    raise SqlError("26000", f'prepared statement "{name}" does not exist')
                if name and self.plans[name].volatile:
                    self._renew(batch, messages, name, context)
                used.append(self.plans[name])
            elif message.kind == b"C" and message.body[:1] == b"S":
                name, _ = wire.take_text(message.body, 1)
                self.plans.pop(name, None)
            messages.append(message)
        batch.messages = messages
        return used

    def _parse(self, message: Message, context: Context) -> tuple[Message, str]:
        name, at = wire.take_text(message.body)
        text, end = wire.take_text(message.body, at)
        statements = split(text)
        if len(statements) > 1:
            raise SqlError("42601", "cannot insert multiple commands into a prepared statement")
        plan = translate(statements[0], context) if statements else Plan("", stale=True)
        if plan.action is not None and name:
            raise not_modelled(f"preparing {plan.action.tag}")
        self.plans[name], self.texts[name] = plan, text
        return Message(b"P", wire.text(name, plan.sql) + message.body[end:]), name

    def _renew(self, batch: Batch, messages: list[Message], name: str, context: Context) -> None:
        """A prepared SHOW tells what is true now, not what was true when it was prepared."""
        plan = translate(split(self.texts[name])[0], context)
        self.plans[name] = plan
        parse = Message(b"P", wire.text(name, plan.sql) + b"\0\0")
        messages[:0] = [_close(name), parse]
        batch.unseen += [b"3", b"1"]


def _close(name: str) -> Message:
    return Message(b"C", b"S" + wire.text(name))
