"""What a Compose project needs beside its own file to run on the stand-in images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from engine.fixtures import grammar_folder
from engine.images import STORE_IMAGE
from engine.standin.cli import STORE_VARIABLE
from engine.standin.grammar import VARIABLE
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.layout import node_service
from labkit.cluster.machines.base import LAB_LABEL
from labkit.cluster.machines.compose import OVERRIDE_FILE

STORE = "standin-store"
GRAMMAR = "/opt/grammar"


def override(
    nodes: Iterable[str],
    networks: Iterable[str],
    *,
    grammar: Path | None = None,
    labels: dict[str, str] | None = None,
) -> str:
    """An override file: the shared PostgreSQL as a service of its own, and where nodes find it.

    It is on every network of nodes, past the WAN, so no fault reaches it.

    Args:
        nodes: the services that run `cockroach start`.
        networks: those that the nodes are on.
        grammar: the folder of the documented grammar; statements are unchecked without.
        labels: what the project's own containers carry, if they are looked for by it.
    """
    environment = {STORE_VARIABLE: f"{STORE}:5432"}
    volumes: list[str] = []
    if grammar is not None:
        environment[VARIABLE] = GRAMMAR
        volumes = [f"{grammar.resolve()}:{GRAMMAR}:ro"]
    node = {
        "environment": environment,
        "volumes": volumes,
        "depends_on": {STORE: {"condition": "service_started"}},
    }
    store = {
        "image": STORE_IMAGE,
        "networks": list(networks),
        "labels": labels or {},
        "stop_signal": "SIGINT",  # PostgreSQL's fast shutdown: it waits for nobody
        "stop_grace_period": "10s",
    }
    services = {STORE: store, **dict.fromkeys(nodes, node)}
    return yaml.safe_dump({"services": services}, sort_keys=False)


def write_override(lab: ComposeCluster) -> None:
    """Let a lab that was made, and not started, run on the stand-in images."""
    regions = lab.topology.region_names
    text = override(
        # one more a region: the override speaks of nodes that may come
        [
            node_service(node)
            for region in regions
            for node in lab.topology.with_node(region)[0].nodes_of(region)
        ],
        lab.layout.networks,
        grammar=grammar_folder(),
        labels={LAB_LABEL: lab.settings.lab_id},
    )
    folder = lab.home / "compose"
    folder.mkdir()
    (folder / OVERRIDE_FILE).write_text(text)
