"""What a run left behind, ready to be asked: each order has a number, each answer is an array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from labkit.history import History, Outcome
from labkit.measurement.windows import is_ok
from labkit.trading.audit import FinalRead
from labkit.verdict.numbers import NO_ORDER, numbered


@dataclass(frozen=True, eq=False)
class Evidence:
    """What there is to judge by.

    Attributes:
        ledger: ids of acknowledged orders, written outside the database before they were counted.
        history: what the clients recorded.
        final: the read after healing, or None when there was none.
    """

    ledger: pd.Series
    history: History
    final: FinalRead | None

    @classmethod
    def of(cls, ledger: Iterable[str], history: History, final: FinalRead | None) -> Evidence:
        """Gather it; `ledger` may be any collection of ids."""
        columnar = ledger if isinstance(ledger, pd.Series) else list(ledger)
        return cls(pd.Series(columnar, dtype="str"), history, final)

    @cached_property
    def _numbered(self) -> tuple[tuple[np.ndarray, ...], int]:
        final = self.ledger[:0] if self.final is None else self.final.orders["order_id"]
        return numbered(self.history.ops["order_id"], self.ledger, final)

    @property
    def count(self) -> int:
        """How many distinct orders anybody speaks of; their numbers are below it."""
        return self._numbered[1]

    @property
    def in_history(self) -> np.ndarray:
        """The order's number of each row of `history.ops`; `NO_ORDER` for a read."""
        return self._numbered[0][0]

    @property
    def in_final(self) -> np.ndarray:
        """The order's number of each row of `final.orders`."""
        return self._numbered[0][2]

    @cached_property
    def ledgered(self) -> np.ndarray:
        """Which orders the ledger has. This and the following: a value an order, by its number."""
        return self._marked(self._numbered[0][1])

    @cached_property
    def acked_in_history(self) -> np.ndarray:
        """Which ones the history has as acknowledged."""
        return self._marked(self._of_outcome(is_ok(self.history.ops)))

    @cached_property
    def acked(self) -> np.ndarray:
        """Which ones the ledger or the history has as acknowledged."""
        return np.asarray(self.ledgered | self.acked_in_history)

    @cached_property
    def refused(self) -> np.ndarray:
        """Of which ones every attempt was certainly not applied, says the history."""
        failed = np.asarray(self.history.ops["outcome"] == str(Outcome.FAIL))
        return np.asarray(
            self._marked(self._of_outcome(failed)) & ~self._marked(self._of_outcome(~failed))
        )

    @cached_property
    def attempted(self) -> np.ndarray:
        """Which ones were ever tried, whatever came of it."""
        return np.asarray(self.ledgered | self._marked(self._of_outcome(slice(None))))

    @cached_property
    def rows(self) -> np.ndarray:
        """How many rows of the final read each order has."""
        return np.bincount(self.in_final, minlength=self.count)

    @cached_property
    def final_row(self) -> np.ndarray:
        """A row of the final read that each order has, -1 for none."""
        row = np.full(self.count, -1, dtype=np.int32)
        row[self.in_final] = np.arange(len(self.in_final), dtype=np.int32)
        return row

    @property
    def lost_orders(self) -> np.ndarray:
        """Which acknowledged ones the final read lacks; none when there was no final read."""
        if self.final is None:
            return np.zeros(self.count, dtype=bool)
        return np.asarray(self.acked & (self.rows == 0))

    @property
    def lost(self) -> tuple[str, ...]:
        """The ids of the lost ones."""
        return self.names(np.flatnonzero(self.lost_orders))

    def names(self, numbers: np.ndarray) -> tuple[str, ...]:
        """The ids of orders, as they were written where each was seen first."""
        columns = [self.history.ops["order_id"], self.ledger]
        if self.final is not None:
            columns.append(self.final.orders["order_id"])
        name: dict[int, str] = {}
        for ids, number in zip(columns, self._numbered[0], strict=False):
            rows = np.flatnonzero(np.isin(number, numbers))
            for key, text in zip(number[rows].tolist(), ids.iloc[rows].tolist(), strict=True):
                name.setdefault(key, text)
        return tuple(name[number] for number in numbers.tolist())

    def _of_outcome(self, chosen: np.ndarray | slice) -> np.ndarray:
        numbers = self.in_history[chosen]
        return np.asarray(numbers[numbers != NO_ORDER])

    def _marked(self, numbers: np.ndarray) -> np.ndarray:
        marks = np.zeros(self.count, dtype=bool)
        marks[numbers] = True
        return marks
