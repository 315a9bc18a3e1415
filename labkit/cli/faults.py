"""Commands that inject a fault into the cluster: `labkit fault kill primary`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from labkit.cli import completion
from labkit.cli.outcome import Exit
from labkit.cli.show import AsJson, print_json, say
from labkit.cli.targets import no_primary, running_lab
from labkit.errors import NotReady
from labkit.faults.inject import Injection, inject
from labkit.faults.links import Direction
from labkit.faults.parse import parse

fault_commands = typer.Typer(
    no_args_is_help=True,
    help="Inject a fault into the cluster; it holds until `labkit heal`. "
    "Exit code 1 when it takes no effect.",
)

ProcessTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        autocompletion=completion.process_targets,
        help="us-west-2/1 (a node), us-west-2 (a region), lb:us-west-2 (a load balancer), "
        "primary, leader-region.",
    ),
]
RegionTarget = Annotated[
    str,
    typer.Argument(
        metavar="REGION",
        autocompletion=completion.regions,
        help="us-west-2, or leader-region.",
    ),
]
LinkTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        autocompletion=completion.link_targets,
        help="us-west-2 (all its links), us-west-2:eu-west-1 (one link), "
        "'us-west-2>eu-west-1' (one direction of it), leader-region.",
    ),
]
Way = Annotated[
    Direction | None,
    typer.Option(help="Only what the region receives (in) or sends (out) (default: both)."),
]


@fault_commands.command()
def kill(target: ProcessTarget, as_json: AsJson = False) -> None:
    """Kill every process of the target at once, like a power cut."""
    _inject("kill", target, as_json)


@fault_commands.command()
def stop(target: ProcessTarget, as_json: AsJson = False) -> None:
    """Shut the target down in order, as an operator would; a primary hands over first."""
    _inject("stop", target, as_json)


@fault_commands.command()
def pause(target: ProcessTarget, as_json: AsJson = False) -> None:
    """Freeze the target: it stays alive and connected, but does not answer."""
    _inject("pause", target, as_json)


@fault_commands.command()
def disaster(
    target: RegionTarget,
    alone_s: Annotated[
        float | None,
        typer.Option(min=0, max=3600, help="Seconds between the cut and the end (default: 1)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Cut a region off, then kill it."""
    _inject("disaster", target, as_json, alone_s=alone_s)


@fault_commands.command()
def partition(target: LinkTarget, direction: Way = None, as_json: AsJson = False) -> None:
    """Cut links between regions: they carry nothing, and report no error."""
    _inject("partition", target, as_json, direction=direction)


@fault_commands.command()
def slow(
    target: LinkTarget,
    delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0, max=60_000, help="Added to each direction, in milliseconds (default: 100)."
        ),
    ] = None,
    jitter_ms: Annotated[
        float | None,
        typer.Option(min=0, max=60_000, help="Up to this much more for each message (default: 0)."),
    ] = None,
    direction: Way = None,
    as_json: AsJson = False,
) -> None:
    """Add delay and jitter to links between regions."""
    _inject("slow", target, as_json, delay_ms=delay_ms, jitter_ms=jitter_ms, direction=direction)


def _inject(kind: str, target: str, as_json: bool, **options: Any) -> None:
    """Inject a fault, leave it in place, and show the receipt."""
    cluster = running_lab(to_change=True)
    try:
        fault = parse(kind, target, cluster, **options)
    except NotReady as error:
        raise NotReady(no_primary(cluster.status(), error)) from error
    injection = inject(fault, cluster)
    if as_json:
        print_json(_data(injection))
    else:
        for line in _lines(injection):
            say(line)
    if not injection.after.took_effect:
        raise typer.Exit(Exit.NO)


def _data(injection: Injection) -> dict[str, object]:
    """Return a receipt as the data of `--json`."""
    took_s = injection.took_s
    return {
        "fault": injection.fault.name,
        "target": injection.fault.target_name,
        "took_effect": injection.after.took_effect,
        "before": injection.before.detail,
        "after": injection.after.detail,
        "inject_s": round(injection.inject_s, 3),
        "took_effect_after_s": None if took_s is None else round(took_s, 3),
    }


def _lines(injection: Injection) -> list[str]:
    """Return a receipt as the lines that a person reads."""
    took_s = injection.took_s
    effect = "took no effect" if took_s is None else f"took effect after {took_s:.2f} s"
    return [
        f"fault   {injection.fault.label}, injected in {injection.inject_s:.2f} s, {effect}",
        f"before  {injection.before.detail}",
        f"after   {injection.after.detail}",
        "undo    labkit heal",
    ]
