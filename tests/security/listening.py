"""What listens, as the operating system says and as docs/security.md has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import psutil

from labkit.cluster.processes import LAB_VARIABLE
from labkit.topology import Topology

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


def documented(section: str) -> set[str]:
    """What may listen, as the first column of a section's table names it."""
    text = DOCUMENT.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)`.* \|$", text, re.MULTILINE))


def kind(purpose: str, topology: Topology) -> str:
    """A purpose as the tables name it: which node or region does not matter."""
    for node in topology.nodes:
        purpose = purpose.replace(node.name, "NODE")
    for region in topology.region_names:
        purpose = purpose.replace(region, "REGION")
    return purpose


def marked(lab_id: str) -> set[int]:
    """Every process that carries a lab's mark."""
    return {
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(LAB_VARIABLE) == lab_id
    }


def sockets(pids: set[int], purposes: Mapping[int, str], topology: Topology) -> set[str]:
    """What processes listen on, by kind; what is no port of the lab, or not for this machine alone,
    is told with its process."""
    found = set()
    for one in psutil.net_connections("all"):
        if one.pid not in pids:
            continue
        program = psutil.Process(one.pid).name()
        if one.family.name == "AF_UNIX":
            if one.laddr:
                found.add(_unix_socket(str(one.laddr), program, topology))
        elif one.status == psutil.CONN_LISTEN or (one.type.name == "SOCK_DGRAM" and one.laddr):
            address, port = one.laddr
            if address == "127.0.0.1" and port in purposes:
                found.add(kind(purposes[port], topology))
            else:
                found.add(f"{program} on {address}:{port}")
    return found


def _unix_socket(address: str, program: str, topology: Topology) -> str:
    if address.startswith("@"):  # without a name in the file system
        return f"@NUMBER of {program}"
    path = Path(address)
    # HAProxy binds its socket under another name and renames it
    name = path.name.partition(".sock")[0] + ".sock"
    return kind(f"{path.parent.name}/{name}", topology)
