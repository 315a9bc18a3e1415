"""The double in service: three nodes as plain processes, behind the project's own WAN."""

from __future__ import annotations

import re
import signal
import threading
from contextlib import closing
from http import HTTPStatus

import psycopg
import pytest
from psycopg import sql

from engine.local import PATIENCE_S, LocalCluster
from labkit.clock import wait_until

QUIET_S = 1.0
"""How long a test waits to see that something does not happen."""
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v INT) LOCALITY GLOBAL"


@pytest.fixture
def table(cluster: LocalCluster) -> LocalCluster:
    with cluster.nodes[0].connect("trading") as conn:
        conn.execute(TABLE)
        conn.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
    return cluster


def test_nodes_wait_for_init_which_succeeds_once(fresh: LocalCluster) -> None:
    wait_until(lambda: fresh.nodes[0].ready == 503, what="the node", timeout_s=PATIENCE_S)
    first = fresh.init()
    assert (first.returncode, first.stdout) == (0, "Cluster successfully initialized\n")
    second = fresh.init()
    assert second.returncode == 1
    assert "cluster has already been initialized" in second.stderr
    fresh.wait_ready()
    assert fresh.nodes[1].get("/health")[0] == HTTPStatus.OK


def test_nodes_are_dialled_at_the_address_that_they_have_for_the_diallers_region(
    fresh: LocalCluster,
) -> None:
    """What the western and eastern nodes advertise to eu-west-1 leads nowhere."""
    arguments = fresh.arguments
    fresh.arguments = lambda node: [  # type: ignore[method-assign]
        re.sub(r"region=eu-west-1@[^,]+", "region=eu-west-1@127.0.0.1:1", word)
        for word in arguments(node)
    ]
    for node in fresh.nodes[:2]:
        fresh.kill(node)
        fresh.start(node)
    wait_until(lambda: fresh.init().returncode == 0, what="init", timeout_s=PATIENCE_S)
    fresh.wait_ready(fresh.nodes[:2])
    [lonely] = fresh.of("eu-west-1")
    wait_until(
        lambda: lonely.get("/health?ready=1") == (503, '{"error": "node is not healthy"}'),
        what="what keeps the lonely node from being ready",
        timeout_s=PATIENCE_S,
    )


def test_a_client_sees_cockroachdb_and_its_region(cluster: LocalCluster) -> None:
    for node in cluster.nodes:
        with node.connect("trading") as conn:
            assert "stand-in" in (conn.info.parameter_status("crdb_version") or "")
            assert conn.execute("SELECT gateway_region()").fetchone() == (node.region,)
            assert conn.execute("SHOW SURVIVAL GOAL FROM DATABASE trading").fetchone() == (
                "trading",
                "region",
            )


def test_a_region_that_is_cut_off_is_not_ready_and_comes_back(cluster: LocalCluster) -> None:
    cluster.cut("eu-west-1")
    alone, *_ = cluster.of("eu-west-1")
    wait_until(lambda: alone.ready == 503, what="the cut region", timeout_s=PATIENCE_S)
    assert alone.get("/health")[0] == HTTPStatus.OK
    cluster.wait_ready([node for node in cluster.nodes if node is not alone])
    cluster.cut("eu-west-1", cut=False)
    cluster.wait_ready()


def test_a_cut_region_commits_nothing_until_it_is_back(table: LocalCluster) -> None:
    alone, *_ = table.of("eu-west-1")
    done = threading.Event()

    def write() -> None:
        with alone.connect("trading") as conn:
            conn.execute("UPDATE t SET v = 7 WHERE id = 1")
            done.set()

    with alone.connect("trading") as conn:  # so that the session is there when it is cut off
        conn.execute("SELECT 1")
    table.cut("eu-west-1")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert not done.wait(QUIET_S)
        with table.nodes[0].connect("trading") as conn:
            conn.execute("SET statement_timeout = '15s'")
            # the transaction that cannot commit gives its locks up
            conn.execute("UPDATE t SET v = v + 1 WHERE id = 1")
            assert conn.execute("SELECT v FROM t WHERE id = 1").fetchone() == (1,)
        assert not done.is_set()
    finally:
        table.cut("eu-west-1", cut=False)
        writer.join(PATIENCE_S)
    assert done.is_set()
    with table.nodes[0].connect("trading") as conn:
        assert conn.execute("SELECT v FROM t WHERE id = 1").fetchone() == (7,)


