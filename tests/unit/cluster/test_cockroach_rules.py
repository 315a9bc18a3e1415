"""Rules of CockroachDB that labkit keeps before anything is asked of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

import labkit.cluster
from labkit.cluster.base import quiet
from labkit.cluster.engines.cockroachdb import program, scaling
from labkit.cluster.engines.cockroachdb.database import Leases, Operator
from labkit.cluster.engines.cockroachdb.view import View, Watch
from labkit.errors import ClusterError, TopologyError
from labkit.topology import DEFAULT, Node, SurvivalGoal, Topology

NODE = DEFAULT.nodes[0]
BLOCKED = "ranges blocking decommission detected: n4 ERROR: Cannot decommission nodes."


def started(**changes: Any) -> list[str]:
    given: dict[str, Any] = {
        "advertise": "a:1",
        "elsewhere": {},
        "join": ["a:1"],
        "store": "/data",
        "certs": None,
    }
    return program.start(NODE, **{**given, **changes})


def test_a_store_sets_no_ballast_aside_on_a_disk_that_nine_share() -> None:
    assert "--store=path=/data,ballast-size=0" in started()


def test_memory_of_go_and_the_cache_fit_into_a_container() -> None:
    def mib(size: str) -> int:
        return int(size.removesuffix("MiB"))

    assert f"--max-go-memory={program.GO_MEMORY}" in started()
    assert mib(program.GO_MEMORY) + 1.15 * mib(program.CACHE) <= 0.9 * 1024


def test_zone_survival_takes_three_nodes_in_each_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    regions = [{"name": "west"}, {"name": "east", "nodes": 2}]
    links = [{"between": ["west", "east"], "rtt_ms": 60}]
    shape = Topology.model_validate({"survive": "none", "region": regions, "link": links})
    with pytest.raises(TopologyError, match=r"3 voters.*east has fewer"):
        labkit.cluster.create("cockroachdb", topology=shape, survive=SurvivalGoal.ZONE)
    assert not (tmp_path / "lab").exists()


def refusing(said: str, times: int) -> tuple[Callable[..., None], list[bool]]:
    """A decommission that fails so often, and the calls."""
    calls: list[bool] = []

    def decommission(*_: object, wait: bool) -> None:
        calls.append(wait)
        if len(calls) <= times:
            raise (scaling._BlockedError if said is BLOCKED else ClusterError)(said)

    return decommission, calls


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(scaling, "sleep", lambda _s: None)
    return SimpleNamespace(machine=SimpleNamespace(stop=lambda *_, **__: None))


def test_a_check_that_refuses_once_is_asked_again(
    starter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decommission, calls = refusing(BLOCKED, times=1)
    monkeypatch.setattr(scaling, "_decommission", decommission)
    scaling.decommission(starter, starter, Node(region="us-east-1", index=4), quiet)
    assert len(calls) == 2


@pytest.mark.parametrize(("said", "mended"), [(BLOCKED, 0), ("connection reset", 1)])
def test_a_node_that_the_check_kept_is_not_restarted(
    starter: Any, monkeypatch: pytest.MonkeyPatch, said: str, mended: int
) -> None:
    decommission, _ = refusing(said, times=2)
    recommissioned: list[object] = []
    monkeypatch.setattr(scaling, "_decommission", decommission)
    monkeypatch.setattr(scaling, "_recommission", lambda *given: recommissioned.append(given))
    with pytest.raises(ClusterError, match=said):
        scaling.decommission(starter, starter, Node(region="us-east-1", index=4), quiet)
    assert len(recommissioned) == mended


def test_an_interrupt_between_two_checks_restarts_no_node(
    starter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling, "sleep", interrupt)
    monkeypatch.setattr(scaling, "_decommission", refusing(BLOCKED, times=1)[0])
    monkeypatch.setattr(scaling, "_recommission", lambda *_: pytest.fail("nothing was begun"))
    with pytest.raises(KeyboardInterrupt):
        scaling.decommission(starter, starter, Node(region="us-east-1", index=4), quiet)


def test_a_look_that_fails_keeps_the_last_view() -> None:
    views = [View(Leases({NODE: 3}), SurvivalGoal.REGION)]

    def ask(_node: Node) -> View:
        if views:
            return views.pop()
        raise ClusterError("a range without a majority")

    watch, other = Watch(ask), DEFAULT.nodes[1]
    first = watch.look(frozenset({NODE, other}), NODE)
    assert first is not None
    assert watch.look(frozenset({other}), other) is first


def test_a_long_complaint_keeps_its_verdict() -> None:
    said = "\n".join(f"range {i} is blocked" for i in range(200)) + "\nERROR: Cannot decommission"
    assert program.complaint(said).startswith("range 0 is blocked")
    assert program.complaint(said).endswith("ERROR: Cannot decommission")
    assert len(program.complaint(said)) < 320


class Throttled(psycopg.OperationalError):
    sqlstate = "XXC02"


def test_a_throttled_cluster_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Throttled("no license installed, 5 open transactions")

    monkeypatch.setattr("labkit.libpq.connect", refuse)
    with pytest.raises(ClusterError, match=r"no license installed.*set a key as root"):
        Operator({NODE: 1}, {}).connect(NODE).__enter__()
