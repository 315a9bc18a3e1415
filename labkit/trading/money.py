"""Amounts of money: whole cents, as DECIMAL(20,2) holds them."""

from __future__ import annotations

from decimal import Decimal

from labkit.errors import BadInput


def cents(amount: Decimal) -> int:
    """Convert an amount to whole cents."""
    return int(amount * 100)


def check_whole_cents(what: str, amount: Decimal, *, least: Decimal) -> None:
    """Refuse an amount that a column of money could not hold as it is.

    Args:
        what: names it in the error, such as "deposit".

    Raises:
        BadInput: less than `least`, not in whole cents, or no Decimal.
    """
    if not isinstance(amount, Decimal):
        raise BadInput(f"{what} of {amount!r} refused: it is a Decimal, such as Decimal('9.99')")
    if not amount.is_finite() or amount < least or amount != round(amount, 2):
        raise BadInput(f"{what} of {amount} refused: {least} or more, in whole cents")