def test_a_region_goal_needs_another_region_and_a_zone_goal_does_not(table: LocalCluster) -> None:
    """With one node in three left there is no majority; with two, one other region answers."""
    table.kill(table.nodes[2])
    with table.nodes[0].connect("trading") as conn:
        conn.execute("UPDATE t SET v = 1 WHERE id = 1")
    table.kill(table.nodes[1])
    wait_until(lambda: table.nodes[0].ready == 503, what="the last", timeout_s=PATIENCE_S)
    with table.nodes[0].connect("trading") as conn:
        conn.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("UPDATE t SET v = 1 WHERE id = 1")


def test_a_follower_read_needs_no_majority_and_writes_nothing(table: LocalCluster) -> None:
    alone, *_ = table.of("eu-west-1")
    options = {"options": "-c default_transaction_use_follower_reads=on"}
    table.cut("eu-west-1")
    wait_until(lambda: alone.ready == 503, what="the cut region", timeout_s=PATIENCE_S)
    with psycopg.connect(alone.dsn("trading"), autocommit=True, **options) as conn:  # type: ignore[arg-type]
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (2,)
    table.cut("eu-west-1", cut=False)
    with (
        psycopg.connect(alone.dsn("trading"), autocommit=True, **options) as conn,  # type: ignore[arg-type]
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        conn.execute("UPDATE t SET v = 1")


def test_conflicts_of_single_statements_are_retried(table: LocalCluster) -> None:
    """Forty increments from two nodes at once: every one succeeds and none is lost."""

    def increment(number: int) -> None:
        with table.nodes[number].connect("trading") as conn:
            for _ in range(20):
                conn.execute("UPDATE t SET v = v + 1 WHERE id = 1")

    threads = [threading.Thread(target=increment, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with table.nodes[2].connect("trading") as conn:
        assert conn.execute("SELECT v FROM t WHERE id = 1").fetchone() == (40,)


def test_conflicts_of_transactions_are_the_clients_to_retry(table: LocalCluster) -> None:
    with table.nodes[0].connect("trading") as one, table.nodes[1].connect("trading") as two:
        for conn in (one, two):
            conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED")  # SERIALIZABLE all the same
            conn.execute("SELECT sum(v) FROM t")
        one.execute("UPDATE t SET v = v + 1 WHERE id = 1")
        two.execute("UPDATE t SET v = v + 1 WHERE id = 2")
        one.execute("COMMIT")
        with pytest.raises(psycopg.errors.SerializationFailure, match="restart transaction"):
            two.execute("COMMIT")


def test_a_prepared_statement_survives_a_retry(table: LocalCluster) -> None:
    """psycopg prepares what it sends often."""
    with table.nodes[0].connect("trading") as conn:
        for _ in range(12):
            conn.execute("UPDATE t SET v = v + %s WHERE id = %s", (1, 2))
        assert conn.execute("SELECT v FROM t WHERE id = %s", (2,)).fetchone() == (12,)


def test_a_prepared_show_tells_what_is_true_now(cluster: LocalCluster) -> None:
    query = "SELECT count(*) FROM [SHOW RANGES FROM DATABASE trading WITH DETAILS]"
    with cluster.nodes[0].connect("trading") as conn:
        for number in range(8):
            assert conn.execute(query, prepare=True).fetchone() == (number,)
            name = sql.Identifier(f"t{number}")
            conn.execute(sql.SQL("CREATE TABLE {} (id INT PRIMARY KEY)").format(name))


def test_sigterm_drains_then_ends_sessions_then_exits(table: LocalCluster) -> None:
    setting = "CLUSTER SETTING server.shutdown.initial_wait"
    assert table.sql(f"SET {setting} = '2s'").returncode == 0
    node = table.nodes[1]
    with node.connect("trading") as idle, node.connect("trading") as busy:
        busy.execute("BEGIN")
        busy.execute("UPDATE t SET v = 5 WHERE id = 1")
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        wait_until(lambda: node.ready == 503, what="draining", timeout_s=PATIENCE_S)
        idle.execute("SELECT 1")  # not ready yet still serving: balancers have time to notice
        busy.execute("COMMIT")
        assert node.process.wait(30) == 0
        for conn in (idle, busy):
            with pytest.raises(psycopg.errors.AdminShutdown, match="server is shutting down"):
                conn.execute("SELECT 1")
    with table.nodes[0].connect("trading") as conn:
        assert conn.execute("SELECT v FROM t WHERE id = 1").fetchone() == (5,)
    assert table.sql(f"RESET {setting}").returncode == 0


def test_sigkill_ends_sessions_without_a_word(table: LocalCluster) -> None:
    node = table.nodes[1]
    with node.connect("trading") as conn:
        table.kill(node)
        with pytest.raises(psycopg.OperationalError) as caught:
            conn.execute("SELECT 1")
    assert caught.value.sqlstate is None
    table.start(node)
    table.wait_ready()  # as the node that it was: it has its store


def test_a_frozen_gateway_does_not_keep_its_locks_for_ever(table: LocalCluster) -> None:
    node = table.nodes[1]
    with closing(node.connect("trading")) as frozen, table.nodes[0].connect("trading") as other:
        frozen.execute("BEGIN")
        frozen.execute("UPDATE t SET v = 1 WHERE id = 1")
        table.kill(node, signal.SIGSTOP)
        try:
            other.execute("SET statement_timeout = '20s'")
            other.execute("UPDATE t SET v = 2 WHERE id = 1")
        finally:
            table.kill(node, signal.SIGCONT)


def test_a_decommissioned_node_is_not_ready(fresh: LocalCluster) -> None:
    cluster = fresh
    assert cluster.init().returncode == 0
    cluster.wait_ready()
    host = f"--host=127.0.0.1:{cluster.nodes[0].sql_port}"
    status = cluster.cockroach("node", "status", "--insecure", host).stdout.splitlines()
    [number] = [row.split("\t")[0] for row in status if str(cluster.nodes[2].sql_port) in row]
    done = cluster.cockroach("node", "decommission", number, "--insecure", host)
    assert done.returncode == 0
    wait_until(lambda: cluster.nodes[2].ready == 503, what="the node", timeout_s=PATIENCE_S)


def test_leases_are_spread_over_regions_and_metrics_count_them(cluster: LocalCluster) -> None:
    with cluster.nodes[0].connect("trading") as conn:
        conn.execute("CREATE TABLE o (id INT PRIMARY KEY) LOCALITY REGIONAL BY ROW")
        rows = conn.execute(
            "SELECT lease_holder_locality FROM [SHOW RANGES FROM DATABASE trading WITH DETAILS]"
        ).fetchall()
    assert sorted(row[0].split(",")[0] for row in rows) == [
        "region=eu-west-1",
        "region=us-east-1",
        "region=us-west-2",
    ]

    def counted() -> bool:
        pages = [node.get("/_status/vars")[1] for node in cluster.nodes]
        return all('replicas_leaseholders{store="' in page and "} 1\n" in page for page in pages)

    wait_until(counted, what="the metrics", timeout_s=PATIENCE_S)


def test_statements_that_cockroachdb_refuses_are_refused(cluster: LocalCluster) -> None:
    with cluster.nodes[0].connect("trading") as conn:
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="does not model"):
            conn.execute("CREATE EXTENSION hstore")
        with pytest.raises(psycopg.errors.InvalidCatalogName):
            conn.execute("SHOW SURVIVAL GOAL FROM DATABASE nowhere")
        assert conn.execute("SELECT 1").fetchone() == (1,)  # the session goes on


def test_options_of_a_connection_are_checked(cluster: LocalCluster) -> None:
    with pytest.raises(psycopg.OperationalError, match="unrecognized configuration parameter"):
        psycopg.connect(cluster.nodes[0].dsn(), options="-c synchronous_commit=off")


def test_a_script_is_run_by_the_shell_and_stops_at_its_first_error(
    cluster: LocalCluster,
) -> None:
    done = cluster.sql("SELECT 1 AS one; SELECT nothing; SELECT 2")
    assert done.returncode == 1
    assert done.stdout == "one\n1\n"
    assert "SQLSTATE: 42703" in done.stderr
