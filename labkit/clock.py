"""Waiting with a deadline. Monotonic clocks only: a wall clock that steps must not end a wait."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from labkit.errors import NotReady


def wait_until(
    ready: Callable[[], object],
    *,
    what: str,
    timeout_s: float,
    poll_s: float = 0.1,
    hint: Callable[[], str] | None = None,
) -> None:
    """Poll `ready` until it is true.

    Args:
        ready: called at least once; what it raises is not caught.
        what: names the awaited thing in the error.
        timeout_s: seconds until giving up.
        poll_s: seconds between two calls.
        hint: asked once after the deadline for what was last seen; ends the message.

    Raises:
        NotReady: `ready` stayed false for `timeout_s`.
    """
    deadline_s = monotonic() + timeout_s
    while not ready():
        if monotonic() >= deadline_s:
            seen = f" ({hint()})" if hint else ""
            raise NotReady(f"{what}: not ready after {timeout_s:g} s{seen}")
        sleep(poll_s)
