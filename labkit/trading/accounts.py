"""Opening accounts, and putting money into them.

Like an order, each has an id that its client made, and is asked for again under that id when no
answer came: what is there already is answered, not done twice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from labkit.errors import BadInput
from labkit.trading.attempts import Rows, attempt, raise_refusal
from labkit.trading.engines import dialect_of
from labkit.trading.ids import new_id
from labkit.trading.money import check_whole_cents

ACCOUNT_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to open, and its user, who may have others already.

    Attributes:
        account_id: made by the client before the first attempt, as `account_nbr` and `user_id`.
        account_nbr: the number people use, ten digits.
        region: where it lives on CockroachDB, near the client that trades it; elsewhere it makes
            no difference.
        name: of the user, if they are new.
        may_short: whether it may sell shares that it does not hold.

    Raises:
        BadInput: the number is not ten digits, or the opening balance is negative or not in whole
            cents.
    """

    account_id: UUID
    account_nbr: str
    user_id: UUID
    name: str
    region: str
    opening_balance: Decimal = Decimal(0)
    may_short: bool = False

    def __post_init__(self) -> None:
        nbr = self.account_nbr
        text = isinstance(nbr, str)
        if not (text and len(nbr) == ACCOUNT_DIGITS and nbr.isascii() and nbr.isdigit()):
            raise BadInput(f"account number {nbr!r} refused: it has {ACCOUNT_DIGITS} digits")
        check_whole_cents("opening balance", self.opening_balance, least=Decimal(0))

    @classmethod
    def new(
        cls,
        name: str,
        region: str,
        *,
        opening_balance: Decimal = Decimal(0),
        may_short: bool = False,
    ) -> NewAccount:
        """Make an account of a new user, under fresh ids and a number drawn at random.

        Raises:
            BadInput: the opening balance is negative or not in whole cents.
        """
        nbr = f"{secrets.randbelow(10**ACCOUNT_DIGITS):0{ACCOUNT_DIGITS}d}"
        return cls(uuid4(), nbr, uuid4(), name, region, opening_balance, may_short)


def create_account(conn: psycopg.Connection[Any], account: NewAccount) -> bool:
    """Open an account, or learn that an earlier attempt under its ids has opened it.

    Args:
        conn: in autocommit mode and outside a transaction.

    Returns:
        Whether an earlier attempt had opened it.

    Raises:
        AccountConflict: its number or its id is taken by another account.
        OutcomeUnknown: the server gave up waiting for its standbys.
        BadInput: `conn` is in a transaction.
        psycopg.Error: the attempt failed; `attempts.reply_of` says what that means.
    """
    arguments = _account_arguments(account)
    return _was_created(attempt(conn, dialect_of(conn).create_account, arguments))


def _account_arguments(account: NewAccount) -> dict[str, object]:
    return {
        "account_id": account.account_id,
        "account_nbr": account.account_nbr,
        "user_id": account.user_id,
        "name": account.name,
        "region": account.region,
        "opening_balance": account.opening_balance,
        "may_short": account.may_short,
    }


def _was_created(rows: Rows) -> bool:
    [(was_created_before, refusal, reason)] = rows
    raise_refusal(refusal, reason)
    return bool(was_created_before)


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money to put into an account.

    Attributes:
        deposit_id: made by the client before the first attempt (labkit.trading.ids).

    Raises:
        BadInput: the amount is not positive, or not in whole cents.
    """

    deposit_id: UUID
    account_nbr: str
    amount: Decimal

    def __post_init__(self) -> None:
        check_whole_cents("deposit", self.amount, least=Decimal("0.01"))

    @classmethod
    def new(cls, account_nbr: str, amount: Decimal, *, region_index: int = 0) -> Deposit:
        """Make a deposit of a person at a keyboard, under a fresh id.

        Args:
            region_index: the person's region, by its place in the topology; as in `Order.new`.

        Raises:
            BadInput: the amount is not positive, or not in whole cents; or `region_index` is no
                region's place.
        """
        return cls(new_id(region_index), account_nbr, amount)


@dataclass(frozen=True, slots=True)
class DepositReceipt:
    """The database's word that a deposit is made.

    Attributes:
        balance: of the account, with the deposit; in the answer to a retry as it is by then.
        retried: an earlier attempt had made it.
    """

    deposit_id: UUID
    balance: Decimal
    retried: bool


def make_deposit(conn: psycopg.Connection[Any], deposit: Deposit) -> DepositReceipt:
    """Put money into an account, or learn that an earlier attempt under its id has done so.

    Args:
        conn: in autocommit mode and outside a transaction.

    Raises:
        UnknownAccount: no such account.
        DepositConflict: the id was used before for a different deposit.
        OutcomeUnknown: the server gave up waiting for its standbys.
        BadInput: `conn` is in a transaction.
        psycopg.Error: the attempt failed; `attempts.reply_of` says what that means.
    """
    rows = attempt(conn, dialect_of(conn).deposit, _deposit_arguments(deposit))
    return _deposit_receipt(deposit, rows)


def _deposit_arguments(deposit: Deposit) -> dict[str, object]:
    return {
        "deposit_id": deposit.deposit_id,
        "account_nbr": deposit.account_nbr,
        "amount": deposit.amount,
    }


def _deposit_receipt(deposit: Deposit, rows: Rows) -> DepositReceipt:
    [(balance, retried, refusal, reason)] = rows
    raise_refusal(refusal, reason)
    return DepositReceipt(deposit.deposit_id, balance, retried)
