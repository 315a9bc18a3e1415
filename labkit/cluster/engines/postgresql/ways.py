"""The ways through the WAN: every service that another region may dial has ports in it."""

from __future__ import annotations

from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.ports import HOST
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan


def wan_plan(layout: Layout, secrets: Secrets) -> Plan:
    """Return what the WAN process stands in front of, and how far apart the regions are."""
    topology = layout.topology
    regions = topology.region_names

    def listener(port: int, region: str, kind: Kind, to_port: int, source: str | None) -> Listener:
        return Listener(
            port=port,
            region=region,
            kind=kind,
            to_host=HOST,
            to_port=to_port,
            source=source,
            name=f"{kind} {source or '*'}>{region} :{to_port}",
        )

    listeners = []
    for node in topology.nodes:
        here, postgres, rest = node.region, layout.postgres(node), layout.rest(node)
        listeners += [
            listener(layout.postgres_advertised(node), here, Kind.POSTGRES, postgres, None),
            listener(layout.rest_advertised(node), here, Kind.HTTP, rest, None),
        ]
        for source in regions:
            if source != here:
                listeners += [
                    listener(
                        layout.postgres_from(source, node), here, Kind.FIXED, postgres, source
                    ),
                    listener(layout.rest_from(source, node), here, Kind.FIXED, rest, source),
                ]
    for here in regions:
        client, peer = layout.etcd_client(here), layout.etcd_peer(here)
        listeners.append(
            listener(layout.etcd_peer_advertised(here), here, Kind.ETCD_PEER, peer, None)
        )
        listeners += [
            listener(layout.etcd_client(here, source), here, Kind.FIXED, client, source)
            for source in regions
            if source != here
        ]
        listeners += [
            listener(
                layout.balancer_from(source, here),
                here,
                Kind.FIXED,
                layout.read_write(here),
                source,
            )
            for source in regions
            if source != here
        ]
    return Plan(
        control_port=layout.wan_control,
        token=secrets.wan,
        links={
            (a, b): LinkSettings(delay_ms=topology.one_way_ms(a, b))
            for a in regions
            for b in regions
            if a != b
        },
        listeners=tuple(listeners),
        names={member_name(node): node.region for node in topology.nodes},
    )
