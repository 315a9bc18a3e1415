"""Money into an account, once however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Lock, Thread
from time import monotonic, time

from labkit.cluster.base import Cluster
from labkit.record import Outcome
from labkit.trading.accounts import Deposit, make_deposit
from labkit.trading.retries import Attempts, insist
from labkit.ui.line import ANSWER_S, Line
from labkit.ui.order_desk import GIVE_UP_S, STATES, TOO_LATE_S
from labkit.ui.polling import first_line


@dataclass(frozen=True, slots=True)
class Slip:
    """A deposit and how it stands.

    Attributes:
        deposit: None before the first one.
        state: "none", "sending", "acked", "refused" or "unknown".
        text: for people.
    """

    deposit: Deposit | None = None
    state: str = "none"
    text: str = ""

    def to_page(self) -> dict[str, object]:
        """Plain data for the page."""
        return {"state": self.state, "text": self.text}


class Teller:
    """Makes deposits, one at a time, each in a thread of its own.

    A deposit whose outcome is not known is asked for again, under its id, when the same amount is
    added again.
    """

    def __init__(
        self,
        cluster: Cluster,
        account_nbr: str,
        region: Callable[[], str],
        on_change: Callable[[Slip], None],
    ) -> None:
        """Make a teller without a deposit.

        Args:
            region: whose balancer the next deposit goes through.
            on_change: called from any thread when a deposit is sent, and when it has ended.
        """
        self._cluster, self._account_nbr = cluster, account_nbr
        self._region, self._on_change = region, on_change
        self._lock = Lock()
        self.slip = Slip()

    def deposit(self, amount: Decimal, clicked_s: float) -> bool:
        """Add money.

        Args:
            clicked_s: seconds since the epoch; a click that was too long on its way is not obeyed.

        Returns:
            False when there is nothing to do: one is under way, or the click came too late.

        Raises:
            BadInput: the amount is not positive, or not in whole cents.
        """
        region = self._region()
        place = self._cluster.topology.region_names.index(region)
        wanted = Deposit.new(self._account_nbr, amount, region_index=place)
        with self._lock:
            before = self.slip
            if before.state == "sending" or time() - clicked_s > TOO_LATE_S:
                return False
            if before.state == "unknown" and before.deposit and before.deposit.amount == amount:
                wanted = before.deposit
            self.slip = Slip(wanted, "sending", f"Adding {amount:,.2f}…")
            attempts = Attempts(Outcome.INFO if wanted is before.deposit else Outcome.FAIL)
        self._on_change(self.slip)
        Thread(
            target=self._send, args=(wanted, region, attempts), name="labkit-deposit", daemon=True
        ).start()
        return True

    def _send(self, deposit: Deposit, region: str, attempts: Attempts) -> None:
        reason = "an error in labkit"
        try:
            with closing(Line(self._cluster.dsn(region))) as line:
                insist(
                    line.connect,
                    lambda conn: make_deposit(conn, deposit),
                    deadline_s=monotonic() + GIVE_UP_S,
                    attempt_timeout_s=ANSWER_S,
                    attempts=attempts,
                )
            reason = first_line(attempts.error) if attempts.error else ""
        except Exception:  # a bug; an attempt may have come through all the same
            attempts.outcome = Outcome.INFO if attempts.count else Outcome.FAIL
            raise
        finally:  # a slip must not stay "sending" for good
            state = STATES[attempts.outcome]
            told = "added" if state == "acked" else f"not added: {reason}"
            if state == "unknown":
                told = f"outcome unknown ({reason}): add the same amount again, it is added once"
            self.slip = replace(self.slip, state=state, text=f"{deposit.amount:,.2f} {told}")
            self._on_change(self.slip)
