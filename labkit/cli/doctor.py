"""The command that checks which backends will run on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

import labkit.cluster
from labkit.cli.outcome import Exit
from labkit.cli.show import AsJson, console, new_table, print_json

if TYPE_CHECKING:
    from labkit.doctor.check import Diagnosis

STYLE = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, what will run on it and what will not, and why.

    The exit code is 1 if the embedded engine will not run.
    """
    from labkit.doctor import diagnose
    from labkit.doctor.check import Feature

    diagnosis = diagnose(labkit.cluster.home())
    blockers = {
        str(feature): [check.name for check in diagnosis.blockers(feature)] for feature in Feature
    }
    if as_json:
        print_json({"checks": [asdict(check) for check in diagnosis.checks], "blockers": blockers})
    else:
        _print(diagnosis, blockers)
    if blockers[Feature.EMBEDDED]:
        raise typer.Exit(Exit.NO)


def _print(diagnosis: Diagnosis, blockers: dict[str, list[str]]) -> None:
    out = console()
    table = new_table("check", "", "found", "what to do")
    for check in diagnosis.checks:
        table.add_row(check.name, Text(check.level, STYLE[check.level]), check.found, check.advice)
    out.print(table)
    for feature, because in blockers.items():
        word = ("will not run: " + ", ".join(because), "red") if because else ("will run", "green")
        out.print(Text.assemble(f"{feature} ", word))
