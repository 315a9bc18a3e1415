"""Topologies: what is read from TOML, what is refused, and that the message names the key."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labkit.errors import TopologyError, UnknownTarget
from labkit.topology import DEFAULT, RESERVED, Node, Region, SurvivalGoal, Topology

THREE = """
survive = "region"

[[region]]
name = "north"
nodes = 2

[[region]]
name = "south"

[[region]]
name = "west-1"
nodes = 1

[[link]]
between = ["north", "south"]
rtt_ms = 10

[[link]]
between = ["south", "west-1"]
rtt_ms = 20.5

[[link]]
between = ["north", "west-1"]
rtt_ms = 30
"""


def load(folder: Path, text: str) -> Topology:
    path = folder / "shape.toml"
    path.write_text(text)
    return Topology.load(path)


def test_a_file_gives_regions_nodes_links_and_goal(tmp_path: Path) -> None:
    shape = load(tmp_path, THREE)
    assert shape.region_names == ("north", "south", "west-1")
    assert [node.name for node in shape.nodes] == [
        *("north/1", "north/2", "south/1", "south/2", "south/3", "west-1/1")
    ]
    assert [balancer.name for balancer in shape.balancers] == ["lb:north", "lb:south", "lb:west-1"]
    assert shape.survive is SurvivalGoal.REGION
    assert shape.rtt_ms("west-1", "south") == 20.5


def test_distances_are_the_same_both_ways_and_nothing_within_a_region() -> None:
    for a in DEFAULT.region_names:
        assert DEFAULT.rtt_ms(a, a) == 0
        for b in DEFAULT.region_names:
            assert DEFAULT.rtt_ms(a, b) == DEFAULT.rtt_ms(b, a)
            assert DEFAULT.one_way_ms(a, b) == DEFAULT.rtt_ms(a, b) / 2


def test_the_default_is_nine_nodes_in_three_regions_at_the_demo_distances() -> None:
    assert [len(DEFAULT.nodes_of(region)) for region in DEFAULT.region_names] == [3, 3, 3]
    assert DEFAULT.rtt_ms("us-west-2", "us-east-1") == 66
    assert DEFAULT.rtt_ms("us-east-1", "eu-west-1") == 64
    assert DEFAULT.rtt_ms("us-west-2", "eu-west-1") == 146


def test_a_topology_written_as_json_is_read_back_equal() -> None:
    assert Topology.model_validate_json(DEFAULT.model_dump_json(by_alias=True)) == DEFAULT


def test_names_are_those_that_people_type() -> None:
    node = Node(region="us-west-2", index=2)
    assert (str(node), node.zone) == ("us-west-2/2", "us-west-2b")
    assert str(DEFAULT.balancers[0]) == "lb:us-west-2"
    assert str(Region(name="eu-west-1")) == "eu-west-1"


ONE = '[[region]]\nname = "north"\n'
TWO = f'{ONE}[[region]]\nname = "south"\n'
LINK = '[[link]]\nbetween = ["north", "south"]\nrtt_ms = 10\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "region: is missing", id="nothing"),
        pytest.param("region = []", "region: a lab has 1 to 9 regions", id="no region"),
        pytest.param("[[region]]\nnodes = 3", "region[0].name: is missing", id="no name"),
        pytest.param('[[region]]\nname = "North"', "region[0].name: 'North' is refused", id="case"),
        pytest.param('[[region]]\nname = "a/b"', "region[0].name: 'a/b' is refused", id="slash"),
        pytest.param(
            f"{ONE}nodes = 0", "region[0].nodes: 0 is refused: it is at least 1", id="no node"
        ),
        pytest.param(
            f"{ONE}nodes = 10", "region[0].nodes: 10 is refused: it is at most 9", id="10 nodes"
        ),
        pytest.param(f'{ONE}nodes = "two"', "region[0].nodes: 'two' is refused", id="type"),
        pytest.param(
            f"{ONE}node = 3",
            "region[0].node: no such key (there are name, nodes)",
            id="key of region",
        ),
        pytest.param(f"colour = 1\n{ONE}", "colour: no such key", id="key"),
        pytest.param(f"{TWO}{ONE}{LINK}", "region[2].name: 'north' is also region[0]", id="twice"),
        pytest.param(TWO, "link: no rtt_ms between 'north' and 'south'", id="no distance"),
        pytest.param(f"{TWO}{LINK}{LINK}", "link[1].between: the same pair as link[0]", id="pair"),
        pytest.param(
            f"{TWO}{LINK.replace('south', 'east')}", "link[0].between: no region 'east'", id="end"
        ),
        pytest.param(
            f"{TWO}{LINK.replace('south', 'north')}", "link[0].between: 'north' twice", id="loop"
        ),
        pytest.param(
            f"{TWO}{LINK.replace('10', '-1')}", "link[0].rtt_ms: -1 is refused", id="time"
        ),
        pytest.param(
            f"{TWO}{LINK.replace('10', 'nan')}", "link[0].rtt_ms: nan is refused", id="not a time"
        ),
        pytest.param(
            f'{TWO}[[link]]\nbetween = ["north"]\nrtt_ms = 1', "link[0].between", id="one end"
        ),
        pytest.param(
            f"{TWO}{LINK}",
            "survive: 'region' needs at least 3 regions, this topology has 2",
            id="two for region survival",
        ),
        pytest.param(
            f'survive = "zone"\n{TWO}nodes = 1\n{LINK}',
            "survive: 'zone' needs at least 2 nodes a region, region[1] 'south' has 1",
            id="one node for zone survival",
        ),
        pytest.param(
            f'survive = "galaxy"\n{ONE}',
            "survive: 'galaxy' is refused: it is none or zone",
            id="goal",
        ),
        pytest.param("[[region", "Expected", id="not TOML"),
        pytest.param(f"{ONE}nodes = true", "region[0].nodes: True is refused", id="no number"),
        pytest.param(f"{ONE}nodes = 3.0", "region[0].nodes: 3.0 is refused", id="no integer"),
        pytest.param(f"{ONE}nodes = 1\nnodes = 2", "Cannot overwrite a value", id="key twice"),
        pytest.param(
            f"{TWO}{LINK.replace('10', '2001')}", "link[0].rtt_ms: 2001 is refused: it is at most"
        ),
        pytest.param(f"{TWO}{LINK.replace('10', 'inf')}", "link[0].rtt_ms: inf is refused"),
        pytest.param(TWO + LINK.replace("10", '"10"'), "link[0].rtt_ms: '10' is refused"),
        pytest.param(
            f"{TWO}{LINK}{LINK.replace('10', '20')}",
            "link[1].between: the same pair as link[0] (rtt_ms 10 there, 20 here)",
            id="two distances",
        ),
        pytest.param("region = 3", "region: 3 is refused: write [[region]]", id="no table"),
        pytest.param("a = " + "[" * 5000, "maximum recursion", id="deep"),
        pytest.param(
            f"{ONE}nodes = 0x{'f' * 9000}", "region[0].nodes: a number of thou", id="huge"
        ),
        *(
            pytest.param(f'[[region]]\nname = "{name}"\n', f"region[0].name: '{name}' is ", id=name)
            for name in (
                "primary",
                "all",
                "lb",
                "leader-region",
                "wan",
                "US",
                "us/east",
                "us ",
                "é",
            )
        ),
    ],
)
def test_a_file_is_refused_in_one_line_that_names_the_key(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'shape.toml'}: {message}")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["r", "a" * 32, "random", "replica", "other", "x--1"])
def test_other_names_are_names(tmp_path: Path, name: str) -> None:
    shape = load(tmp_path, f'survive = "none"\n[[region]]\nname = "{name}"\n')
    assert shape.region_names == (name,)


def test_what_editors_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shape.toml"
    indented = "".join(f"\t{line}\n" for line in THREE.splitlines())
    path.write_bytes(b"\xef\xbb\xbf" + indented.replace("\n", "\r\n").encode())
    assert Topology.load(path) == load(tmp_path, THREE)


keys = st.sampled_from(["region", "link", "survive", "name", "nodes", "between", "rtt_ms", "gaps"])
values = st.recursive(
    st.one_of(
        st.integers(),
        st.floats(),
        st.booleans(),
        st.sampled_from(["north", "south", "none", "region", "primary", ""]),
        st.text(st.characters(codec="utf-8")),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(keys | st.text(), values, max_size=4))
def test_any_table_is_read_back_equal_or_refused_in_one_line(table: dict[str, object]) -> None:
    _read_back_or_refused(as_toml(table))


@given(st.binary(max_size=200) | st.text(st.characters(codec="utf-8")).map(str.encode))
def test_any_file_is_read_back_equal_or_refused_in_one_line(data: bytes) -> None:
    _read_back_or_refused(data)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True), st.integers(1, 9)
        ),
        min_size=1,
        max_size=9,
        unique_by=lambda region: region[0],
    ),
    st.floats(0, 2000),
    st.sampled_from(SurvivalGoal),
)
def test_every_shape_within_the_bounds_is_taken_as_it_is_written(
    regions: list[tuple[str, int]], rtt_ms: float, goal: SurvivalGoal
) -> None:
    names = [name for name, _ in regions]
    table = {
        "survive": str(goal),
        "region": [{"name": name, "nodes": nodes} for name, nodes in regions],
        "link": [{"between": pair, "rtt_ms": rtt_ms} for pair in combinations(names, 2)],
    }
    shape = _read_back_or_refused(as_toml(table))
    too_small = {
        SurvivalGoal.NONE: False,
        SurvivalGoal.ZONE: min(nodes for _, nodes in regions) < 2,
        SurvivalGoal.REGION: len(regions) < 3,
    }
    assert (shape is None) is (too_small[goal] or not {*RESERVED}.isdisjoint(names))
    if shape:
        assert [(region.name, region.nodes) for region in shape.regions] == regions
        assert all(shape.rtt_ms(a, b) == rtt_ms for a, b in combinations(names, 2))


def as_toml(table: dict[str, object]) -> bytes:
    def written(value: object) -> str:
        match value:
            case bool() | str():
                return json.dumps(value)
            case list() | tuple():
                return f"[{', '.join(map(written, value))}]"
            case dict():
                pairs = (f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items())
                return f"{{ {', '.join(pairs)} }}"
        return repr(value)

    lines = (f"{json.dumps(key)} = {written(value)}\n" for key, value in table.items())
    return "".join(lines).encode()


def _read_back_or_refused(data: bytes) -> Topology | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shape.toml"
        path.write_bytes(data)
        try:
            shape = Topology.load(path)
        except TopologyError as error:
            said = str(error)
        else:
            assert Topology.model_validate_json(shape.model_dump_json(by_alias=True)) == shape
            return shape
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    return None


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        Topology.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TopologyError, match=re.escape("binary.toml")):
        Topology.load(tmp_path / "binary.toml")


@pytest.mark.parametrize("goal", SurvivalGoal)
def test_three_regions_of_three_nodes_can_give_every_goal(goal: SurvivalGoal) -> None:
    DEFAULT.check_survives(goal)


def test_regions_by_distance_begin_with_the_one_that_is_asked() -> None:
    assert DEFAULT.nearest_first("us-west-2") == ("us-west-2", "us-east-1", "eu-west-1")
    assert DEFAULT.nearest_first("eu-west-1") == ("eu-west-1", "us-east-1", "us-west-2")
    with pytest.raises(UnknownTarget):
        DEFAULT.nearest_first("mars")


def test_what_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownTarget, match="us-west-2, us-east-1, eu-west-1"):
        DEFAULT.region("us-west-1")
    with pytest.raises(UnknownTarget, match=r"'us-west-2/4': there are us-west-2/1, us-west-2/2"):
        DEFAULT.node("us-west-2/4")
    for distance in (DEFAULT.rtt_ms, DEFAULT.one_way_ms):
        with pytest.raises(UnknownTarget, match="'mars'"):
            distance("mars", "us-west-2")
    with pytest.raises(UnknownTarget):
        DEFAULT.nodes_of("mars")


def test_a_node_that_is_removed_leaves_the_names_of_the_others_and_frees_its_own() -> None:
    second = DEFAULT.node("us-west-2/2")
    rest = DEFAULT.without_node(second)
    assert [node.name for node in rest.nodes_of("us-west-2")] == ["us-west-2/1", "us-west-2/3"]
    assert rest.region("us-west-2").nodes == 2
    assert Topology.model_validate_json(rest.model_dump_json(by_alias=True)) == rest
    assert rest.with_node("us-west-2") == (DEFAULT, second)
    more, fourth = DEFAULT.with_node("us-west-2")
    assert fourth.name == "us-west-2/4"
    assert more.without_node(fourth) == DEFAULT


def test_a_region_has_one_to_nine_nodes(tmp_path: Path) -> None:
    shape = DEFAULT
    for _ in range(6):
        shape, _node = shape.with_node("us-east-1")
    with pytest.raises(TopologyError, match="9 nodes"):
        shape.with_node("us-east-1")
    with pytest.raises(TopologyError, match="last node"):
        load(tmp_path, THREE).without_node(Node(region="west-1", index=1))
    with pytest.raises(UnknownTarget, match="us-west-2/3"):
        DEFAULT.without_node(Node(region="us-west-2", index=4))


def test_a_removal_that_breaks_the_survival_goal_is_refused(tmp_path: Path) -> None:
    text = THREE.replace('"region"', '"zone"', 1).replace("nodes = 1", "nodes = 2")
    with pytest.raises(TopologyError, match="zone"):
        load(tmp_path, text).without_node(Node(region="west-1", index=1))


@pytest.mark.parametrize("gaps", [(4,), (0,), (1, 1), (1, 2, 3, 4, 5, 6, 7)])
def test_gaps_that_are_none_are_refused(gaps: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="gaps"):
        Region(name="us-west-2", gaps=gaps)
