"""Commands that inject a fault into the cluster: `labkit fault kill primary`."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

import typer

from labkit.cli import completion
from labkit.cli.outcome import Exit
from labkit.cli.show import AsJson, print_json, say
from labkit.cli.targets import no_primary, running_lab
from labkit.errors import LabError, NotReady
from labkit.faults.base import Fault, Probe, await_bite, require_absent
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


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record of an injection, with the evidence of its effect.

    Attributes:
        before: the probe before the injection.
        after: the last probe after it.
        inject_s: the seconds that the injection took.
        bite_s: the seconds from its beginning until the last probe.
    """

    fault: Fault
    before: Probe
    after: Probe
    inject_s: float
    bite_s: float

    def to_json(self) -> dict[str, object]:
        """Return the data of `--json`."""
        return {
            "fault": self.fault.name,
            "target": self.fault.target_name,
            "bit": self.after.bit,
            "before": self.before.detail,
            "after": self.after.detail,
            "inject_s": round(self.inject_s, 3),
            "bite_s": round(self.bite_s, 3) if self.after.bit else None,
        }

    def lines(self) -> list[str]:
        """Return the lines that a person reads."""
        verdict = f"took effect after {self.bite_s:.2f} s" if self.after.bit else "took no effect"
        return [
            f"fault   {self.fault.label}, injected in {self.inject_s:.2f} s, {verdict}",
            f"before  {self.before.detail}",
            f"after   {self.after.detail}",
            "undo    labkit heal",
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
    """Inject a fault, and leave it in place; heal it if the injection fails half-way."""
    cluster = running_lab(to_change=True)
    try:
        fault = parse(kind, target, cluster, **options)
    except NotReady as error:
        raise NotReady(no_primary(cluster.status(), error)) from error
    before = require_absent(fault, cluster)
    begun_s = monotonic()
    try:
        fault.inject(cluster)
    except BaseException as error:
        try:
            fault.heal(cluster)
        except LabError as failed:
            error.add_note(f"the fault may hold in part ({failed}): `labkit heal`")
        raise
    inject_s = monotonic() - begun_s
    after = await_bite(fault, cluster)
    receipt = Receipt(fault, before, after, inject_s, monotonic() - begun_s)
    if as_json:
        print_json(receipt.to_json())
    else:
        for line in receipt.lines():
            say(line)
    if not after.bit:
        raise typer.Exit(Exit.NO)
