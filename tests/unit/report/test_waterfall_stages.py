from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from histories import FAULT, REGIONS, failover_run, orders, outage
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.events import Event, Sign, load_events, save_events
from labkit.history import History
from labkit.measurement.waterfall import Sighting, Stage, Waterfall, waterfall
from labkit.record import FaultWindow
from labkit.report.figures.waterfall import waterfall as figure_of
from labkit.report.figures.waterfall import waterfall_table
from labkit.report.words import NOT_SEEN, waterfall_cells

KILL = FaultWindow(
    "kill",
    "west/1",
    injected_s=110,
    took_effect_s=110.4,
    healed_s=130,
    detail="no answer",
    nodes=("west/1",),
)
WEST = ("west/1", "west/2", "west/3")


def failover(region: str = "west", back_s: float | None = 116) -> list:
    """Orders every 50 ms, none acknowledged between 110 s and `back_s`."""
    if back_s is None:
        return [*orders(region, 100, 110), *orders(region, 110, 140, ends_s=140, outcome="info")]
    return [
        *orders(region, 100, 110, latency_s=0.01),
        *outage(region, 110, back_s),
        *orders(region, back_s, 140, latency_s=0.01),
    ]


def down(at_s: float, node: str = "west/1", region: str = "west") -> Event:
    return Event(at_s, Sign.SERVER_DOWN, "HAProxy", region=region, node=node)


def up(at_s: float, node: str, region: str = "west") -> Event:
    return Event(at_s, Sign.SERVER_UP, "HAProxy", region=region, node=node)


def leader(at_s: float, node: str) -> Event:
    return Event(at_s, Sign.LEADER, "etcd", node=node)


def connected(at_s: float, region: str = "west") -> Event:
    return Event(at_s, Sign.CONNECTED, "client", region=region)


WHOLE = (
    connected(99),
    down(110.7),
    leader(115.1, "west/2"),
    Event(115.3, Sign.PROMOTED, "Patroni", node="west/2"),
    up(115.5, "west/2"),
    connected(115.6),
    connected(115.7),
)


def of(events, ops=None, fault: FaultWindow = KILL) -> dict[Stage, float | None]:
    """When each stage of the west was seen."""
    history = History.of(failover() if ops is None else ops, [fault])
    region = waterfall(history, events, fault).region("west")
    return {sighting.stage: sighting.at_s for sighting in region.stages}


def test_every_stage_is_when_its_evidence_says():
    assert of(WHOLE) == {
        Stage.INJECTED: 0,
        Stage.EFFECT: pytest.approx(0.4),
        Stage.DETECTED: pytest.approx(0.7),
        Stage.ELECTED: pytest.approx(5.1),
        Stage.REROUTED: pytest.approx(5.5),
        Stage.CONNECTED: pytest.approx(5.6),
        Stage.ACKED: pytest.approx(6),
    }


@pytest.mark.parametrize(
    ("sign", "stage"),
    [
        (Sign.SERVER_DOWN, Stage.DETECTED),
        (Sign.SERVER_UP, Stage.REROUTED),
        (Sign.CONNECTED, Stage.CONNECTED),
    ],
)
def test_a_stage_without_evidence_is_not_seen_and_changes_no_other(sign, stage):
    without = of([event for event in WHOLE if event.sign is not sign])
    assert without == {**of(WHOLE), stage: None}


def test_without_any_event_there_are_the_fault_and_the_acknowledgements():
    seen = {stage for stage, at_s in of(()).items() if at_s is not None}
    assert seen == {Stage.INJECTED, Stage.EFFECT, Stage.ACKED}


def test_a_promotion_stands_for_an_election_that_went_unnoticed():
    seen = of([event for event in WHOLE if event.sign is not Sign.LEADER])
    assert seen[Stage.ELECTED] == pytest.approx(5.3)


def test_a_connection_to_a_leader_that_is_cut_off_is_not_the_first_one():
    assert of([*WHOLE, connected(111)])[Stage.CONNECTED] == pytest.approx(5.6)


def test_where_every_node_takes_clients_they_connect_before_leases_move():
    fault = replace(KILL, healed_s=None)
    moved = Event(117, Sign.LEASES_MOVED, "CockroachDB", node="west/1", within_s=2.5)
    seen = of([down(112), moved, connected(110.1)], fault=fault)
    assert seen[Stage.ELECTED] == pytest.approx(7)
    assert seen[Stage.CONNECTED] == pytest.approx(0.1)
    assert seen[Stage.REROUTED] is None


