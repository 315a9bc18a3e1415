"""The table of nodes that came back after a fault, and in which way."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from labkit.cluster.base import Cluster, TellsRejoin
from labkit.verdict.result import Result


def restart_table(result: Result) -> pd.DataFrame:
    """Tabulate the nodes that a rolling restart restarted, in the order of their restarts.

    Returns:
        A row per node: `stop_s` and `start_s` (labkit.record.NodeRestart).
    """
    restarts = [restart for window in result.history.faults for restart in window.restarts]
    rows = [(one.node, one.stop_s, one.start_s) for one in restarts]
    return pd.DataFrame(rows, columns=["node", "stop_s", "start_s"]).set_index("node").round(1)


_COLUMNS = ("node", "how", "started_s", "following_s", "took_s")


def rejoin_table(cluster: Cluster, result: Result) -> pd.DataFrame:
    """Tabulate the nodes that came back after the faults of a run.

    Call it before anything else is done to the cluster.

    Returns:
        A row a node: `how` ("stream", "rewind" or "copy"), `started_s` and `following_s` in
        seconds since the first fault, and the time between them as `took_s`; NaN where it does
        not follow yet. Empty where the run had no fault, or the engine cannot tell.
    """
    faults = result.history.faults
    if not faults or not isinstance(cluster, TellsRejoin):
        return pd.DataFrame(columns=list(_COLUMNS)).set_index("node")
    origin_s = min(fault.injected_s for fault in faults) + result.history.anchor_s
    rows = []
    for one in cluster.rejoins(datetime.fromtimestamp(origin_s, UTC)):
        following_at = one.following_at.timestamp() if one.following_at else float("nan")
        rows.append(
            {
                "node": one.node,
                "how": one.how,
                "started_s": one.started_at.timestamp() - origin_s,
                "following_s": following_at - origin_s,
                "took_s": following_at - one.started_at.timestamp(),
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS)).set_index("node").round(1)
