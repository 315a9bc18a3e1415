from __future__ import annotations

from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from labkit.cluster.status import NodeStatus, Role, State
from labkit.errors import UnknownTarget
from labkit.report.figures import theme

# Machado, Oliveira & Fernandes 2009, severity 1.0, applied to linear RGB
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(color: str) -> np.ndarray:
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(TO_XYZ[1] @ linear(color))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def cielab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_the_first_four_regions_stay_apart_in_every_colour_vision(vision: str) -> None:
    seen = [cielab(np.array(VISIONS[vision]) @ linear(c)) for c in theme.REGION_COLORS[:4]]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 15


def test_no_two_regions_share_both_colour_and_dash() -> None:
    assert len(set(zip(theme.REGION_COLORS, theme.REGION_DASHES, strict=True))) == 9


@pytest.mark.parametrize("page", [theme.LIGHT["surface"], theme.DARK["surface"]])
def test_every_line_and_mark_is_seen_on_light_and_dark_pages(page: str) -> None:
    marks = [*theme.ROLE_MARKS.values(), *theme.STATE_MARKS.values()]
    colors = [
        *theme.REGION_COLORS,
        *(mark.color for mark in marks),
        *theme.STATUS_COLORS.values(),
        theme.FAULT_LINE,
        theme.TEMPLATE.layout.font.color,
    ]
    assert {c: contrast(c, page) for c in colors if contrast(c, page) < 3} == {}


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK])
def test_text_that_follows_the_page_can_be_read_on_both_surfaces(tokens: dict[str, str]) -> None:
    for ink in ("ink", "muted", "accent", "good", "bad", "warn"):
        for surface in ("surface", "raised", "page"):
            assert contrast(tokens[ink], tokens[surface]) >= 4.5, (ink, surface)
    assert contrast(tokens["on-accent"], tokens["accent"]) >= 4.5


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK])
def test_the_edge_of_a_control_is_seen(tokens: dict[str, str]) -> None:
    for surface in ("surface", "raised", "page"):
        assert contrast(tokens["edge"], tokens[surface]) >= 3, surface


def test_a_region_keeps_its_colour_by_its_place() -> None:
    regions = ("us-west-2", "us-east-1", "eu-west-1")
    assert theme.region_color(regions, "us-east-1") == theme.REGION_COLORS[1]
    assert theme.region_dash(regions, "us-east-1") == "solid"
    with pytest.raises(UnknownTarget, match=r"no region 'mars': there are us-west-2, us-east-1"):
        theme.region_color(regions, "mars")


@pytest.mark.parametrize(
    ("role", "state", "word"),
    [
        (Role.PRIMARY, State.RUNNING, "primary"),
        (Role.PRIMARY, State.PAUSED, "paused"),
        (Role.SYNC, State.DOWN, "down"),
        (Role.UNKNOWN, State.RUNNING, "unknown"),
    ],
)
def test_a_node_that_does_not_run_is_marked_by_its_state(
    role: Role, state: State, word: str
) -> None:
    node = NodeStatus("a1/1", "a1", role, state, healthy=False, pid=None)
    assert theme.node_mark(node).word == word


def test_every_mark_has_a_shape_of_its_own() -> None:
    marks = [*theme.ROLE_MARKS.values(), *theme.STATE_MARKS.values()]
    assert len({mark.symbol for mark in marks}) == len({mark.glyph for mark in marks}) == 6


def test_the_template_is_known_to_plotly_by_name() -> None:
    figure = go.Figure(layout={"template": "labkit"})
    assert figure.layout.template.layout.font.family == theme.FONT_FAMILY
    assert "labkit" in pio.templates


def test_css_carries_every_token_for_light_and_dark() -> None:
    css = theme.css()
    for color in (*theme.REGION_COLORS, *theme.LIGHT.values(), *theme.DARK.values()):
        assert color in css
    dark = css.split('body[data-jp-theme-light="false"]')[1]
    assert f"--lk-ink: {theme.DARK['ink']};" in dark
    assert "prefers-color-scheme: dark" in css
    assert css.count("{") == css.count("}")


def test_no_figure_offers_to_upload_what_was_measured() -> None:
    assert "sendChartToCloud" in theme.TEMPLATE.layout.modebar.remove
