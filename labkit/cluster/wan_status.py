"""The WAN and its links, as the status of a lab shows them."""

from __future__ import annotations

from labkit.cluster.layout import WAN
from labkit.cluster.status import LinkStatus, ServiceStatus, State
from labkit.errors import LabError
from labkit.wan.client import WanClient

Links = tuple[LinkStatus, ...]


def links_of(wan: WanClient | None, state: State) -> Links | None:
    """Return the links as the WAN says; None without a WAN, or when it does not answer."""
    if wan is None or state is not State.RUNNING:
        return None
    try:
        links = wan.links()
    except LabError:
        return None
    return tuple(
        LinkStatus(link.source, link.target, link.delay_ms, link.jitter_ms, link.cut)
        for link in links
    )


def wan_status(
    wan: WanClient | None, state: State, pid: int | None, links: Links | None
) -> tuple[ServiceStatus, ...]:
    """Return the status of the WAN; nothing of a lab that has none."""
    if wan is None:
        return ()
    detail = "it does not answer" if state is State.RUNNING else state.value
    return (
        ServiceStatus(
            name=WAN,
            region="",
            state=state,
            healthy=links is not None,
            pid=pid,
            ports={"control": wan.port},
            detail="" if links is not None else detail,
        ),
    )
