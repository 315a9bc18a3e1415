"""What a run left behind, ready to be asked: sets of order ids and the final read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from labkit.history import History, Outcome
from labkit.measurement.windows import is_ok
from labkit.trading.audit import FinalRead


@dataclass(frozen=True, eq=False)
class IdSet:
    """A set of order ids that stays in columns: millions, without a Python object each.

    Attributes:
        values: each id once.
    """

    values: pa.LargeStringArray

    @classmethod
    def of(cls, ids: Iterable[str] = ()) -> IdSet:
        """Out of any collection of ids."""
        columnar = ids if isinstance(ids, pd.Series) else list(ids)
        return cls(pc.unique(pa.array(columnar, type=pa.large_string())))

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        return (str(value) for value in self.values)

    def __or__(self, other: IdSet) -> IdSet:
        return IdSet(pc.unique(pa.concat_arrays([self.values, other.values])))

    def __and__(self, other: IdSet) -> IdSet:
        return IdSet(self.values.filter(pc.is_in(self.values, value_set=other.values)))

    def __sub__(self, other: IdSet) -> IdSet:
        shared = pc.is_in(self.values, value_set=other.values)
        return IdSet(self.values.filter(pc.invert(shared)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What there is to judge by.

    Attributes:
        ledger: ids of acknowledged orders, written outside the database before they were counted.
        history: what the clients recorded.
        final: the read after healing, or None when there was none.
    """

    ledger: IdSet
    history: History
    final: FinalRead | None

    @classmethod
    def of(cls, ledger: Iterable[str], history: History, final: FinalRead | None) -> Evidence:
        """Gather it; `ledger` may be any collection of ids."""
        return cls(IdSet.of(ledger), history, final)

    @cached_property
    def acked_in_history(self) -> IdSet:
        """Ids that the history has as acknowledged."""
        return self._orders(is_ok(self.history.ops))

    @cached_property
    def acked(self) -> IdSet:
        """Ids that the ledger or the history has as acknowledged."""
        return self.ledger | self.acked_in_history

    @cached_property
    def refused(self) -> IdSet:
        """Ids of which every attempt was certainly not applied, says the history."""
        failed = np.asarray(self.history.ops["outcome"] == str(Outcome.FAIL))
        return self._orders(failed) - self._orders(~failed)

    @cached_property
    def attempted(self) -> IdSet:
        """Ids that were ever tried, whatever came of it."""
        return self.ledger | self._orders(np.full(len(self.history.ops), True))

    @cached_property
    def executed(self) -> IdSet:
        """Ids in the final read; none when there was no final read."""
        return IdSet.of() if self.final is None else IdSet.of(self.final.orders["order_id"])

    @cached_property
    def lost(self) -> IdSet:
        """Acknowledged ids that the final read lacks; none when there was no final read."""
        return IdSet.of() if self.final is None else self.acked - self.executed

    def _orders(self, chosen: np.ndarray) -> IdSet:
        ids = self.history.ops["order_id"][chosen]
        return IdSet.of(ids[ids != ""])
