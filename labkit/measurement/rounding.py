"""Numbers as text, each no finer than it is known."""

from __future__ import annotations

from math import ceil

UNKNOWN = "unknown"


def rounded(value: float, error: float) -> str:
    """Write a number no finer than it is known: `6.9 ± 0.1`, `under 0.3` where none was seen.

    The error is rounded up and the value to the same place, so that the truth is within what is
    written.
    """
    if error <= 0:
        return f"{value:.4g}"
    places = decimals(error)
    unit = 10.0**-places
    shown = round(value, places)
    off = ceil((error + abs(value - shown)) / unit - 1e-6) * unit
    if value == 0:
        return f"under {off:.{places}f}"
    return f"{shown:.{places}f} ± {off:.{places}f}"


def decimals(error: float) -> int:
    """Say how many digits after the point a number has whose error is so large; 3 at most."""
    return next((places for places in range(3) if 10.0**-places <= 1.05 * error), 3)


def seconds(value: float, error: float = 0.0) -> str:
    """`0.05 s`, `6.25 s`, `14.2 s`, `140 s`: three digits; `6.9 s ± 0.1 s` with an error."""
    if error > 0:
        return rounded(value, error).replace(" ±", " s ±") + " s"
    return (
        f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"
    )


def milliseconds(value: float | None) -> str:
    """`2.4`, `366`, `6,012`: milliseconds, a dash where there are none."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash in a table
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def percent(share: float) -> str:
    """`93.75 %`, `97 %`: no more digits than there are."""
    return f"{round(share * 100, 2):g} %"


def written(value: float | None, unit: str, error: float = 0.0) -> str:
    """Write a number with its unit ("s", "ms" or none), and its error where it has one."""
    if value is None:
        return UNKNOWN
    if unit == "s":
        return seconds(value, error)
    return f"{milliseconds(value)} ms" if unit == "ms" else f"{value:,.10g}"
