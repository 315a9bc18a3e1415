"""Trials side by side: how long service was gone in each, and how far that spreads."""

from __future__ import annotations

import plotly.graph_objects as go

from labkit.cluster.status import Role
from labkit.errors import BadInput
from labkit.measurement.rounding import seconds
from labkit.plain import escape
from labkit.report.figures import theme
from labkit.report.words import rto_words, spread_of
from labkit.verdict.limits import number_of
from labkit.verdict.measures import MEASURES
from labkit.verdict.result import Result
from labkit.verdict.summary import Trial

HEIGHT_PX = 420
_BARS = (("rto_s", theme.REGION_COLORS[0]), ("write_gap_s", "#6b7f8c"))


def _label(measure: str, trial: Trial) -> str:
    """Label a bar; the RTO has its error."""
    row = trial.worst_recovery
    if measure == "rto_s" and row is not None and row.rto_s is not None:
        return rto_words(row)
    value = number_of(measure, trial)
    return "" if value is None else seconds(value)


def trials_figure(result: Result) -> go.Figure:
    """RTO and write gap of each trial, its worst region; the median of the RTO as a line.

    A trial whose service did not come back has no bar.

    Raises:
        BadInput: the result has no trials.
    """
    summary = result.summary
    if not summary.trials:
        raise BadInput(f"{summary.scenario} was done once: there are no trials to show")
    names = [
        f"trial {trial.number}<br>{escape(trial.fault or 'no fault')}" for trial in summary.trials
    ]
    figure = go.Figure()
    for measure, color in _BARS:
        values = [number_of(measure, trial) for trial in summary.trials]
        figure.add_bar(
            x=names,
            y=values,
            name=MEASURES[measure].label,
            marker={"color": color},
            text=[_label(measure, trial) for trial in summary.trials],
            textposition="inside",
            insidetextanchor="end",
            textangle=0,
            textfont={"color": "#ffffff"},
            hovertemplate="%{text}",
        )
    rto = spread_of(summary, "rto_s")
    if rto is not None and rto.median is not None:
        figure.add_scatter(
            x=names,
            y=[rto.median] * len(names),
            mode="lines",
            name=f"median RTO {seconds(rto.median, rto.median_error)}",
            line={"color": theme.ROLE_MARKS[Role.PRIMARY].color, "dash": "dash", "width": 2.5},
            hoverinfo="skip",
        )
    figure.update_layout(
        template=theme.TEMPLATE,
        height=HEIGHT_PX,
        barmode="group",
        title={"text": escape(f"{summary.scenario} on {summary.backend}: {len(names)} trials")},
        margin={"t": 104},
    )
    figure.update_yaxes(title_text="seconds")
    figure.update_xaxes(type="category")
    return figure
