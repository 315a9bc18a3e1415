"""Made-up runs, judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import pandas as pd
from histories import (
    Step,
    Trade,
    final_of,
    history_of,
    ledger_of,
)

from labkit.record import OpKind, Outcome
from labkit.trading.audit import ORDER_COLUMNS, FinalRead
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict

OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO
FRESH, REPLICA = OpKind.FRESH_READ, OpKind.REPLICA_READ


def evidence(
    steps: Sequence[Step],
    *,
    ledger: Sequence[str] | None = None,
    final: FinalRead | None = None,
) -> Evidence:
    """What a faithful run leaves of these steps, but for what is given."""
    return Evidence.of(
        ledger_of(steps) if ledger is None else ledger,
        history_of(steps),
        final or final_of(steps),
        final_of([]),
    )


def with_orders(final: FinalRead, change: Callable[[pd.DataFrame], pd.DataFrame]) -> FinalRead:
    return replace(final, orders=change(final.orders.copy()))


def an_id(number: int) -> str:
    return str(UUID(int=(7 << 80) + number))


def trades_of(steps: Sequence[Step]) -> list[Trade]:
    return [step for step in steps if isinstance(step, Trade)]


def findings(seen: Evidence) -> dict[str, Finding]:
    found = (checker.check(seen) for checker in CHECKERS)
    return {finding.checker: finding for finding in found if finding is not None}


def names_of(finding: Finding) -> list[str]:
    return [offender.split(":")[0] for offender in finding.offenders]


def failures(found: Mapping[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.verdict is Verdict.FAIL}


def assert_caught(seen: Evidence, checker: str, *offenders: str, also: Sequence[str] = ()) -> None:
    """That checker fails and names the offenders; of the others only `also` may fail."""
    found = findings(seen)
    assert checker in failures(found) <= {checker, *also}
    assert names_of(found[checker]) == list(offenders)
    assert found[checker].count == len(offenders)


def changed(final: FinalRead, order_id: str, column: str, value: object) -> FinalRead:
    """The same with one value of one order exchanged."""
    orders = final.orders.astype(object)  # a category takes no value that it does not have
    orders.loc[orders["order_id"] == order_id, column] = value
    return replace(final, orders=orders.astype(ORDER_COLUMNS))
