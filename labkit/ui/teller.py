"""Money into an account, once however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Lock, Thread
from time import monotonic, sleep, time

import psycopg

from labkit.cluster.base import Cluster
from labkit.errors import LabError
from labkit.record import Outcome
from labkit.trading.accounts import Deposit, make_deposit
from labkit.trading.attempts import Reply
from labkit.trading.retries import Fate, reconnect_pause_s
from labkit.ui.line import Line
from labkit.ui.order_desk import GIVE_UP_S, TOO_LATE_S
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
            fate = Fate(Outcome.INFO if wanted is before.deposit else Outcome.FAIL)
        self._on_change(self.slip)
        Thread(
            target=self._send, args=(wanted, region, fate), name="labkit-deposit", daemon=True
        ).start()
        return True

    def _send(self, deposit: Deposit, region: str, fate: Fate) -> None:
        reason = "an error in labkit"
        try:
            with closing(Line(self._cluster.dsn(region))) as line:
                reason = self._insist(line, deposit, fate)
        except Exception:  # a bug; an attempt may have come through all the same
            fate.outcome = Outcome.INFO if fate.attempts else Outcome.FAIL
            raise
        finally:  # a slip must not stay "sending" for good
            state = {"ok": "acked", "fail": "refused", "info": "unknown"}[fate.outcome]
            told = "added" if state == "acked" else f"not added: {reason}"
            if state == "unknown":
                told = f"not known whether it was added ({reason}): add it again to ask"
            self.slip = replace(self.slip, state=state, text=f"{deposit.amount:,.2f} {told}")
            self._on_change(self.slip)

    def _insist(self, line: Line, deposit: Deposit, fate: Fate) -> str:
        """Attempt it until its fate is known or time is up; the reason is the last error's."""
        begun_s, reason = monotonic(), ""
        while fate.refusal is None and monotonic() - begun_s < GIVE_UP_S:
            try:
                line.connect()
            except psycopg.Error as error:
                reason, pause_s = first_line(error), reconnect_pause_s()
            else:
                fate.attempt()
                try:
                    line.ask(lambda conn: make_deposit(conn, deposit))
                except (psycopg.Error, LabError) as error:
                    reason = first_line(error)
                    if fate.failed(error) is Reply.REFUSED:
                        break
                    pause_s = fate.backoff_s
                else:
                    fate.succeeded()
                    break
            sleep(pause_s)
        return reason
