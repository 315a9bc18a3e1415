"""The base of all operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.cluster.base import Cluster
from labkit.faults.base import Fault, Probe


@dataclass(frozen=True)
class Operation(Fault):
    """A change that is over when its injection returns.

    An experiment measures it as it measures a fault: clients may notice it, it must show an effect,
    and healing undoes what is left of it. The injection returns its result.
    """

    def probe(self, cluster: Cluster) -> Probe:
        """Tell that it is still to be done; a result looks for its effect."""
        return Probe(False, f"{self.label}: not done yet")

    def mend(self, cluster: Any) -> None:
        """Do nothing, unless something is left of an operation that failed, or to be undone."""
