"""Commands about single nodes: `labkit node add us-east-1`."""

from __future__ import annotations

from typing import Annotated

import typer

import labkit.cluster
from labkit.cli import completion
from labkit.cli.lab import RegionName
from labkit.cli.show import AsJson, Stages, console, new_table, print_json
from labkit.cli.targets import node_named, nodes_named, region_named
from labkit.cluster.base import CanScale, Cluster
from labkit.errors import BadInput

node_commands = typer.Typer(
    no_args_is_help=True,
    help="Add and remove nodes, and restart them in turn, while clients go on.",
)


@node_commands.callback()
def node() -> None:
    """Add and remove nodes, and restart them in turn, while clients go on."""


@node_commands.command()
def add(region: RegionName) -> None:
    """Start one more node in a region, and wait until it is behind the region's balancer."""
    cluster = labkit.cluster.attach_to_change()
    scalable, home = _scalable(cluster), region_named(cluster, region)
    with Stages() as on_stage:
        added = scalable.add_node(home, on_stage)
    typer.echo(f"{added} is in service")


@node_commands.command()
def remove(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NODE", autocompletion=completion.nodes, help="Such as us-west-2/4, or primary."
        ),
    ],
) -> None:
    """Let a node hand over, and remove it and its data for good."""
    cluster = labkit.cluster.attach_to_change()
    target = node_named(cluster, name)
    with Stages() as on_stage:
        _scalable(cluster).remove_node(target, on_stage)
    typer.echo(f"{target} is gone")


@node_commands.command()
def restart(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE]...",
            autocompletion=completion.nodes_and_regions,
            help="us-west-2/1, primary, us-west-2 (its nodes), leader-region "
            "(default: every node).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restart nodes in turn, the leader last: each hands over, stops, and is in service again."""
    from labkit.operations.rolling import rolling_restart

    cluster = labkit.cluster.attach_to_change()
    named = [node for name in names or () for node in nodes_named(cluster, name)]
    chosen = list(dict.fromkeys(named)) or None
    with Stages() as on_stage:
        done = rolling_restart(cluster, chosen, on_stage)
    if as_json:
        print_json(
            [
                {
                    "node": step.node,
                    "stop_s": round(step.stop_s, 3),
                    "start_s": round(step.start_s, 3),
                }
                for step in done
            ]
        )
        return
    table = new_table("node", "stopped in", "back after")
    for step in done:
        table.add_row(step.node, f"{step.stop_s:.1f} s", f"{step.start_s:.1f} s")
    console().print(table)


def _scalable(cluster: Cluster) -> CanScale:
    if not isinstance(cluster, CanScale):
        raise BadInput(f"nodes of the {cluster.backend} backend cannot be added or removed")
    return cluster
