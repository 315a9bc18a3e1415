"""The picture for print: the same data as the interactive figure, as an SVG."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from histories import failover_run

from labkit.errors import BadInput
from labkit.report.figures import theme
from labkit.report.figures.chart import chart
from labkit.report.figures.map import cluster_map
from labkit.report.figures.saved import PICTURE
from labkit.report.figures.static import static_svg
from labkit.report.figures.timeline import timeline
from labkit.report.page import figures, report_html
from labkit.testing import FakeCluster

SVG = "{http://www.w3.org/2000/svg}"


def drawn(figure: go.Figure) -> ET.Element:
    return ET.fromstring(static_svg(figure))  # noqa: S314 - of our own making


def words(picture: ET.Element) -> str:
    return " | ".join("".join(text.itertext()) for text in picture.iter(f"{SVG}text"))


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def plot(**layout: object) -> go.Figure:
    return go.Figure(layout={"template": theme.TEMPLATE, "height": 400, **layout})


def test_every_figure_of_a_report_can_be_drawn():
    result = failover_run()
    for _, figure in figures(result):
        picture = drawn(figure)
        assert picture.get("role") == "img"
        assert len(picture) > 20


def test_a_timeline_has_its_regions_its_fault_and_its_write_gap():
    picture = drawn(timeline(failover_run()))
    said = words(picture)
    for text in ("us-west-2", "eu-west-1", "kill us-west-2/1", "write gap 6.05 s in us-west-2"):
        assert text in said
    fills = [rect.get("fill") for rect in picture.iter(f"{SVG}rect")]
    assert fills.count(theme.FAULT_FILL) == 2  # in both panels
    colors = {path.get("stroke") for path in picture.iter(f"{SVG}path")}
    assert set(theme.REGION_COLORS[:3]) <= colors


def test_a_line_goes_through_its_points_in_scale():
    figure = plot().add_scatter(x=[0, 5, 10], y=[0, 50, 100], mode="lines")
    figure.update_yaxes(range=[0, 100])
    (path,) = drawn(figure).iter(f"{SVG}path")
    (x0, y0), (x1, y1), (x2, y2) = points(path.get("d"))
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_a_logarithmic_axis_gives_each_decade_the_same_room():
    figure = plot().add_scatter(x=[0, 1, 2], y=[1, 10, 100], mode="lines")
    figure.update_yaxes(type="log")
    (path,) = drawn(figure).iter(f"{SVG}path")
    heights = [y for _, y in points(path.get("d"))]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_a_line_is_broken_where_a_point_is_missing():
    figure = plot().add_scatter(x=[0, 1, 2, 3], y=[1, float("nan"), 2, 3], mode="lines")
    (path,) = drawn(figure).iter(f"{SVG}path")
    assert path.get("d").count("M") == 2


def test_bars_stand_side_by_side_and_as_high_as_their_values():
    figure = plot(barmode="group").add_bar(x=["a", "b"], y=[1, 2], name="one")
    figure.add_bar(x=["a", "b"], y=[3, None], name="two")
    bars = [
        (float(rect.get("x")), float(rect.get("height")))
        for rect in drawn(figure).iter(f"{SVG}rect")
    ]
    places, heights = zip(*bars, strict=True)
    assert places[0] < places[2] < places[1] < places[3]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.3)
    assert heights[2] == pytest.approx(3 * heights[0], abs=0.3)
    assert heights[3] == 0


def test_a_name_stays_text_whatever_is_in_it():
    figure = plot(title="&lt;b&gt; &amp; so on").add_scatter(x=[0], y=[1], name="&lt;script&gt;")
    figure.add_scatter(x=[0], y=[1], name="other")
    picture = drawn(figure)
    assert "<script>" in words(picture)
    assert not list(picture.iter(f"{SVG}script"))
    assert picture.get("aria-label") == "<b> & so on"


def test_an_empty_figure_is_a_picture_too():
    assert drawn(plot()) is not None


def test_what_it_cannot_draw_is_refused():
    with pytest.raises(BadInput, match="scattergeo"):
        static_svg(plot().add_scattergeo(lat=[0], lon=[0]))


def test_a_figure_that_cannot_be_drawn_is_still_on_the_page_for_a_browser():
    markup = chart(plot().add_scattergeo(lat=[0], lon=[0]), first=False)
    assert "plotly-graph-div" in markup
    assert "<svg" not in markup


def test_a_report_has_a_picture_beside_every_interactive_figure():
    page = report_html(failover_run())
    assert page.count('class="lk-live"') == page.count('class="lk-static"') >= 1
    assert page.count('viewBox="0 0 1000 ') == page.count('class="lk-static"')


def test_a_map_has_its_nodes_and_links_in_words_and_keeps_its_shape():
    cluster = FakeCluster()
    cluster.start()
    picture = drawn(cluster_map(cluster.status(), cluster.topology))
    said = words(picture)
    for text in ("us-west-2", "1 primary", "3 sync", "66 ms", "fake: 9 of 9 nodes running"):
        assert text in said
    boxes = list(picture.iter(f"{SVG}rect"))
    shapes = {round(float(box.get("width")) / float(box.get("height")), 2) for box in boxes}
    assert shapes == {round(3.2 / 1.9, 2)}
    assert len(list(picture.iter(f"{SVG}path"))) == 3  # the links
    assert not list(picture.iter(f"{SVG}line"))  # and no grid


def test_numbers_in_plotlys_coded_form_are_drawn_like_others():
    figure = plot().add_scatter(x=np.arange(3.0), y=np.array([1.0, 5.0, 2.0]), mode="lines")
    coded = go.Figure(json.loads(figure.to_json()))
    assert "bdata" in figure.to_json()
    assert static_svg(coded) == static_svg(figure)


def test_a_figure_leaves_a_picture_in_a_notebook_and_others_are_left_alone():
    ours = timeline(failover_run())
    renderer = pio.renderers["labkit"]
    assert renderer.to_mimebundle(ours.to_dict())[PICTURE] == static_svg(ours)
    theirs = go.Figure().add_scatter(x=[0, 1], y=[0, 1])
    assert renderer.to_mimebundle(theirs.to_dict()) == {}
    too_new = plot().add_pie(values=[1, 2])
    assert renderer.to_mimebundle(too_new.to_dict()) == {}
