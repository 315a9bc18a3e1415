"""Commands for the lab itself: up, status, down, heal, dsn, sql."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import typer

import labkit.cluster
from labkit import environment
from labkit.cli import completion
from labkit.cli.outcome import Exit
from labkit.cli.show import AsJson, Stages, counted, print_json, print_status
from labkit.cli.targets import region_named, running_lab
from labkit.cluster.folder import words_for
from labkit.cluster.marks import require_no_run, run_of
from labkit.errors import BadInput, ClusterError, LabError, LabMismatch, NotRunning
from labkit.topology import SurvivalGoal, Topology

RegionName = Annotated[
    str, typer.Argument(autocompletion=completion.regions, help="us-west-2, or leader-region.")
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Go to a replica, in the region where there is one.")
]


class OnOff(StrEnum):
    """An option with the values on and off."""

    ON = "on"
    OFF = "off"


def up(
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.backends,
            help="The engine: embedded, cockroachdb (in containers), cockroach-binary (a program "
            "on PATH) (default: embedded).",
        ),
    ] = None,
    wan: Annotated[
        OnOff | None, typer.Option(help="Keep the regions apart by real delays (default: on).")
    ] = None,
    survive: Annotated[
        SurvivalGoal | None,
        typer.Option(help="What a commit waits for; may be changed later (default: region)."),
    ] = None,
    topology: Annotated[
        Path | None,
        typer.Option(help="A TOML file with regions and distances (default: 3 regions, 9 nodes)."),
    ] = None,
    port_base: Annotated[
        int | None,
        typer.Option(min=1024, max=64536, help="The first of the 1000 ports that the lab may use."),
    ] = None,
    secure: Annotated[
        bool | None,
        typer.Option("--secure", help="With certificates and a password (CockroachDB only)."),
    ] = None,
) -> None:
    """Start the lab, or attach to the one that runs; wait until every part is in service.

    An option that is left out stays as the lab has it.
    """
    from labkit.cluster.strays import end_removed_lab
    from labkit.lab import bring_up

    shape = Topology.load(topology) if topology else None
    require_no_run(labkit.cluster.home())
    with Stages() as on_stage:
        end_removed_lab(labkit.cluster.home(), on_stage)
        cluster = labkit.cluster.create(
            backend,
            topology=shape,
            survive=survive,
            wan=None if wan is None else wan is OnOff.ON,
            port_base=port_base,
            secure=secure,
        )
        bring_up(cluster, on_stage)
    nodes, regions = len(cluster.topology.nodes), len(cluster.topology.regions)
    typer.echo(
        f"{counted(nodes, 'node')} in {counted(regions, 'region')} {'is' if nodes == 1 else 'are'} "
        f"in service, the primary is {cluster.leader()}, "
        f"survival goal {cluster.survival_goal()}"
    )
    typer.echo("next: labkit status | labkit run 03_node_loss | labkit notebook | labkit down")


def status(as_json: AsJson = False) -> None:
    """Show every part of the lab as it is now. The exit code is 1 if a part is out of service."""
    found = labkit.cluster.attach().status()
    if as_json:
        print_json(found.to_json())
    else:
        print_status(found)
    if not found.healthy:
        raise typer.Exit(Exit.NO)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove its data as well.")] = False,
) -> None:
    """Stop every process of the lab. Its data stays unless --purge is given."""
    try:
        cluster = labkit.cluster.attach()
    except NotRunning:
        _end_removed_lab()
        return
    except (BadInput, LabMismatch) as error:
        _end_unusable_lab(error, purge=purge)
        return
    run = run_of(labkit.cluster.home())
    left: tuple[str, ...] = ()
    with Stages() as on_stage:
        cluster.stop(on_stage)
        if purge:
            on_stage("removing its data")
            left = cluster.purge()
    if run is not None:
        typer.echo(f"the run that was going on has ended: {run.folder}")
    typer.echo("the lab is gone" if purge else "the lab is stopped, its data is kept")
    if left:
        typer.echo(f"not labkit's, and left in {labkit.cluster.home()}: {words_for(left)}")


def _end_unusable_lab(error: LabError, *, purge: bool) -> None:
    """End what runs of a lab that this labkit cannot use; say why it cannot when more is wanted."""
    from labkit.cluster.strays import end_unusable_lab

    home = labkit.cluster.home()
    with Stages() as on_stage:
        ended = end_unusable_lab(home, on_stage)
    if ended:
        typer.echo(f"{ended} processes of the lab in {home} are ended now, its data is kept")
    if purge or not ended:
        raise error


def _end_removed_lab() -> None:
    """End the processes of a lab whose state folder was removed."""
    from labkit.cluster.strays import end_removed_lab

    ended = end_removed_lab(labkit.cluster.home())
    if ended:
        typer.echo(
            f"the state folder {labkit.cluster.home()} was removed while its lab ran: "
            f"{ended} of its processes went on and are ended now"
        )
    else:
        typer.echo("no lab here, nothing to stop")


def heal() -> None:
    """Undo every fault, whoever injected it, and wait until every part is in service."""
    cluster = labkit.cluster.attach_to_change()
    with Stages() as on_stage:
        cluster.heal(on_stage)
    typer.echo("every part is in service")


def dsn(
    region: RegionName,
    read_only: ReadOnly = False,
    password: Annotated[
        bool,
        typer.Option("--password", help="Put the password into the URL (default: its file)."),
    ] = False,
) -> None:
    """Print the connection URL of a region's load balancer.

    Without --password the URL names a file with the password, which libpq, psql and psycopg read.
    """
    cluster = labkit.cluster.attach()
    url = cluster.dsn(region_named(cluster, region), read_only=read_only)
    typer.echo(_with_password(url) if password else url)


def sql(
    region: RegionName,
    read_only: ReadOnly = False,
    command: Annotated[
        str | None, typer.Option("--command", "-c", help="Run this and exit, instead of a prompt.")
    ] = None,
) -> None:
    """Open psql on a region's load balancer, or a small prompt if there is no psql."""
    from labkit.cluster.machines.programs import psql

    cluster = running_lab()
    url = cluster.dsn(region_named(cluster, region), read_only=read_only)
    program = psql()
    if program is not None:
        arguments = [] if command is None else ["--command", command]
        ours = environment.of_programs()  # PGPASSWORD would win over the URL's password file
        os.execve(program, [str(program), url, *arguments], ours)  # noqa: S606 - becomes psql
    _without_psql(url, command)


def _without_psql(url: str, command: str | None) -> None:
    import psycopg

    from labkit import libpq
    from labkit.cli.prompt import prompt, run

    try:
        if command is None:
            prompt(url)
        else:
            with libpq.connect(url, autocommit=True) as connection:
                run(connection, command)
    except psycopg.Error as error:
        raise ClusterError(" ".join(str(error).split())) from error


def _with_password(url: str) -> str:
    """Put the password into the URL that libpq would use for it; without one leave it unchanged."""
    from psycopg.pq import PGconn

    from labkit import libpq

    connection = PGconn.connect_start(libpq.alone(url).encode())
    password = quote(connection.password.decode(), safe="")
    connection.finish()
    if not password:
        return url
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "passfile"]
    return parts._replace(netloc=f"{user}:{password}@{address}", query=urlencode(query)).geturl()