def test_a_balancer_that_notices_when_clients_are_back_already_is_seen_late():
    assert of([down(118), connected(110.1)])[Stage.DETECTED] == pytest.approx(8)


def test_leases_that_move_between_other_nodes_are_not_this_outage():
    moved = Event(112, Sign.LEASES_MOVED, "CockroachDB", node="east/1", within_s=2.5)
    assert of([moved])[Stage.ELECTED] is None


def test_the_election_that_counts_is_the_last_one_before_service_was_back():
    seen = of([*WHOLE, leader(112, "west/3"), leader(125, "west/1"), up(112.2, "west/3")])
    assert seen == of(WHOLE)


def test_a_region_cut_in_one_direction_is_aimed_at_with_all_its_nodes():
    fault = FaultWindow("partition", "west (out)", injected_s=110, took_effect_s=110.4, nodes=WEST)
    seen = of([down(110.5, "east/1"), down(110.9, "west/3")], fault=fault)
    assert seen[Stage.DETECTED] == pytest.approx(0.9)


def test_an_outage_that_did_not_end_has_no_first_acknowledgement():
    seen = of(WHOLE, failover(back_s=None))
    assert seen[Stage.CONNECTED] == pytest.approx(5.6)
    assert seen[Stage.ACKED] is None


def test_a_region_whose_acknowledgements_never_ceased_has_no_first_ones():
    history = History.of([*failover(), *orders("east", 100, 140)], [KILL])
    found = waterfall(history, WHOLE, KILL)
    east = found.region("east")
    assert not east.ceased
    assert east.seen(Stage.ELECTED).at_s == pytest.approx(5.1)
    assert east.seen(Stage.ACKED).at_s is None
    assert found.region("west").last_ack_s == pytest.approx(-0.04)


def test_what_is_noticed_after_the_next_fault_is_the_next_one_s():
    again = FaultWindow("kill", "west/2", injected_s=150, took_effect_s=150.1, nodes=("west/2",))
    history = History.of([*failover(), *orders("west", 140, 180)], [KILL, again])
    events = [*WHOLE, down(150.6, "west/2")]
    first, second = (waterfall(history, events, fault) for fault in (KILL, again))
    assert first.region("west").seen(Stage.DETECTED).at_s == pytest.approx(0.7)
    assert second.region("west").seen(Stage.DETECTED).at_s == pytest.approx(0.6)
    assert second.region("west").seen(Stage.ELECTED).at_s is None


def test_a_region_that_was_not_driven_has_no_waterfall():
    with pytest.raises(KeyError):
        waterfall(History.of(failover(), [KILL]), WHOLE, KILL).region("east")


@cache
def of_west(back_s: float | None = 116) -> History:
    return History.of(failover("west", back_s), [KILL])


NODES = ("west/1", "west/2", "east/1")
events_of_an_outage = st.lists(
    st.builds(
        Event,
        at_s=st.floats(95, 145),
        sign=st.sampled_from(Sign),
        source=st.just("somebody"),
        region=st.sampled_from(("", "west", "east")),
        node=st.sampled_from(NODES),
        within_s=st.floats(0, 3),
    ),
    max_size=30,
)
CAUSES = ((Stage.ELECTED, Stage.REROUTED), (Stage.REROUTED, Stage.CONNECTED))


def sightings(found: Waterfall) -> list[tuple[str, Sighting]]:
    return [(row.region, sighting) for row in found.regions for sighting in row.stages]


@given(events_of_an_outage, st.sampled_from((111.0, 116.0, 128.0, None)))
def test_no_stage_is_before_the_fault_and_no_way_back_after_the_first_ack(events, back_s):
    for row in waterfall(of_west(back_s), events, KILL).regions:
        acked = row.seen(Stage.ACKED)
        for sighting in row.stages:
            if sighting.at_s is not None:
                assert 0 <= sighting.not_before_s <= sighting.at_s
        for stage in (Stage.REROUTED, Stage.CONNECTED):
            then = row.seen(stage).not_before_s
            assert then is None or acked.at_s is None or then <= acked.at_s


@given(events_of_an_outage)
def test_no_effect_is_seen_before_its_cause_can_have_been(events):
    found = waterfall(of_west(), events, KILL)
    row = found.region("west")
    elected = row.seen(Stage.ELECTED)
    if any(event.sign is Sign.LEASES_MOVED for event in events):
        return  # every node takes clients: a connection waits for no election
    for cause, effect in (*CAUSES, (Stage.ELECTED, Stage.CONNECTED)):
        first, then = row.seen(cause), row.seen(effect)
        if first.at_s is not None and then.at_s is not None and elected.at_s is not None:
            assert first.not_before_s <= then.at_s


