import json
import re

import pytest
import yaml
from secret_texts import secret_texts

from labkit.cluster.engines.postgresql import config
from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.engines.postgresql.ways import wan_plan
from labkit.cluster.machines.programs import Program
from labkit.topology import DEFAULT, SurvivalGoal, Topology
from labkit.wan.plan import Kind
from labkit.workload.trading import TradingWorkload
from labkit.workload.worker import READ_CONNECTIONS


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path, DEFAULT, 21000, wan=True)


@pytest.fixture
def secrets():
    return Secrets()


def shape(*nodes: int) -> Topology:
    names = [f"r{i}x" for i in range(len(nodes))]
    return Topology.model_validate(
        {
            "region": [
                {"name": name, "nodes": count} for name, count in zip(names, nodes, strict=True)
            ],
            "link": [
                {"between": (a, b), "rtt_ms": 10}
                for i, a in enumerate(names)
                for b in names[i + 1 :]
            ],
            "survive": "none",
        }
    )


@pytest.mark.parametrize(
    ("nodes", "goal", "standbys"),
    [
        ((3, 3, 3), SurvivalGoal.NONE, 0),
        ((3, 3, 3), SurvivalGoal.ZONE, 2),
        ((3, 3, 3), SurvivalGoal.REGION, 4),
        ((1, 1, 1), SurvivalGoal.REGION, 1),
        ((2, 2, 2), SurvivalGoal.REGION, 3),
        ((1, 2, 3), SurvivalGoal.REGION, 3),
        ((2, 3), SurvivalGoal.ZONE, 1),
    ],
)
def test_a_survival_goal_is_a_number_of_standbys(nodes, goal, standbys):
    assert config.synchronous_nodes(shape(*nodes), goal) == standbys


@pytest.mark.parametrize("nodes", [(n, n, n) for n in range(1, 10)])
def test_region_survival_always_has_a_copy_elsewhere_and_can_go_on_after_a_region_loss(nodes):
    standbys = config.synchronous_nodes(shape(*nodes), SurvivalGoal.REGION)
    in_region = nodes[0] - 1
    assert standbys > in_region
    left = sum(nodes) - nodes[0] - 1
    assert standbys <= left


@pytest.mark.parametrize("nodes", [(1,), (3, 3, 3), (9, 9, 9), (5,) * 9, (9,) * 9])
def test_every_standby_may_copy_the_data_at_once_and_every_region_may_have_nine_nodes(nodes):
    parameters = config.postgres_parameters(shape(*nodes))
    standbys = sum(nodes) - 1
    # pg_basebackup has two WAL senders; the tenth node of a region is refused
    for name in ("max_wal_senders", "max_replication_slots"):
        assert parameters[name] >= max(2 * standbys, 9 * len(nodes) + 1)


@pytest.mark.parametrize("regions", range(1, 10))
def test_the_primary_takes_the_usual_load_of_every_region(regions):
    parameters = config.postgres_parameters(shape(*[1] * regions))
    usual = TradingWorkload().connections + READ_CONNECTIONS + 1  # the order processor
    assert parameters["max_connections"] >= regions * usual + 10


@pytest.mark.parametrize(
    ("nodes", "interval_ms"), [((3, 3, 3), 500), ((9, 9, 9), 500), ((5,) * 9, 2250)]
)
def test_balancers_check_less_often_when_there_are_many_ways_to_check(tmp_path, nodes, interval_ms):
    layout = Layout(tmp_path, shape(*nodes), 21000, wan=True)
    lines = config.balancer_servers(layout, "r0x")["read_write"].values()
    assert {re.search(r"inter (\d+)ms", line)[1] for line in lines} == {str(interval_ms)}


def test_patroni_reaches_etcd_near_first_and_through_the_wan_elsewhere(layout, secrets, tmp_path):
    node = DEFAULT.node("us-east-1/1")
    data = yaml.safe_load(
        config.patroni(layout, secrets, node, SurvivalGoal.REGION, tmp_path / "bin")
    )
    assert data["etcd3"]["use_proxies"] is True
    ports = [int(host.rpartition(":")[2]) for host in data["etcd3"]["hosts"]]
    assert ports[0] == layout.etcd_client("us-east-1")
    assert ports[1:] == [
        layout.etcd_client("us-west-2", "us-east-1"),
        layout.etcd_client("eu-west-1", "us-east-1"),
    ]


def test_every_part_listens_on_loopback_only(layout, secrets, tmp_path):
    node = DEFAULT.nodes[0]
    texts = [
        config.patroni(layout, secrets, node, SurvivalGoal.ZONE, tmp_path),
        config.haproxy(layout, secrets, node.region),
        *config.etcd(layout, Program("etcd", tmp_path / "etcd", (3, 5, 1)), node.region),
        json.dumps(wan_plan(layout, secrets).to_json()),
    ]
    addresses = set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", "\n".join(texts)))
    assert addresses == {"127.0.0.1"}


def test_a_new_etcd_gets_the_corruption_check_under_its_new_name(layout, tmp_path):
    old = config.etcd(layout, Program("etcd", tmp_path, (3, 5, 1)), "us-west-2")
    new = config.etcd(layout, Program("etcd", tmp_path, (3, 6, 0)), "us-west-2")
    assert "--experimental-initial-corrupt-check=true" in old
    assert "--feature-gates=InitialCorruptCheck=true" in new


def test_no_password_is_on_etcds_command_line(layout, secrets, tmp_path):
    argv = config.etcd(layout, Program("etcd", tmp_path, (3, 5, 1)), "us-west-2")
    assert not any(secret in " ".join(argv) for secret in secret_texts(secrets))


def test_read_only_traffic_leaves_the_region_only_as_a_last_resort(layout, secrets):
    text = config.haproxy(layout, secrets, "eu-west-1")
    read_only = text.partition("listen read_only")[2].partition("listen statistics")[0]
    servers = [line.split() for line in read_only.splitlines() if line.startswith("  server")]
    backups = {words[1] for words in servers if words[-1] == "backup"}
    assert backups == {member_name(n) for n in DEFAULT.nodes if n.region != "eu-west-1"}


def test_the_wan_stands_before_every_service_that_another_region_dials(layout, secrets):
    plan = wan_plan(layout, secrets)
    behind = {
        (one.kind, one.source, one.to_port): one.region
        for one in plan.listeners
        if one.kind is Kind.FIXED
    }
    for node in DEFAULT.nodes:
        for source in DEFAULT.region_names:
            if source != node.region:
                assert behind[Kind.FIXED, source, layout.postgres(node)] == node.region
                assert behind[Kind.FIXED, source, layout.rest(node)] == node.region
    assert plan.links["us-west-2", "eu-west-1"].delay_ms == 73
    assert set(plan.names) == {member_name(node) for node in DEFAULT.nodes}
