from __future__ import annotations

from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.trading.ids import OrderIdParts, RunId, parts
from labkit.trading.orders import Order, Side

runs = st.builds(RunId, st.integers(0, 2**48 - 1))
workers = st.integers(0, 2**12 - 1)
sequences = st.integers(0, 2**62 - 1)


@given(runs, workers, sequences)
def test_an_order_id_is_a_version_8_uuid_that_tells_who_made_it(
    run: RunId, worker: int, sequence: int
) -> None:
    order_id = run.order_id(worker, sequence)
    assert (order_id.version, order_id.variant) == (8, RFC_4122)
    assert parts(order_id) == OrderIdParts(run, worker, sequence)


@given(runs, runs, workers, sequences)
def test_the_orders_of_a_run_are_one_range_of_ids(
    run: RunId, other: RunId, worker: int, sequence: int
) -> None:
    """PostgreSQL orders UUIDs as their bytes do, as Python does."""
    inside = run.first <= other.order_id(worker, sequence) <= run.last
    assert inside == (other == run)


@given(runs, st.tuples(workers, sequences), st.tuples(workers, sequences))
def test_ids_of_a_run_sort_by_worker_and_sequence(
    run: RunId, a: tuple[int, int], b: tuple[int, int]
) -> None:
    assert (run.order_id(*a) < run.order_id(*b)) == (a < b)


@given(runs)
def test_a_run_id_reads_back_from_its_text(run: RunId) -> None:
    assert len(str(run)) == 12
    assert RunId.parse(str(run)) == run


def test_orders_of_people_have_ids_of_their_own() -> None:
    """Also when many are made within the second that starts a run id."""
    orders = [Order.new("0005821112", "AAPL", Side.BUY, 1) for _ in range(2_000)]
    assert len({order.order_id for order in orders}) == 2_000


def test_an_order_of_a_person_tells_the_persons_region() -> None:
    def worker(order: Order) -> int:
        found = parts(order.order_id)
        assert found
        return found.worker

    assert worker(Order.new("0005821112", "AAPL", Side.BUY, 1)) == 0
    assert worker(Order.new("0005821112", "AAPL", Side.BUY, 1, region_index=2)) == 2
    with pytest.raises(BadInput, match="region_index -1"):
        Order.new("0005821112", "AAPL", Side.BUY, 1, region_index=-1)


def test_an_id_that_no_worker_makes_has_no_parts() -> None:
    assert parts(uuid4()) is None
    run = RunId.new()
    assert parts(run.first) is None
    assert parts(UUID(int=run.order_id(0, 0).int ^ 1 << 62)) is None, "the variant's bits"


def test_runs_started_later_have_greater_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    earlier = RunId.new()
    monkeypatch.setattr("time.time", lambda: 1_700_000_001.0)
    assert earlier < RunId.new()


@pytest.mark.parametrize(("worker", "sequence"), [(-1, 0), (2**12, 0), (0, -1), (0, 2**62)])
def test_numbers_that_do_not_fit_are_refused(worker: int, sequence: int) -> None:
    with pytest.raises(ValueError, match="not a number of"):
        RunId(0).order_id(worker, sequence)


def test_a_run_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number of 48 bits"):
        RunId(2**48)
