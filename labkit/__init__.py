"""A lab for multi-region databases: the words of a notebook's author.

    import labkit as lab

    cluster = lab.connect()
    experiment = lab.Experiment(
        cluster,
        lab.TradingWorkload(rate_per_s=60),
        steady=lab.SteadyState(p99_ms=400),
        fault=lab.Kill(cluster.leader()),
    )
    result = experiment.run(watch=lab.LiveBoard())
    result = result.require(rto_s=15, lost_acks=0, duplicates=0)

Each name is imported when it is first used, so that a small part of labkit, such as the WAN
process, loads nothing else. Modules inside labkit import from each other, never from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.cluster.base import resolve as resolve
    from labkit.faults.brownout import Brownout as Brownout
    from labkit.faults.disaster import Disaster as Disaster
    from labkit.faults.inject import applied as applied
    from labkit.faults.links import Direction as Direction
    from labkit.faults.partition import Partition as Partition
    from labkit.faults.signals import Kill as Kill
    from labkit.faults.signals import Pause as Pause
    from labkit.faults.signals import Stop as Stop
    from labkit.faults.slow import Slow as Slow
    from labkit.lab import connect as connect
    from labkit.lab import surviving as surviving
    from labkit.measurement.consistency import lost_updates as lost_updates
    from labkit.measurement.consistency import seen_elsewhere as seen_elsewhere
    from labkit.measurement.felt import felt_latency as felt_latency
    from labkit.measurement.reads import read_rates as read_rates
    from labkit.measurement.steps import by_step as by_step
    from labkit.operations.nodes import AddNode as AddNode
    from labkit.operations.rolling import RollingRestart as RollingRestart
    from labkit.operations.rolling import rolling_restart as rolling_restart
    from labkit.report.figures.beside import beside as beside
    from labkit.report.figures.beside import beside_table as beside_table
    from labkit.report.figures.beside import price_figure as price_figure
    from labkit.report.figures.felt import felt_beside as felt_beside
    from labkit.report.figures.felt import felt_figure as felt_figure
    from labkit.report.figures.felt import node_table as node_table
    from labkit.report.figures.map import cluster_map as cluster_map
    from labkit.report.figures.rejoin import rejoin_table as rejoin_table
    from labkit.report.figures.rejoin import restart_table as restart_table
    from labkit.report.figures.steps import steps_figure as steps_figure
    from labkit.report.figures.tables import failure_table as failure_table
    from labkit.report.figures.tables import latency_table as latency_table
    from labkit.report.figures.tables import service_table as service_table
    from labkit.report.figures.timeline import timeline as timeline
    from labkit.report.figures.trials import trials_figure as trials_figure
    from labkit.report.figures.waterfall import waterfall as waterfall
    from labkit.report.figures.waterfall import waterfall_table as waterfall_table
    from labkit.report.result import Result as Result
    from labkit.run.experiment import Experiment as Experiment
    from labkit.run.trials import Trials as Trials
    from labkit.topology import SurvivalGoal as SurvivalGoal
    from labkit.topology import Topology as Topology
    from labkit.trading.orders import Order as Order
    from labkit.trading.orders import Side as Side
    from labkit.trading.orders import place_order as place_order
    from labkit.ui.cluster_map import ClusterMap as ClusterMap
    from labkit.ui.live_board import LiveBoard as LiveBoard
    from labkit.ui.trading_desk import TradingDesk as TradingDesk
    from labkit.verdict.finding import Verdict as Verdict
    from labkit.verdict.steady import SteadyState as SteadyState
    from labkit.workload.classes import ClassWorkload as ClassWorkload
    from labkit.workload.shape import Ramp as Ramp
    from labkit.workload.shape import Steps as Steps
    from labkit.workload.trading import TradingWorkload as TradingWorkload

_HOME = {
    "AddNode": "labkit.operations.nodes",
    "Brownout": "labkit.faults.brownout",
    "ClassWorkload": "labkit.workload.classes",
    "ClusterMap": "labkit.ui.cluster_map",
    "Direction": "labkit.faults.links",
    "Disaster": "labkit.faults.disaster",
    "Experiment": "labkit.run.experiment",
    "Kill": "labkit.faults.signals",
    "LiveBoard": "labkit.ui.live_board",
    "Order": "labkit.trading.orders",
    "Partition": "labkit.faults.partition",
    "Pause": "labkit.faults.signals",
    "Ramp": "labkit.workload.shape",
    "Result": "labkit.report.result",
    "RollingRestart": "labkit.operations.rolling",
    "Side": "labkit.trading.orders",
    "Slow": "labkit.faults.slow",
    "SteadyState": "labkit.verdict.steady",
    "Steps": "labkit.workload.shape",
    "Stop": "labkit.faults.signals",
    "SurvivalGoal": "labkit.topology",
    "Topology": "labkit.topology",
    "TradingDesk": "labkit.ui.trading_desk",
    "TradingWorkload": "labkit.workload.trading",
    "Trials": "labkit.run.trials",
    "Verdict": "labkit.verdict.finding",
    "applied": "labkit.faults.inject",
    "beside": "labkit.report.figures.beside",
    "beside_table": "labkit.report.figures.beside",
    "by_step": "labkit.measurement.steps",
    "cluster_map": "labkit.report.figures.map",
    "connect": "labkit.lab",
    "failure_table": "labkit.report.figures.tables",
    "felt_beside": "labkit.report.figures.felt",
    "felt_figure": "labkit.report.figures.felt",
    "felt_latency": "labkit.measurement.felt",
    "latency_table": "labkit.report.figures.tables",
    "lost_updates": "labkit.measurement.consistency",
    "node_table": "labkit.report.figures.felt",
    "place_order": "labkit.trading.orders",
    "price_figure": "labkit.report.figures.beside",
    "read_rates": "labkit.measurement.reads",
    "rejoin_table": "labkit.report.figures.rejoin",
    "resolve": "labkit.cluster.base",
    "restart_table": "labkit.report.figures.rejoin",
    "rolling_restart": "labkit.operations.rolling",
    "seen_elsewhere": "labkit.measurement.consistency",
    "service_table": "labkit.report.figures.tables",
    "steps_figure": "labkit.report.figures.steps",
    "surviving": "labkit.lab",
    "timeline": "labkit.report.figures.timeline",
    "trials_figure": "labkit.report.figures.trials",
    "waterfall": "labkit.report.figures.waterfall",
    "waterfall_table": "labkit.report.figures.waterfall",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"labkit has no {name!r}: it has {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
