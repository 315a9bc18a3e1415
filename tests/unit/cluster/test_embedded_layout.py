from itertools import combinations

import pytest

from labkit.cluster.engines.postgresql.forker import remove_half_copy
from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.topology import DEFAULT, Topology

SMALL = {
    "region": [{"name": "a1", "nodes": 1}, {"name": "b1", "nodes": 2}, {"name": "c1", "nodes": 9}],
    "link": [
        {"between": ("a1", "b1"), "rtt_ms": 1},
        {"between": ("a1", "c1"), "rtt_ms": 2},
        {"between": ("b1", "c1"), "rtt_ms": 3},
    ],
}


def shape(regions: int, nodes: int) -> Topology:
    names = [f"r{i}" for i in range(regions)]
    links = [{"between": pair, "rtt_ms": 5} for pair in combinations(names, 2)]
    listed = [{"name": name, "nodes": nodes} for name in names]
    return Topology.model_validate({"region": listed, "link": links, "survive": "none"})


def test_with_the_wan_on_every_service_and_every_way_to_it_has_a_port_of_its_own(tmp_path):
    for topology in (DEFAULT, Topology.model_validate(SMALL)):
        ports = [port for port, _ in Layout(tmp_path, topology, 21000, wan=True).parts()]
        assert len(ports) == len(set(ports))
        assert all(21000 <= port < 22000 for port in ports)


@pytest.mark.parametrize("regions", range(1, 10))
def test_a_lab_of_any_number_of_regions_has_ports_for_nine_nodes_in_each(tmp_path, regions):
    for nodes in (1, 9):
        layout = Layout(tmp_path, shape(regions, nodes), 21000, wan=True)
        ports = [port for port, _ in layout.parts()]
        assert len(ports) == len(set(ports))
        assert {*ports} <= {*layout.block}


@pytest.mark.parametrize("regions", range(1, 10))
def test_a_node_that_is_added_moves_no_port(tmp_path, regions):
    topology = shape(regions, 1)
    before = {what: port for port, what in Layout(tmp_path, topology, 21000, wan=True).parts()}
    for name in topology.region_names:
        for _ in range(8):
            topology, _ = topology.with_node(name)
            layout = Layout(tmp_path, topology, 21000, wan=True)
            after = {what: port for port, what in layout.parts()}
            assert before.items() <= after.items()
            before = after


def test_with_the_wan_off_everybody_dials_the_servers_themselves(tmp_path):
    layout = Layout(tmp_path, DEFAULT, 21000, wan=False)
    node = DEFAULT.node("eu-west-1/2")
    assert layout.postgres_advertised(node) == layout.postgres(node)
    assert layout.postgres_from("us-west-2", node) == layout.postgres(node)
    assert layout.rest_from("us-west-2", node) == layout.rest(node)
    assert layout.etcd_client("eu-west-1", "us-west-2") == layout.etcd_client("eu-west-1")
    assert layout.balancer_from("eu-west-1", "us-west-2") == layout.read_write("us-west-2")


def test_within_a_region_nobody_goes_through_the_wan(tmp_path):
    layout = Layout(tmp_path, DEFAULT, 21000, wan=True)
    node = DEFAULT.node("us-east-1/3")
    assert layout.postgres_from("us-east-1", node) == layout.postgres(node)
    assert layout.rest_from("us-east-1", node) == layout.rest(node)
    assert layout.etcd_client("us-east-1", "us-east-1") == layout.etcd_client("us-east-1")
    assert layout.balancer_from("us-east-1", "us-east-1") == layout.read_write("us-east-1")


def test_member_names_have_no_slash_because_they_are_keys_in_etcd():
    assert {"/" in member_name(node) for node in DEFAULT.nodes} == {False}
    assert len({member_name(node) for node in DEFAULT.nodes}) == 9


@pytest.mark.parametrize("whole", [True, False])
def test_a_copy_of_the_data_that_was_not_finished_is_made_again(tmp_path, whole):
    """Patroni does nothing with a folder that holds something and is no data directory."""
    data = tmp_path / "us-west-2-1"
    (data / "global").mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    if whole:
        (data / "global" / "pg_control").touch()
    remove_half_copy(data)
    remove_half_copy(tmp_path / "none")
    assert data.exists() == whole
