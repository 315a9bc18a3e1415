"""The figure of an outage's stages: one bar per stage, one lane per region."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from labkit.errors import BadInput
from labkit.measurement.waterfall import RegionWaterfall, Stage, Waterfall
from labkit.plain import escape
from labkit.report.figures import theme
from labkit.report.words import STAGES, sighting_words, waterfall_cells
from labkit.verdict.result import Result

LANE = 0.26
"""How high a bar is; the lanes of three regions fill a stage's row to four fifths."""
PIXELS_A_STAGE = 64
ROOM = 1.15
"""How much longer than the outage the axis is: the last label stands there."""
_AT_ONCE = (Stage.EFFECT, Stage.DETECTED, Stage.ELECTED)
"""What begins with the fault itself, side by side."""
_SHOWN = tuple(STAGES)[1:]  # the injection is where the axis begins


def waterfall(result: Result) -> go.Figure:
    """Draw the outage of the first fault of a run (of its worst trial), since the injection.

    A bar leads to its stage from what it waited for, and so shows what that step took: the probe,
    the balancer and the election wait for nothing but the fault, what comes after them for the
    latest stage above. A thin line before its end says how long the stage may have gone unnoticed.
    What nobody noticed has no bar and says so.

    Raises:
        BadInput: the run had no fault.
    """
    shown = _of(result)
    names = [region.region for region in shown.regions]
    figure = go.Figure()
    for lane, region in enumerate(shown.regions):
        _draw(figure, names, region, (lane - (len(names) - 1) / 2) * LANE)
    figure.update_layout(
        template=theme.TEMPLATE,
        title=escape(f"{shown.fault}: from the fault to the first acknowledged order"),
        height=150 + PIXELS_A_STAGE * len(_SHOWN),
        hovermode="closest",
        barmode="overlay",
        margin={"t": 104},
    )
    last_s = max(s.at_s or 0.0 for region in shown.regions for s in region.stages)
    figure.update_xaxes(title_text="seconds since the injection", range=[0, ROOM * (last_s or 1.0)])
    figure.update_yaxes(
        tickvals=list(range(len(_SHOWN))),
        ticktext=[STAGES[stage] for stage in _SHOWN],
        range=[len(_SHOWN) - 0.5, -0.5],  # the first stage stands on top
    )
    return figure


def waterfall_table(result: Result) -> pd.DataFrame:
    """Tabulate the waterfall: a row per stage, a column per region, "not seen" without evidence.

    Raises:
        BadInput: the run had no fault.
    """
    cells = waterfall_cells(_of(result))
    rows = dict(cells.rows)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(cells.regions))


def _of(result: Result) -> Waterfall:
    if result.waterfall is None:
        raise BadInput(
            f"{result.summary.scenario} had no fault, so there is no outage to draw: "
            "give Experiment a fault"
        )
    return result.waterfall


def _draw(figure: go.Figure, names: list[str], region: RegionWaterfall, lane: float) -> None:
    bases, lengths, unsure, labels, hovers = [], [], [], [], []
    before_s = [0.0]
    for stage in _SHOWN:
        seen = region.seen(stage)
        at_s = max(before_s) if seen.at_s is None else seen.at_s
        from_s = 0.0 if stage in _AT_ONCE else max(s for s in before_s if s <= at_s)
        bases.append(from_s)
        lengths.append(0.0 if seen.at_s is None else at_s - from_s)
        unsure.append(seen.within_s if seen.not_before_s else 0.0)  # else the bar says it
        labels.append(f" {sighting_words(region, seen)}")
        said = f"{seen.source}: {seen.detail}" if seen.detail else seen.source
        hovers.append(escape(said or "no evidence"))
        # the probe of a fault is slow to look: what comes after it need not have waited for it
        if stage is not Stage.EFFECT:
            before_s.append(at_s)
    color = theme.region_color(names, region.region)
    figure.add_bar(
        orientation="h",
        name=region.region,
        y=[row + lane for row in range(len(_SHOWN))],
        x=lengths,
        base=bases,
        width=LANE * 0.9,
        marker={"color": color},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [0.0] * len(_SHOWN),
            "arrayminus": unsure,
            "thickness": 1.5,
            "width": 0,
            "color": theme.STATUS_COLORS["neutral"],
        },
        text=labels,
        textposition="outside",
        textfont={"size": theme.SIZE_PX["small"]},
        cliponaxis=False,
        customdata=[[STAGES[stage], hover] for stage, hover in zip(_SHOWN, hovers, strict=True)],
        hovertemplate="%{customdata[0]}:%{text}<br>%{customdata[1]}",
    )
