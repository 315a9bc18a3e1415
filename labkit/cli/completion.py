"""Completions for the shell: targets, regions, notebooks, parameters, runs.

The shell runs labkit with `_LABKIT_COMPLETE` set, and waits for the answer. So no completion asks
the lab or imports a module that takes long. One that fails offers nothing instead of an error.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import typer

import labkit.cluster
from labkit.assets import runs_folder
from labkit.notebooks import find_notebook, notebooks
from labkit.topology import DEFAULT, Topology

VARIABLE = "_LABKIT_COMPLETE"
Completer = Callable[[typer.Context, str], list[str]]


def answer_bash(app: Callable[[], object]) -> None:
    """Run the program for bash, which splits a word at each colon and equals sign.

    Of `lb:us-west-2` bash completes `us-west-2` alone, and takes `lb` and `:` for other words.
    """
    in_front = _put_together()
    told = io.StringIO()
    try:
        with redirect_stdout(told):
            app()
    finally:  # it ends by SystemExit
        for line in told.getvalue().splitlines():
            typer.echo(line.removeprefix(in_front))


def _put_together() -> str:
    """Join the words that bash split; return the part that bash keeps before the completed word."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    try:
        last = int(os.environ["COMP_CWORD"])
    except (KeyError, ValueError):
        return ""
    joined: list[str] = []
    glue = False
    for word in words[: last + 1]:
        breaks = re.fullmatch(r"[:=]+", word) is not None
        if joined and (glue or breaks):
            joined[-1] += word
        else:
            joined.append(word)
        glue = breaks
    if not joined or len(joined) > last:
        return ""
    os.environ["COMP_WORDS"] = "\n".join(joined)
    os.environ["COMP_CWORD"] = str(len(joined) - 1)
    return re.sub(r"[^:=]*$", "", joined[-1])


def _offers(words: Callable[[typer.Context], Iterable[str]]) -> Completer:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [word for word in words(ctx) if word.startswith(incomplete)]
        except Exception:  # whatever it is, a half-typed line is no place to tell it
            return []

    return complete


def _topology() -> Topology:
    """Read the topology of the lab, or return that of a new lab."""
    try:
        found = json.loads((labkit.cluster.home() / "lab.json").read_text(encoding="utf-8"))
        return Topology.model_validate(found["topology"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT


@_offers
def regions(_ctx: typer.Context) -> Iterator[str]:
    """Offer the regions, and `leader-region`."""
    yield "leader-region"
    yield from _topology().region_names


@_offers
def nodes(_ctx: typer.Context) -> Iterator[str]:
    """Offer the nodes, and `primary`."""
    yield "primary"
    yield from (node.name for node in _topology().nodes)


@_offers
def nodes_and_regions(_ctx: typer.Context) -> Iterator[str]:
    """Offer the nodes, and the regions, each of which stands for its nodes."""
    yield from ("primary", "leader-region")
    yield from _topology().region_names
    yield from (node.name for node in _topology().nodes)


@_offers
def workloads(_ctx: typer.Context) -> Iterable[str]:
    """Offer the classes of `workloads/`; the shell itself completes the name of a file."""
    return ("accounts", "orders")


@_offers
def process_targets(_ctx: typer.Context) -> Iterator[str]:
    """Offer the targets that can be killed, stopped and paused."""
    topology = _topology()
    yield from ("primary", "leader-region")
    yield from topology.region_names
    yield from (node.name for node in topology.nodes)
    yield from (balancer.name for balancer in topology.balancers)


@_offers
def link_targets(_ctx: typer.Context) -> Iterator[str]:
    """Offer regions and links. A direction of a link (`A>B`) is not offered: it must be quoted."""
    names = _topology().region_names
    yield "leader-region"
    yield from names
    yield from (f"{one}:{other}" for one in names for other in names if one != other)


@_offers
def backends(_ctx: typer.Context) -> Iterable[str]:
    """Offer the engines."""
    return labkit.cluster.BACKENDS


@_offers
def notebook_names(_ctx: typer.Context) -> Iterator[str]:
    """Offer the notebooks of labkit, by both of their names, and those of the current folder."""
    for stem in notebooks():
        yield stem
        yield stem.partition("_")[2]
    yield from sorted(path.name for path in Path().glob("*.ipynb"))


@_offers
def parameters(ctx: typer.Context) -> Iterator[str]:
    """Offer the parameters of the notebook that the line names, with their defaults."""
    from labkit.run.parameters import declared_parameters

    given = {str(one).partition("=")[0] for one in (*ctx.args, *ctx.params["parameter"])}
    # the option that waits for its value keeps the parser from placing the words before it
    notebook = ctx.params["notebook"] or next(one for one in ctx.args if not one.startswith("-"))
    for name, declared in declared_parameters(find_notebook(notebook)).items():
        default = declared.default if isinstance(declared.default, str) else declared.source
        if name not in given:
            # a shell would take a blank or a quote for its own
            yield f"{name}={default if re.fullmatch(r'[A-Za-z0-9_.,/-]+', default) else ''}"


@_offers
def runs(_ctx: typer.Context) -> Iterator[str]:
    """Offer the runs, the newest first."""
    names = sorted((path.name for path in runs_folder().iterdir() if path.is_dir()), reverse=True)
    found = [name for name in names if name[:1].isdigit()]
    yield from (f"last-{age}" if age else "last" for age in range(min(len(found), 5)))
    yield from found