@given(events_of_an_outage)
def test_every_stage_that_is_seen_has_an_event_that_says_so(events):
    found = waterfall(of_west(), events, KILL)
    noticed = {round(event.at_s - KILL.injected_s, 9) for event in events}
    for _, sighting in sightings(found):
        if sighting.source == "somebody":
            assert round(sighting.at_s, 9) in noticed


@given(events_of_an_outage, st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_told_makes_no_difference(events, random):
    distinct = list({event.at_s: event for event in events}.values())
    told = waterfall(of_west(), distinct, KILL)
    random.shuffle(distinct)
    assert waterfall(of_west(), distinct, KILL) == told


def test_events_are_saved_with_the_history_and_read_back(tmp_path):
    history = History.of(failover(), [KILL]).with_events(WHOLE)
    history.save(tmp_path)
    assert History.load(tmp_path).events == history.events == WHOLE


def test_a_run_folder_without_events_has_none(tmp_path):
    assert load_events(tmp_path) == ()
    save_events((), tmp_path)
    assert load_events(tmp_path) == ()


def run_with_evidence():
    history = failover_run().history.with_events(
        [
            *(down(110.6, FAULT.target, region) for region in REGIONS[:2]),
            leader(114.9, "us-west-2/2"),
            *(up(115.2, "us-west-2/2", region) for region in REGIONS[:2]),
            *(connected(115.3, region) for region in REGIONS[:2]),
        ]
    )
    return failover_run(history=history)


def test_a_result_has_the_waterfall_of_its_fault_and_keeps_it(tmp_path):
    result = run_with_evidence()
    assert result.waterfall == waterfall(result.history, result.history.events, FAULT)
    result.save(tmp_path)
    assert type(result).load(tmp_path).waterfall == result.waterfall


def test_a_run_without_a_fault_has_no_waterfall_and_no_figure_of_it():
    result = failover_run(faults=())
    assert result.waterfall is None
    with pytest.raises(BadInput, match="had no fault"):
        figure_of(result)


def test_the_table_says_where_nobody_noticed_anything():
    table = waterfall_table(run_with_evidence())
    assert list(table.columns) == list(REGIONS)
    assert table.loc["new leader"].tolist() == ["4.90 s"] * 3
    assert table.loc["balancer detected it"].tolist() == ["0.60 s", "0.60 s", NOT_SEEN]
    assert table.loc["fault took effect"].tolist() == ["by 0.20 s"] * 3


def test_what_is_known_between_two_looks_only_is_shown_as_between():
    moved = Event(117, Sign.LEASES_MOVED, "CockroachDB", node="west/1", within_s=2.5)
    table = waterfall_cells(waterfall(History.of(failover(), [KILL]), [moved], KILL))
    assert dict(table.rows)["new leader"] == ("4.5 to 7.0 s",)


def test_the_figure_has_a_lane_a_region_and_says_what_was_not_seen():
    figure = figure_of(run_with_evidence())
    assert [trace.name for trace in figure.data] == list(REGIONS)
    assert [text.strip() for text in figure.data[2].text].count(NOT_SEEN) == 3
    assert all(length >= 0 for trace in figure.data for length in trace.x)


def test_the_report_shows_the_waterfall():
    result = run_with_evidence()
    assert "new leader" in str(result)
    assert "balancer rerouted" in result._repr_html_()


@pytest.mark.parametrize("nodes", [WEST, ()], ids=["region", "balancer"])
def test_a_balancer_that_was_itself_killed_let_go_of_nobody(nodes: tuple[str, ...]) -> None:
    """It is started again when the fault is healed, and finds the dead server then."""
    fault = FaultWindow(
        "kill", "west", 110, 110.4, 135, regions=("west",), nodes=nodes, balancers=("west",)
    )
    events = (down(130.4, "west/1"), leader(115.1, "east/1"), up(131, "east/1"), connected(132))
    seen = of(events, failover(back_s=133), fault)
    assert seen[Stage.DETECTED] is None
    assert seen[Stage.ELECTED] == pytest.approx(5.1)
    before = of((down(110.2, "west/1"), *events), failover(back_s=133), fault)
    assert before[Stage.DETECTED] == pytest.approx(0.2)
    elsewhere = replace(fault, target="east", nodes=("east/1",), balancers=("east",))
    assert of(events, failover(back_s=133), elsewhere)[Stage.DETECTED] == pytest.approx(20.4)
