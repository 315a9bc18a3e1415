"""Several runs beside each other: a table, a figure with one row per run, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.errors import BadInput
from labkit.measurement.percentiles import percentile
from labkit.measurement.rounding import seconds
from labkit.measurement.windows import is_ok, latency_s, per_window, run_end_s, watched_orders
from labkit.plain import escape
from labkit.report.figures import theme
from labkit.report.figures.timeline import shade
from labkit.report.words import rto_words
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result

_ROW_PX = 170
_WIDTH_S = 0.5
_HEADROOM = 1.35
"""How much higher than the data a row is: its label stands there."""


def beside_table(results: Mapping[str, Result]) -> pd.DataFrame:
    """Tabulate what several runs cost, one row per run.

    Returns:
        Index: the names given. `rto_s`, which may be off by `rto_error_s`, and `write_gap_s` are
        those of the worst region (NaN: not known, see the report), `not_acked` and `lost_acks`
        count orders, `rpo_s` is how much acknowledged work is missing, `p50_ms` and `p99_ms` are
        the latency of all regions' acknowledged orders that ended before the first fault,
        `p50_fault_ms` and `p99_fault_ms` of those that ended between a fault's injection and its
        healing. These are all of them, in an outage or not: the report's phase "during" leaves an
        outage out. A p99 of fewer than 100 orders is NaN. `p50_near_ms` is that before the fault in
        the fastest region, which is the primary's: there it shows what a commit waits for.
        Of orders that were due after the watch ended nothing but lost acks is counted.

    Raises:
        BadInput: there are no results.
    """
    rows = [{"run": name, **_row(result)} for name, result in _some(results).items()]
    counts = dict.fromkeys(("not_acked", "lost_acks", "duplicates"), "Int64")
    return pd.DataFrame(rows).astype(counts).set_index("run").round(2)


def beside(results: Mapping[str, Result]) -> go.Figure:
    """Draw orders acknowledged per second in each region, one row per run, since its first fault.

    Raises:
        BadInput: there are no results.
    """
    results = _some(results)
    count = len(results)
    figure = make_subplots(
        rows=count, cols=1, shared_xaxes=True, vertical_spacing=min(0.06, 0.3 / count)
    )
    for row, (name, result) in enumerate(results.items(), start=1):
        _draw(figure, row, name, result)
    figure.update_layout(
        template=theme.TEMPLATE,
        height=130 + _ROW_PX * count,
        title={
            "text": "Orders acknowledged a second",
            "y": 1,
            "yref": "container",
            "pad": {"t": 20},
        },
        margin={"t": 90},
        legend={"y": 1, "yref": "paper", "yanchor": "bottom"},
    )
    figure.update_xaxes(title_text="seconds since the fault", row=count, col=1)
    return figure


def price_figure(results: Mapping[str, Result]) -> go.Figure:
    """Draw the daily price of each run against the price of its fault: latency across, RTO upwards.

    A run that did not recover while it was watched stands where the watching ended, with an arrow.

    Raises:
        BadInput: there are no results.
    """
    table = beside_table(results)
    figure = go.Figure(
        layout={
            "template": theme.TEMPLATE,
            "title": "What a commit costs against what the fault costs",
            "height": 460,
            "hovermode": "closest",
            "xaxis": {
                "title": "order p50 before the fault in the primary's region, ms",
                "rangemode": "tozero",
            },
            "yaxis": {"title": "seconds until orders were served again", "rangemode": "tozero"},
            "showlegend": False,
        }
    )
    for name, result in results.items():
        row = table.loc[name]
        known = not np.isnan(row["rto_s"])
        lost = _count(result, "lost_acks")
        losses = "losses unknown" if lost is None else f"{lost:,} acknowledged orders lost"
        figure.add_scatter(
            x=[row["p50_near_ms"]],
            y=[row["rto_s"] if known else _gone_s(result)],
            mode="markers+text",
            text=f"<b>{escape(name)}</b>{'' if known else ' (not back)'}<br>{losses}",
            textposition="top center",
            cliponaxis=False,
            marker={
                "size": 18,
                "symbol": "circle" if known else "triangle-up",
                "color": theme.STATUS_COLORS["ok" if lost == 0 else "bad"],
            },
            hovertemplate="%{x:.0f} ms, %{y:.1f} s<extra></extra>",
        )
    # room for the names above and beside the outermost marks
    heights = [float(trace.y[0]) for trace in figure.data]
    figure.update_yaxes(range=[0, 1.3 * max(*heights, 1.0)])
    figure.update_xaxes(
        range=[-0.1 * table["p50_near_ms"].max(), 1.25 * table["p50_near_ms"].max()]
    )
    return figure


def _some(results: Mapping[str, Result]) -> Mapping[str, Result]:
    if not results:
        raise BadInput("there are no results to put beside each other")
    return results


def _row(result: Result) -> dict[str, float | int | str | None]:
    summary = result.summary
    slowest, gap = summary.worst_recovery, summary.worst_write_gap
    orders = watched_orders(result.history)
    ok = is_ok(orders)
    faults = result.history.faults
    finished_s = orders["finished_s"].to_numpy()
    before = finished_s < min((fault.injected_s for fault in faults), default=np.inf)
    during = np.zeros(len(orders), dtype=bool)
    for fault in faults:
        healed_s = np.inf if fault.healed_s is None else fault.healed_s
        during |= (finished_s >= fault.injected_s) & (finished_s < healed_s)
    quiet = orders[ok & before]
    p50_ms, p99_ms = _percentiles_ms(quiet)
    p50_fault_ms, p99_fault_ms = _percentiles_ms(orders[ok & during])
    return {
        "verdict": str(result.verdict),
        "rto_s": np.nan if slowest is None or slowest.rto_s is None else slowest.rto_s,
        "rto_error_s": np.nan if slowest is None or slowest.rto_s is None else slowest.rto_error_s,
        "write_gap_s": np.nan if gap is None or gap.write_gap_s is None else gap.write_gap_s,
        "not_acked": int((~ok).sum()),
        "lost_acks": _count(result, "lost_acks"),
        "duplicates": _count(result, "duplicates"),
        "rpo_s": np.nan if summary.rpo_s is None else summary.rpo_s,
        "p50_near_ms": min(
            (_percentiles_ms(here)[0] for _, here in quiet.groupby("region", observed=True)),
            default=float("nan"),
        ),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "p50_fault_ms": p50_fault_ms,
        "p99_fault_ms": p99_fault_ms,
    }


def _percentiles_ms(orders: pd.DataFrame) -> tuple[float, float]:
    if orders.empty:
        return float("nan"), float("nan")
    found_ms = latency_s(orders) * 1000
    p50_ms, p99_ms = (percentile(found_ms, percent) for percent in (50, 99))
    return np.nan if p50_ms is None else p50_ms, np.nan if p99_ms is None else p99_ms


def _count(result: Result, checker: str) -> int | None:
    """Give what a checker counted; None when it had no evidence."""
    finding = result.summary.finding(checker)
    return None if finding is None or finding.verdict is Verdict.UNKNOWN else finding.count


def _gone_s(result: Result) -> float:
    """Tell how long service had been gone when nobody watched any more."""
    return max((row.at_least_s for row in result.summary.recovery), default=0.0)


def _draw(figure: go.Figure, row: int, name: str, result: Result) -> None:
    history = result.history
    faults = history.faults
    origin_s = min((fault.injected_s for fault in faults), default=float("nan"))
    if not faults:
        origin_s = float(history.ops["scheduled_s"].min()) if len(history.ops) else 0.0
    points = per_window(history, origin_s=origin_s, width_s=_WIDTH_S)
    for region in history.regions:
        here = points[points["region"] == region]
        figure.add_scatter(
            x=here["at_s"],
            y=here["acked_per_s"],
            name=region,
            legendgroup=region,
            showlegend=row == 1,
            mode="lines",
            line={
                "color": theme.region_color(history.regions, region),
                "dash": theme.region_dash(history.regions, region),
                "shape": "hv",
            },
            hovertemplate="%{y:,.0f} acked/s",
            row=row,
            col=1,
        )
    for fault in faults:
        shade(figure, fault, origin_s, run_end_s(history.ops), row)
    most_per_s = float(points["acked_per_s"].max()) if len(points) else 1.0
    figure.update_yaxes(range=[0, _HEADROOM * (most_per_s or 1.0)], row=row, col=1)
    figure.add_annotation(
        text=f"<b>{escape(name)}</b>  {escape(_caption(result))}",
        x=0,
        xref=f"x{'' if row == 1 else row} domain",
        y=1,
        yref=f"y{'' if row == 1 else row} domain",
        xanchor="left",
        yanchor="top",
        xshift=6,
        yshift=-2,
        showarrow=False,
        font={"size": theme.SIZE_PX["text"]},
    )


def _caption(result: Result) -> str:
    slowest, gap = result.summary.worst_recovery, result.summary.worst_write_gap
    if slowest is None:
        return "no fault"
    words = [f"RTO {rto_words(slowest)}"]
    if gap is not None and gap.write_gap_s is not None:
        words.append(f"write gap {seconds(gap.write_gap_s)} in {gap.region}")
    lost = result.summary.finding("lost_acks")
    if lost is not None and lost.count:
        words.append(f"{lost.count:,} lost")
    return ", ".join(words)
