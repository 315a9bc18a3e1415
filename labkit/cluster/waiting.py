"""Waiting for a lab's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from labkit.clock import wait_until
from labkit.errors import ClusterError, NotReady


def await_parts(
    what: str,
    ready: Callable[[], bool],
    timeout_s: float,
    *,
    parts: Iterable[str],
    ended: Callable[[str], bool],
    last_words: Callable[[str], str],
    advice: str,
    poll_s: float = 0.1,
    hint: Callable[[], str] | None = None,
) -> None:
    """Wait; give up at once when one of the parts that it depends on has ended.

    Args:
        what: names what is awaited.
        parts: of the lab: what `ended` and `last_words` take.
        last_words: the end of a part's log.
        advice: what to look at, or to try, when it took too long.

    Raises:
        ClusterError: a part ended; names it and its last words.
        NotReady: it took too long.
    """
    parts = list(parts)

    def check() -> bool:
        if ready():
            return True
        for part in parts:
            if ended(part):
                raise ClusterError(f"{what}: {part} ended: {last_words(part)}")
        return False

    try:
        wait_until(check, what=what, timeout_s=timeout_s, poll_s=poll_s, hint=hint)
    except NotReady as error:
        raise NotReady(f"{error}; {advice}") from None
