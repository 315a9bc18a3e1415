from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.trading.ids import OrderIdParts, RunId, parts
from labkit.trading.orders import Side
from labkit.workload.schedule import Planned, plan
from labkit.workload.shape import Shape

rates = st.floats(0.1, 10_000)
seeds = st.integers(0, 2**63)
workers = st.integers(0, 8)
RUN = RunId(7)


def some(
    count: int,
    *,
    run: RunId = RUN,
    worker: int = 0,
    rate_per_s: float = 20.0,
    seed: int = 1,
    accounts: tuple[str, ...] = ("a", "b", "c"),
    symbols: tuple[str, ...] = ("X", "Y"),
    skew: float = 0.0,
) -> list[Planned]:
    endless = plan(
        run,
        worker,
        rate_per_s=Shape.of(rate_per_s),
        seed=seed,
        accounts=accounts,
        symbols=symbols,
        skew=skew,
    )
    return list(islice(endless, count))


@given(workers, seeds)
def test_the_same_seed_plans_the_same_orders_under_other_ids(worker: int, seed: int) -> None:
    other_run = RunId(8)
    first = some(30, worker=worker, seed=seed)
    again = some(30, worker=worker, seed=seed, run=other_run)
    assert first == some(30, worker=worker, seed=seed)
    assert again == [
        p._replace(order=replace(p.order, order_id=other_run.order_id(worker, n)))
        for n, p in enumerate(first)
    ]


@given(seeds)
def test_workers_and_seeds_differ(seed: int) -> None:
    times_s = {
        tuple(p.at_s for p in some(3, worker=worker, seed=s))
        for worker in (0, 1)
        for s in (seed, seed + 1)
    }
    assert len(times_s) == 4


@given(workers)
def test_ids_are_numbered_in_the_order_of_sending(worker: int) -> None:
    made = [parts(p.order.order_id) for p in some(10, worker=worker)]
    assert made == [OrderIdParts(RUN, worker, n) for n in range(10)]


@given(seeds)
def test_a_row_comes_up_again_only_after_all_others(seed: int) -> None:
    accounts = tuple(f"a{n}" for n in range(7))
    symbols = tuple(f"S{n}" for n in range(5))
    orders = [p.order for p in some(70, seed=seed, accounts=accounts, symbols=symbols)]
    for start in range(0, 70, 7):
        assert {o.account_nbr for o in orders[start : start + 7]} == set(accounts)
    for start in range(0, 70, 5):
        assert {o.symbol for o in orders[start : start + 5]} == set(symbols)


def test_each_account_of_each_worker_is_a_session_of_its_own() -> None:
    planned = {worker: some(30, worker=worker) for worker in (0, 1)}
    pairs = {(w, p.order.account_nbr, p.session) for w, plans in planned.items() for p in plans}
    assert len(pairs) == 6
    assert len({session for _, _, session in pairs}) == 6


def test_buys_and_sells_of_all_sizes_occur() -> None:
    orders = [p.order for p in some(2_000)]
    sides = Counter(order.side for order in orders)
    assert sides[Side.BUY] == pytest.approx(1_000, abs=100)
    assert {order.quantity for order in orders} == set(range(1, 11))


@pytest.mark.parametrize("skew", [0.5, 1.0, 2.0])
def test_with_skew_the_first_symbols_are_hot(skew: float) -> None:
    symbols = tuple(f"S{n}" for n in range(1, 11))
    seen = Counter(p.order.symbol for p in some(20_000, symbols=symbols, skew=skew))
    weights = [n**-skew for n in range(1, 11)]
    for n, symbol in enumerate(symbols):
        assert seen[symbol] / 20_000 == pytest.approx(weights[n] / sum(weights), abs=0.015)


@given(seeds)
def test_skew_changes_symbols_only(seed: int) -> None:
    even, hot = some(20, seed=seed), some(20, seed=seed, skew=1.0)
    assert hot == some(20, seed=seed, skew=1.0)
    assert even == [
        p._replace(order=replace(p.order, symbol=q.order.symbol))
        for p, q in zip(hot, even, strict=True)
    ]


def test_in_a_closed_loop_every_order_is_due_at_once() -> None:
    endless = plan(RUN, 0, rate_per_s=None, seed=1, accounts=("a",), symbols=("X",))
    assert {planned.at_s for planned in islice(endless, 50)} == {0.0}
