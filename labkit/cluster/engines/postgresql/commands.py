"""The processes of a PostgreSQL lab: how each is started, but for the nodes (see `forker`)."""

from __future__ import annotations

from labkit.cluster.engines.postgresql import config
from labkit.cluster.engines.postgresql.layout import Layout, etcd_name
from labkit.cluster.identity import Identity
from labkit.cluster.layout import WAN
from labkit.cluster.machines import programs, reach
from labkit.cluster.machines.processes import Command, balancer_command, wan_command


def command(layout: Layout, user: Identity, service: str) -> Command:
    """Return how a service is started.

    Raises:
        MissingBinary: its program is not here.
    """
    if service == WAN:
        return wan_command(layout.conf / "wan.json", user)
    for region in layout.topology.region_names:
        if service == etcd_name(region):
            program = reach.placed(programs.etcd(), layout.place, user)
            return Command(config.etcd(layout, program, region), {"GOMAXPROCS": "1"})
    file, most = layout.conf / f"{service}.cfg", config.BALANCER_CONNECTIONS
    return balancer_command(file, most, layout.topology, layout.place, user)
