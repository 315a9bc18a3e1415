"""Several runs beside each other."""

from __future__ import annotations

import numpy as np
import pytest
from histories import FAULT, REGIONS, failover_run

from labkit.errors import BadInput
from labkit.report.figures.beside import beside, beside_table, price_figure


def test_the_table_has_a_row_a_run_with_the_worst_region_and_what_was_lost():
    results = {"safe": failover_run(), "unsafe": failover_run(lose=3)}
    table = beside_table(results)
    assert list(table.index) == ["safe", "unsafe"]
    assert list(table["lost_acks"]) == [0, 3]
    assert list(table["verdict"]) == ["pass", "fail"]
    summary = results["safe"].summary
    assert table.loc["safe", "rto_s"] == pytest.approx(summary.worst_recovery.rto_s)
    assert table.loc["safe", "write_gap_s"] == pytest.approx(
        summary.worst_write_gap.write_gap_s, abs=0.01
    )
    assert table.loc["unsafe", "rpo_s"] > 0 == table.loc["safe", "rpo_s"]


def test_latency_in_the_table_is_that_before_the_fault():
    result = failover_run()
    ops = result.history.ops
    before = ops[ops["finished_s"] < FAULT.injected_s]
    p50_ms = np.median(before["finished_s"] - before["scheduled_s"]) * 1000
    assert beside_table({"run": result}).loc["run", "p50_ms"] == pytest.approx(p50_ms, abs=0.01)


def test_what_nobody_could_look_at_is_missing_not_zero():
    table = beside_table({"blind": failover_run(final=None)})
    assert table["lost_acks"].isna().all()
    assert table["rpo_s"].isna().all()


def test_the_figure_has_a_row_a_run_and_shades_each_fault():
    results = {"one": failover_run(), "<two>": failover_run(lose=3)}
    figure = beside(results)
    assert len(figure.data) == len(results) * len(REGIONS)
    assert len(figure.layout.shapes) == len(results)
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert any(text.startswith("<b>one</b>  RTO") for text in texts)
    assert any("&lt;two&gt;" in text and "3 lost" in text for text in texts)


def test_the_price_of_a_run_is_marked_bad_when_orders_were_lost():
    figure = price_figure({"safe": failover_run(), "unsafe": failover_run(lose=3)})
    safe, unsafe = figure.data
    assert "0 acknowledged orders lost" in safe.text
    assert "3 acknowledged orders lost" in unsafe.text
    assert safe.marker.color != unsafe.marker.color


def test_nothing_to_put_beside_each_other_is_refused():
    for draw in (beside, beside_table, price_figure):
        with pytest.raises(BadInput, match="no results"):
            draw({})
