"""The command that renders a Docker Compose folder."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from labkit.cli.lab import OnOff
from labkit.cli.show import say
from labkit.topology import DEFAULT, Topology

compose_commands = typer.Typer(
    no_args_is_help=True,
    help="CockroachDB under Docker Compose, without the rest of labkit.",
)


@compose_commands.callback()
def compose() -> None:
    """CockroachDB under Docker Compose, without the rest of labkit."""


@compose_commands.command()
def render(
    topology: Annotated[
        Path | None,
        typer.Option(help="A TOML file with regions and distances (default: 3 regions, 9 nodes)."),
    ] = None,
    wan: Annotated[OnOff, typer.Option(help="Keep the regions apart by real delays.")] = OnOff.ON,
    secure: Annotated[
        bool, typer.Option("--secure", help="With certificates instead of --insecure.")
    ] = False,
    port_base: Annotated[
        int | None,
        typer.Option(
            min=1024,
            max=65535,
            help="The first port (default: 26257, 8080 and on, as docs/cockroachdb.md).",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("compose"),
) -> None:
    """Write the Compose file, the balancers' configurations and the WAN's plan to a folder."""
    from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
    from labkit.cluster.engines.cockroachdb.containers.standalone import write

    shape = Topology.load(topology) if topology else DEFAULT
    file = write(ComposeLayout(shape, wan is OnOff.ON, secure, port_base), output)
    say(f"docker compose -f {quote(str(file))} up -d --wait")
