"""Checks of Docker: its engine, its memory, the images and Compose."""

from __future__ import annotations

import os
from pathlib import Path

from labkit.cluster.engines.cockroachdb.containers.render import DEFAULT_VERSION
from labkit.cluster.engines.cockroachdb.containers.settings import images_asked_for
from labkit.cluster.engines.cockroachdb.containers.starting import NODE_MIB
from labkit.cluster.engines.cockroachdb.settings import VERSION_VARIABLE
from labkit.cluster.machines.compose import find_compose
from labkit.cluster.machines.docker import Engine
from labkit.doctor.check import Check, Feature, Level
from labkit.errors import LabError
from labkit.topology import DEFAULT

MIB = 1 << 20


def containers() -> tuple[Check, ...]:
    """Check that a Docker engine answers, its memory, the images, and Docker Compose."""
    needed_for = (Feature.CONTAINERS,)
    try:
        engine = Engine.connect()
        facts = engine.facts()
    except LabError as error:
        return (Check("Docker Engine", Level.FAIL, "none", f"{error}", needed_for), compose())
    found = f"{facts.version} ({facts.system})"
    return (
        Check("Docker Engine", Level.OK, found, "", needed_for),
        docker_memory(facts.memory_bytes),
        images(engine),
        compose(),
    )


def docker_memory(memory_bytes: int) -> Check:
    """Check Docker's memory for nine CockroachDB nodes; each is limited to 1 GiB."""
    nodes, have = len(DEFAULT.nodes), memory_bytes // MIB
    needed_for, least = (Feature.CONTAINERS,), nodes * NODE_MIB
    found = f"{have} MiB, nine CockroachDB nodes take at least {least} MiB"
    if have < least:
        advice = "give Docker more, or make a smaller --topology"
        return Check("Docker memory", Level.FAIL, found, advice, needed_for)
    if have < nodes * 1024:
        return Check("Docker memory", Level.WARN, found, "nodes may be short of it", needed_for)
    return Check("Docker memory", Level.OK, found, "", needed_for)


def images(engine: Engine) -> Check:
    """Tell whether the images that a new lab would run are there; else they are pulled."""
    wanted = images_asked_for()
    version = os.environ.get(VERSION_VARIABLE) or DEFAULT_VERSION
    names = [f"{wanted['COCKROACH_IMAGE']}:{version}", wanted["HAPROXY_IMAGE"]]
    names.append(wanted["PYTHON_IMAGE"])
    missing = [name for name in names if not engine.has_image(name)]
    needed_for = (Feature.CONTAINERS,)
    if missing:
        found = f"not here yet: {', '.join(missing)}"
        return Check("images", Level.WARN, found, "`labkit up` pulls them", needed_for)
    return Check("images", Level.OK, ", ".join(names), "", needed_for)


def compose() -> Check:
    """Docker Compose, new enough."""
    needed_for = (Feature.CONTAINERS,)
    try:
        command, release = find_compose()
    except LabError as error:
        return Check("Docker Compose", Level.FAIL, "none", f"{error}", needed_for)
    program = " ".join([Path(command[0]).name, *command[1:]])
    return Check("Docker Compose", Level.OK, f"{release} ({program})", "", needed_for)
