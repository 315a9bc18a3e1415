"""The evidence that a run left, indexed: each order has a number, each answer is an array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from labkit.history import OP_COLUMNS, SAMPLES_FILE, History, reading
from labkit.measurement import parts
from labkit.measurement.windows import is_ok
from labkit.record import OpKind, Outcome
from labkit.trading.audit import OPENING, ORDER_COLUMNS, FinalRead, read_in
from labkit.verdict.numbers import NO_ORDER, PIECE, OrderIds, numbered
from labkit.workload.ledger import ledger_entries

ORDER_ID = "order_id"


@dataclass(frozen=True, eq=False)
class Part:
    """All that a run left of a few symbols.

    Attributes:
        symbols: the codes of these, places in `Evidence.symbols`.
        ops: their rows of `history.ops`, in order.
        orders: their rows of `final.orders`, in order.
    """

    symbols: range
    ops: np.ndarray
    orders: np.ndarray


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence that a run is judged by.

    Attributes:
        ids: of all orders that anybody speaks of. An order's number is its place among them.
        in_ledger: the numbers of acknowledged orders, as written outside the database before they
            were counted.
        in_history: the order's number of each row of `history.ops`; `NO_ORDER` for a read.
        in_final: the order's number of each row of `final.orders`.
        history: what the clients recorded.
        final: the read after healing, or None when there was none.
        opening: the read before the load, or None when there was none.
    """

    ids: OrderIds
    in_ledger: np.ndarray
    in_history: np.ndarray
    in_final: np.ndarray
    history: History
    final: FinalRead | None
    opening: FinalRead | None = None

    @classmethod
    def of(
        cls,
        ledger: Iterable[str],
        history: History,
        final: FinalRead | None,
        opening: FinalRead | None = None,
    ) -> Evidence:
        """Gather it; `ledger` may be any collection of ids."""
        columnar = ledger if isinstance(ledger, pd.Series) else list(ledger)
        ids, (in_ledger, in_history, in_final) = numbered(
            pd.Series(columnar, dtype="str"),
            history.ops[ORDER_ID],
            pd.Series(dtype="str") if final is None else final.orders[ORDER_ID],
        )
        return cls(ids, in_ledger, in_history, in_final, history, final, opening)

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        """Gather it from files: `History.save`, `FinalRead.save` and the ledger in one folder.

        The read before the load is used where it is there.

        Ids are numbered as they are read; neither `history.ops` nor `final.orders` has their text.

        Raises:
            OSError: something is not there.
            BadInput: another version of labkit wrote it, or it is damaged.
        """
        ids, (in_ledger, in_history, in_final) = numbered(
            _pieces(ledger_entries(folder)),
            _column(folder / SAMPLES_FILE),
            _column(FinalRead.file(folder, "orders")),
        )
        return cls(
            ids,
            in_ledger,
            in_history,
            in_final,
            History.load(folder, columns=_but_the_id(OP_COLUMNS)),
            FinalRead.load(folder, order_columns=_but_the_id(ORDER_COLUMNS)),
            read_in(folder, OPENING),
        )

    def sound(self, rows: np.ndarray) -> Evidence:
        """Make evidence of which some rows of the history say nothing; all keep their numbers.

        An order of such a row may be in the database or not. A read of one was not answered.

        Args:
            rows: those that cannot be (`measurement.possible`).
        """
        ops = self.history.ops.copy()
        orders, others = (
            rows[some] for some in (self.in_history[rows] >= 0, self.in_history[rows] < 0)
        )
        rest = np.delete(ops["scheduled_s"].to_numpy(), rows)
        at_s = float(rest[0]) if len(rest) else 0.0
        for name, of_an_order, of_a_read in (
            ("kind", str(OpKind.ORDER), str(OpKind.FRESH_READ)),
            ("outcome", str(Outcome.INFO), str(Outcome.FAIL)),
        ):
            known = ops[name].cat.categories
            more = [value for value in (of_an_order, of_a_read) if value not in known]
            ops[name] = ops[name].cat.add_categories(more)
            ops.loc[orders, name] = of_an_order
            ops.loc[others, name] = of_a_read
        ops.loc[rows, ["scheduled_s", "finished_s"]] = at_s
        ops.loc[rows, "sent_s"] = np.nan
        ops.loc[rows, ["move_nbr", "price_cents"]] = pd.NA
        return replace(self, history=replace(self.history, ops=ops))

    @cached_property
    def instruments(self) -> pd.DataFrame:
        """Those of the final read, each symbol once; their places are the codes of symbols."""
        assert self.final is not None
        return _once(self.final.instruments, "symbol")

    @cached_property
    def accounts(self) -> pd.DataFrame:
        """Those of the final read, each once."""
        assert self.final is not None
        return _once(self.final.accounts, "account_nbr")

    @cached_property
    def own_orders(self) -> pd.DataFrame:
        """The orders of the final read, each once, whatever the database has twice."""
        assert self.final is not None
        orders = self.final.orders
        if len(orders) == (self.final_row >= 0).sum():  # millions are not copied for nothing
            return orders
        return orders.iloc[np.sort(self.final_row[self.final_row >= 0])]

    @property
    def count(self) -> int:
        """Tell how many distinct orders anybody speaks of; their numbers are below it."""
        return len(self.ids)

    @cached_property
    def ledgered(self) -> np.ndarray:
        """Return a boolean per order number: True if the ledger has the order."""
        return self._marked(self.in_ledger)

    @cached_property
    def acked_in_history(self) -> np.ndarray:
        """Tell which ones the history has as acknowledged."""
        return self._marked(self._of_outcome(is_ok(self.history.ops)))

    @cached_property
    def acked(self) -> np.ndarray:
        """Tell which ones the ledger or the history has as acknowledged."""
        return np.asarray(self.ledgered | self.acked_in_history)

    @cached_property
    def untimed(self) -> np.ndarray:
        """The rows of `history.ops` that cannot be: answered before they were sent, or never sent.

        One monotonic clock timed them all, so the recording is defective.
        """
        ops = self.history.ops
        sent_s, finished_s = ops["sent_s"].to_numpy(), ops["finished_s"].to_numpy()
        timed = (sent_s <= finished_s) & np.isfinite(sent_s) & np.isfinite(finished_s)
        never_sent = np.isnan(sent_s) & ~is_ok(ops)
        return np.flatnonzero(~(timed | never_sent))

    @cached_property
    def refused(self) -> np.ndarray:
        """Of which ones every attempt was certainly not applied, says the history."""
        failed = np.asarray(self.history.ops["outcome"] == str(Outcome.FAIL))
        return np.asarray(
            self._marked(self._of_outcome(failed)) & ~self._marked(self._of_outcome(~failed))
        )

    @cached_property
    def attempted(self) -> np.ndarray:
        """Tell which ones were ever tried, whatever came of it."""
        return np.asarray(self.ledgered | self._marked(self._of_outcome(slice(None))))

    @cached_property
    def rows(self) -> np.ndarray:
        """Tell how many rows of the final read each order has."""
        return np.bincount(self.in_final, minlength=self.count).astype(np.int32)

    @cached_property
    def final_row(self) -> np.ndarray:
        """A row of the final read that each order has, -1 for none."""
        row = np.full(self.count, -1, dtype=np.int32)
        row[self.in_final] = np.arange(len(self.in_final), dtype=np.int32)
        return row

    @property
    def lost_orders(self) -> np.ndarray:
        """Tell which acknowledged ones the final read lacks; none when there was no final read."""
        if self.final is None:
            return np.zeros(self.count, dtype=bool)
        return np.asarray(self.acked & (self.rows == 0))

    @property
    def lost(self) -> tuple[str, ...]:
        """The ids of the lost ones."""
        return self.names(np.flatnonzero(self.lost_orders))

    def names(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """Return the ids of orders."""
        return tuple(self.ids.name(number) for number in numbers)

    @cached_property
    def symbols(self) -> pd.Index:
        """Those of the final read's instruments, in their order; then what else is spoken of."""
        if self.final is None:
            return _texts(self.history.ops["symbol"])
        known = pd.Index(self.instruments["symbol"], dtype="str")
        spoken = _texts(self.history.ops["symbol"]).union(_texts(self.final.orders["symbol"]))
        every: pd.Index = known.append(spoken.difference(known))
        return every

    @cached_property
    def op_symbol(self) -> np.ndarray:
        """The symbol of each row of `history.ops`, by its place in `symbols`."""
        return self._coded(self.history.ops["symbol"])

    @cached_property
    def order_symbol(self) -> np.ndarray:
        """The symbol of each row of `final.orders`."""
        return self._coded(self.final.orders["symbol"]) if self.final else np.empty(0, np.int32)

    def by_symbol(self) -> Iterator[Part]:
        """All of it, a few symbols at a time."""
        for symbols in parts.parts(len(self.symbols), self.op_symbol, self.order_symbol):
            yield Part(
                symbols,
                parts.rows_in(symbols, self.op_symbol),
                parts.rows_in(symbols, self.order_symbol),
            )

    def _coded(self, names: pd.Series) -> np.ndarray:
        found = pd.Categorical(names)
        places = self.symbols.get_indexer(_texts(names))
        return places.astype(np.int32)[np.asarray(found.codes)]

    def _of_outcome(self, chosen: np.ndarray | slice) -> np.ndarray:
        numbers = self.in_history[chosen]
        return np.asarray(numbers[numbers != NO_ORDER])

    def _marked(self, numbers: np.ndarray) -> np.ndarray:
        marks = np.zeros(self.count, dtype=bool)
        marks[numbers] = True
        return marks


def _once(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Each key's first row; the frame itself where no key is there twice."""
    return frame if frame[key].is_unique else frame.drop_duplicates(key, ignore_index=True)


def _texts(column: pd.Series) -> pd.Index:
    """Return the distinct texts, in the order of their codes."""
    texts: pd.Index = pd.Index(pd.Categorical(column).categories, dtype="str")
    return texts


def _but_the_id(columns: Iterable[str]) -> list[str]:
    return [name for name in columns if name != ORDER_ID]


def _pieces(ids: Iterator[str]) -> Iterator[Any]:
    while piece := list(islice(ids, PIECE)):
        yield pa.array(piece, type=pa.large_string())


def _column(path: Path) -> Iterator[Any]:
    with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(PIECE, columns=[ORDER_ID]):
            yield batch.column(0)
