"""What the double refuses with."""

from __future__ import annotations


class SqlError(Exception):
    """An error to send to a SQL client.

    Attributes:
        sqlstate: five characters.
        message: its primary message.
    """

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{message} (SQLSTATE {sqlstate})")
        self.sqlstate = sqlstate
        self.message = message


class Refused(Exception):
    """A command line or a request between nodes that is refused; the message says why."""


class Unreachable(Exception):
    """The other end did not answer in time."""


def not_modelled(what: str) -> SqlError:
    return SqlError("0A000", f"the stand-in does not model: {what}")
