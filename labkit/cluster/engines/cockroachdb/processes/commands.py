"""The processes of a CockroachDB lab: how each is started."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from labkit.cluster.engines.cockroachdb import haproxy, program
from labkit.cluster.engines.cockroachdb.layout import node_service
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.identity import Identity
from labkit.cluster.layout import WAN
from labkit.cluster.machines import programs, reach
from labkit.cluster.machines.processes import Command, balancer_command, wan_command
from labkit.cluster.ports import HOST
from labkit.errors import MissingBinary


def find_cockroach() -> Path:
    """Return the `cockroach` program on PATH.

    Raises:
        MissingBinary: there is none.
    """
    found = shutil.which("cockroach")
    if found is None:
        raise MissingBinary(
            "no cockroach program on PATH: https://www.cockroachlabs.com/docs/releases/ has it, "
            "and `labkit up --backend cockroachdb` runs it in containers"
        )
    return Path(found)


def build_tag(path: Path) -> str:
    """Return what `cockroach version` calls itself, such as v25.4.17."""
    done = subprocess.run(
        [path, "version"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    found = re.search(r"^Build Tag:\s*(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else "unknown"


def placed_cockroach(layout: ProcessLayout, user: Identity) -> Path:
    """Return the `cockroach` program, where the lab's servers may execute it.

    Raises:
        MissingBinary: there is none.
    """
    found = programs.Program("cockroach", find_cockroach(), ())
    return reach.placed(found, layout.place, user).path


def command(layout: ProcessLayout, user: Identity, service: str) -> Command:
    """Return how a service is started.

    Raises:
        MissingBinary: its program is not here.
    """
    if service == WAN:
        return wan_command(layout.conf / "wan.json", user)
    node = next((node for node in layout.topology.nodes if node_service(node) == service), None)
    if node is None:
        file = layout.conf / f"{service}.cfg"
        return balancer_command(file, haproxy.CONNECTIONS, layout.topology, layout.place, user)
    sql = f"{HOST}:{layout.sql(node)}"
    arguments = program.start(
        node,
        advertise=sql,
        elsewhere=layout.elsewhere(node),
        join=layout.join(node.region),
        store=str(layout.store(node)),
        certs=layout.certs,
        listen=sql,
        http=f"{HOST}:{layout.console(node)}",
    )
    return Command([placed_cockroach(layout, user), *arguments])
