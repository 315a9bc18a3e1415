"""A plan is checked when it is made, and survives its file."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wan_lab import EAST, EU, REGIONS, TOKEN, WEST

from labkit.errors import BadInput
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan, updated

LINKS = {pair: LinkSettings(delay_ms=33) for pair in permutations(REGIONS, 2)}
LISTENERS = (
    Listener(24001, EAST, Kind.FIXED, "127.0.0.1", 5432, source=WEST, name="us-east-1/1 postgres"),
    Listener(24002, WEST, Kind.POSTGRES, "127.0.0.1", 5433),
)
PLAN = Plan(
    24000,
    TOKEN,
    LINKS,
    LISTENERS,
    names={"us-west-2/1": WEST},
)


def test_a_plan_survives_its_file_which_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "wan.json"
    path.write_text("an older plan")
    path.chmod(0o644)
    PLAN.save(path)
    assert Plan.load(path) == PLAN
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_token_is_not_in_a_plans_repr() -> None:
    assert TOKEN not in repr(PLAN)


def test_a_listener_without_a_name_gets_one() -> None:
    assert LISTENERS[1].name == "us-west-2 postgres 24002"


def change(**keys: Any) -> dict[str, Any]:
    return {**PLAN.to_json(), **keys}


def first_listener(**keys: Any) -> dict[str, Any]:
    listeners = json.loads(json.dumps(PLAN.to_json()))["listeners"]
    listeners[0].update(keys)
    return change(listeners=listeners)


def first_link(**keys: Any) -> dict[str, Any]:
    links = json.loads(json.dumps(PLAN.to_json()))["links"]
    links[0].update(keys)
    return change(links=links)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "plan: expected an object, got list"),
        (change(colour="red"), "plan: unknown key 'colour': there are control_port"),
        ({"control_port": 1}, "plan: token is missing"),
        (change(token="short"), "plan: token must be text of at least 16 characters"),
        (change(control_port=0), "plan: control_port must be a port from 1 to 65535, not 0"),
        (change(control_port=True), "control_port must be a port"),
        (change(control_port=24001), "port 24001 of 'us-east-1/1 postgres' is also that of"),
        (change(host=""), "host must be a text that is not empty"),
        (change(links={}), "links: expected a list, got dict"),
        (change(links=[]), f"plan: links: none from '{EAST}' to '{WEST}'"),
        (change(names={"psql": "mars"}), "names['psql']: no region 'mars': there are eu-west-1"),
        (change(names=["psql"]), "names: expected an object"),
        (
            first_link(delay_ms=-1),
            "links[0]: delay_ms must be at least 0 and at most 60000, not -1",
        ),
        (first_link(jitter_ms="5"), "links[0]: jitter_ms must be a number, not '5'"),
        (first_link(delay_ms=math.nan), "delay_ms must be at least 0"),
        (first_link(cut=1), "links[0]: cut must be true or false, not 1"),
        (first_link(loss=1), "links[0]: unknown key 'loss'"),
        (first_link(source=EU, target=EU), f"links: '{EU}' to itself"),
        (first_link(source=None), "links[0]: source and target must be names of regions"),
        (first_link(source=WEST, target=EU), f"links[1]: {WEST} > {EU} a second time"),
        (first_listener(kind="smtp"), "listeners[0]: kind 'smtp' is none of fixed, postgres"),
        (first_listener(source=None), "listeners[0]: source must be a text"),
        (first_listener(kind="http"), "listeners[0]: source is for kind 'fixed' only"),
        (first_listener(region="mars"), "links: none from 'eu-west-1' to 'mars'"),
        (first_listener(to_port="http"), "listeners[0]: to_port must be a port"),
        (first_listener(port=24002), "port 24002 of 'us-west-2 postgres 24002' is also that of"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_and_the_key_named(data: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Plan.from_json(data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_file_that_holds_no_plan_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "wan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=r"wan\.json"):
        Plan.load(path)


settings = st.builds(
    LinkSettings,
    delay_ms=st.floats(0, 60_000),
    jitter_ms=st.floats(0, 60_000),
    cut=st.booleans(),
)


@given(links=st.fixed_dictionaries(dict.fromkeys(permutations(REGIONS, 2), settings)))
def test_any_links_survive_json(links: dict[tuple[str, str], LinkSettings]) -> None:
    plan = Plan(24000, TOKEN, links, LISTENERS)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_an_update_changes_what_it_names_and_keeps_the_rest() -> None:
    link = {"source": WEST, "target": EAST}
    changes = updated(LINKS, {"links": [{**link, "cut": True}, {**link, "jitter_ms": 5}]})
    assert changes == {(WEST, EAST): LinkSettings(delay_ms=33, jitter_ms=5, cut=True)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'expected {"links": [...]} and nothing else'),
        ({"links": [], "more": 1}, "and nothing else"),
        ({"links": 1}, "links: expected a list, got int"),
        ({"links": [1]}, "links[0]: expected an object, got int"),
        ({"links": [{"source": WEST}]}, "source and target must be names"),
        (
            {"links": [{"source": WEST, "target": "mars"}]},
            "links[0]: no link us-west-2 > mars: the regions are eu-west-1, us-east-1, us-west-2",
        ),
        ({"links": [{"source": WEST, "target": WEST}]}, "no link us-west-2 > us-west-2"),
        ({"links": [{"source": WEST, "target": EAST, "blackhole": True}]}, "unknown key"),
        ({"links": [{"source": WEST, "target": EAST, "delay_ms": -1}]}, "delay_ms must be"),
    ],
)
def test_an_update_that_cannot_be_is_refused_and_the_entry_named(body: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        updated(LINKS, body)
    assert message in str(caught.value)
