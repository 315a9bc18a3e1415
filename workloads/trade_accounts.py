"""Accounts opened and funded: a class for dbworkload, and for `labkit load accounts`.

    dbworkload run -w workloads/trade_accounts.py --uri "$(labkit dsn us-east-1)" -c 4 -d 60

Each loop is a new customer who opens an account, puts money in, and looks an instrument up.
Arguments (`--args '{"region_index": 1}'`), all optional:

    region_index  the customers' region, by its place in the topology; CockroachDB keeps their
                  accounts there
    region        its name; it must be given for a place that the default topology does not have
    seed          makes amounts and symbols the same in every run; numbers are always fresh
    regions, process  may be given, as to trade_orders, and change nothing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random
from typing import Any

import psycopg

from labkit.errors import TradingError
from labkit.trading.accounts import Deposit, NewAccount, create_account, make_deposit
from labkit.trading.catalogue import LISTED_SYMBOLS
from labkit.trading.quotes import quote
from labkit.workload.arguments import Arguments

LARGEST_DEPOSIT = 10_000
"""Deposits are drawn from 1 to this, in whole units of money."""


class TradeAccounts:
    """One thread of new customers, one after the other."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = Arguments.of(args)
        self._random = Random(self._args.seed)
        self._account: NewAccount | None = None
        self._deposit: Deposit | None = None

    def setup(self, _conn: psycopg.Connection[Any], id: int, _threads: int) -> None:  # noqa: A002 - dbworkload's name
        """Draw what no other thread draws."""
        if self._args.seed is not None:
            self._random = Random(f"{self._args.seed} {self._args.region_index} {id}")

    def loop(self) -> list[Callable[[psycopg.Connection[Any]], None]]:
        """Return what is still to do for the customer at hand, or all of it for the next one."""
        if self._account is None and self._deposit is None:
            self._account = NewAccount.new("A customer of the lab", self._args.region)
            amount = Decimal(self._random.randint(1, LARGEST_DEPOSIT))
            self._deposit = Deposit.new(
                self._account.account_nbr, amount, region_index=self._args.region_index
            )
        steps: list[Callable[[psycopg.Connection[Any]], None]] = []
        if self._account is not None:
            steps.append(self.create_account)
        return [*steps, self.deposit, self.look_up]

    def create_account(self, conn: psycopg.Connection[Any]) -> None:
        """Open the account; without an answer it stays at hand, under the same ids."""
        assert self._account is not None
        try:
            create_account(conn, self._account)
        except TradingError:
            self._account = self._deposit = None  # refused, as it would be again
            raise
        self._account = None

    def deposit(self, conn: psycopg.Connection[Any]) -> None:
        """Put money into it; likewise."""
        assert self._deposit is not None
        try:
            make_deposit(conn, self._deposit)
        except TradingError:
            self._deposit = None
            raise
        self._deposit = None

    def look_up(self, conn: psycopg.Connection[Any]) -> None:
        """Read the price of an instrument."""
        quote(conn, self._random.choice(LISTED_SYMBOLS))
