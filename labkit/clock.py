"""Waiting with a deadline, and wall-clock times on the monotonic clock.

Waits use monotonic clocks only: a wall clock that steps must not end a wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep, time

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


def _offset_s() -> float:
    return time() - monotonic()


@dataclass(frozen=True, slots=True)
class Anchor:
    """Difference between the wall clock and the monotonic clock when this was made.

    Attributes:
        offset_s: wall clock minus monotonic clock.
    """

    offset_s: float = field(default_factory=_offset_s)

    def monotonic_s(self, wall_s: float) -> float:
        """Convert a wall-clock time, in seconds since the epoch, to the monotonic clock."""
        return wall_s - self.offset_s

    def drift_s(self) -> float:
        """Tell how far the wall clock was set since: what its times may be wrong by.

        Less than a millisecond is 0: two clocks cannot be read at once.
        """
        drift_s = abs(_offset_s() - self.offset_s)
        return drift_s if drift_s >= 0.001 else 0.0
