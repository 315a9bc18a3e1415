"""The files for Compose, HAProxy and the WAN. Pure functions: settings in, texts out.

Nothing rendered holds a secret: the WAN's token comes from the environment (`LABKIT_WAN_TOKEN`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from labkit.cluster.engines.cockroachdb import haproxy, program
from labkit.cluster.engines.cockroachdb.containers.layout import (
    CERTIFICATES,
    INIT,
    STATISTICS,
    WAN_CONTROL,
    ComposeLayout,
)
from labkit.cluster.engines.cockroachdb.layout import address, balancer_service, node_service
from labkit.cluster.identity import WAN_UID
from labkit.cluster.layout import WAN
from labkit.cluster.machines.base import LAB_LABEL
from labkit.cluster.ports import HOST
from labkit.topology import MAX_NODES, Node
from labkit.wan.plan import MIN_TOKEN_CHARACTERS, Plan

DEFAULT_VERSION = "v25.4.17"
"""A regular release, with long-term support since v25.4.10: supported until May 2027 at the least
(releases/release-support-policy.md)."""
DEFAULT_IMAGES = {
    "COCKROACH_IMAGE": "cockroachdb/cockroach",
    "HAPROXY_IMAGE": "haproxy:3.2",  # long-term support until 2030 (haproxy.org)
    "PYTHON_IMAGE": "python:3.13-slim",
}
COMPOSE_FILE = "cockroachdb.yml"
WAN_FILE = "wan.json"

MEMORY_LIMIT = "1g"
"""Of a node, so that nine fit a laptop. Cache, SQL and the 64 MiB of the time series are a quarter
of it, where cockroach-start.md (v25.4, --cache) allows three; the rest is Go's and Pebble's."""
COCKROACH = "/cockroach/cockroach"
"""In the image (build/deploy/Dockerfile)."""
STORE = "/cockroach/cockroach-data"
"""Where the program puts it by default in the image (build/deploy/Dockerfile, cockroach.sh)."""
CERTS = "/certs"
PROGRAM = ("__init__.py", "errors.py", "wan")
"""What of the `labkit` package the WAN's container runs."""
READ = "ro,z"
"""How files of this machine are mounted. z labels them for containers where there is SELinux, as
on Fedora (docs.docker.com, "Bind mounts", "Configure the SELinux label"); elsewhere it does
nothing."""
DOCKER_DNS = "127.0.0.11:53"
"""The name server inside every container of a network that Compose made."""

Service = dict[str, Any]
"""A service as the Compose file says it."""


@dataclass(frozen=True, slots=True)
class Project:
    """A Compose project to render.

    Attributes:
        name: the Compose project.
        lab_id: the value of the label that every container carries.
        labkit: the folder of the `labkit` package: absolute, or relative to the Compose file.
        absent: nodes that are not there, yet or any more, and that an override file speaks of.
    """

    layout: ComposeLayout
    name: str
    lab_id: str
    labkit: str
    absent: tuple[Node, ...] = ()


def files(project: Project) -> dict[str, str]:
    """Every file of the folder, by name."""
    layout = project.layout
    found = {COMPOSE_FILE: _heading(project) + dump(compose(project))}
    for region in layout.topology.region_names:
        found[f"{balancer_service(region)}.cfg"] = haproxy_configuration(layout, region)
    if layout.wan:
        data = wan_plan(layout, "x" * MIN_TOKEN_CHARACTERS).to_json()
        del data["token"]
        found[WAN_FILE] = json.dumps(data, indent=1) + "\n"
    return found


def compose(project: Project) -> dict[str, Any]:
    """Return the Compose file."""
    layout = project.layout
    services: dict[str, Service] = {}
    if layout.secure:
        services[CERTIFICATES] = _certificates(project)
    if layout.wan:
        services[WAN] = _wan(project)
    for node in layout.topology.nodes:
        services[node_service(node)] = _node(project, node)
    for node in project.absent:
        services[node_service(node)] = {**_cockroach(project), "profiles": ["absent"]}
    services[INIT] = _init(project)
    for region in layout.topology.region_names:
        services[balancer_service(region)] = _balancer(project, region)
    volumes = [node_service(node) for node in layout.topology.nodes]
    if layout.secure:
        volumes += ["certs", "authority"]
    return {
        "name": project.name,
        "services": services,
        "networks": {name: {} for name in layout.networks},
        "volumes": {name: {"labels": _labels(project)} for name in volumes},
    }


# services


def _node(project: Project, node: Node) -> Service:
    layout = project.layout
    arguments = program.start(
        node,
        advertise=f"{node_service(node)}:{program.SQL_PORT}",
        elsewhere=layout.elsewhere(node),
        join=layout.join(node.region),
        store=STORE,
        certs=CERTS if layout.secure else None,
    )
    scheme, trust = ("https", ["--cacert", f"{CERTS}/ca.crt"]) if layout.secure else ("http", [])
    health = f"{scheme}://{HOST}:{program.HTTP_PORT}/health?ready=1"
    return {
        **_cockroach(project),
        "hostname": node_service(node),
        # the image's entrypoint puts the program before it (build/deploy/cockroach.sh)
        "command": arguments,
        "networks": [layout.network(node.region)],
        "ports": [
            f"{HOST}:{layout.sql(node)}:{program.SQL_PORT}",
            f"{HOST}:{layout.console(node)}:{program.HTTP_PORT}",
        ],
        "volumes": [f"{node_service(node)}:{STORE}", *_certs_volume(layout)],
        "depends_on": {
            **({WAN: _once("started")} if layout.wan else {}),
            **({CERTIFICATES: _once("completed_successfully")} if layout.secure else {}),
        },
        "mem_limit": MEMORY_LIMIT,
        # The image is built on ubi-minimal (build/deploy/Dockerfile), which is taken to have curl.
        # Ready, and how often: as the vendor's StatefulSet asks, without a login over HTTPS too
        # (cloud/kubernetes/cockroachdb-statefulset-secure.yaml, v22.1, readinessProbe)
        "healthcheck": {
            "test": ["CMD", "curl", "-fsS", "-o", "/dev/null", *trust, health],
            "interval": "5s",
            "timeout": "3s",
            "retries": 3,
            "start_period": "120s",
        },
        # The sum of the server.shutdown settings is advised, 25 s by default (node-shutdown.md,
        # v25.4, "Termination grace period"); the StatefulSet named above gives 60
        "stop_grace_period": "60s",
    }


def _init(project: Project) -> Service:
    layout = project.layout
    first = layout.topology.nodes[0]  # it stands on every --join list, as `init` wants
    script = program.init_script(
        COCKROACH, address(layout.sql_from(first.region, first)), _certs(layout)
    )
    return {
        **_cockroach(project),
        "entrypoint": ["/bin/sh", "-c", _literally(script)],
        "networks": [layout.network(first.region)],
        "volumes": _certs_volume(layout),
        "depends_on": {node_service(node): _once("started") for node in layout.topology.nodes},
        "init": True,  # a shell that is process 1 does not heed SIGTERM
        "restart": "no",
    }


def _certificates(project: Project) -> Service:
    layout = project.layout
    names = ["localhost", HOST]
    # also those of nodes that may come later
    names += [
        node_service(Node(region=region, index=i))
        for region in layout.topology.region_names
        for i in range(1, MAX_NODES + 1)
    ]
    names += [balancer_service(region) for region in layout.topology.region_names]
    names += [WAN] if layout.wan else []
    script = program.certificates_script(COCKROACH, CERTS, "/authority", names)
    return {
        **_cockroach(project),
        "entrypoint": ["/bin/sh", "-c", _literally(script)],
        "network_mode": "none",
        "volumes": [f"certs:{CERTS}", "authority:/authority"],
        "init": True,
        "restart": "no",
    }


def _balancer(project: Project, region: str) -> Service:
    layout, name = project.layout, balancer_service(region)
    return {
        "image": _variable("HAPROXY_IMAGE", DEFAULT_IMAGES["HAPROXY_IMAGE"]),
        "labels": _labels(project),
        "hostname": name,
        "networks": [layout.network(region)],
        "ports": [
            f"{HOST}:{layout.balancer(region)}:{program.SQL_PORT}",
            f"{HOST}:{layout.statistics(region)}:{STATISTICS}",
        ],
        "volumes": [f"./{name}.cfg:/usr/local/etc/haproxy/haproxy.cfg:{READ}"],
        "depends_on": {INIT: _once("completed_successfully")},
        # the image's own, SIGUSR1, lets it wait for clients to leave (docker-library/haproxy)
        "stop_signal": "SIGTERM",
        "stop_grace_period": "5s",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _wan(project: Project) -> Service:
    layout, source = project.layout, project.labkit
    inside = "/opt/labkit"
    command = ["python", "-m", "labkit.wan", "--token-variable", "LABKIT_WAN_TOKEN"]
    return {
        "image": _variable("PYTHON_IMAGE", DEFAULT_IMAGES["PYTHON_IMAGE"]),
        "labels": _labels(project),
        "hostname": WAN,
        "command": [*command, f"/etc/{WAN_FILE}"],
        "environment": {
            # without a token the process makes one up, and nobody can change its links
            "LABKIT_WAN_TOKEN": _variable("LABKIT_WAN_TOKEN", ""),
            "PYTHONPATH": "/opt",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        "networks": list(layout.networks),
        "ports": [
            f"{HOST}:{layout.wan_control}:{WAN_CONTROL}",
            *(
                f"{HOST}:{layout.balancer_from(*way)}:{layout.balancer_way(*way)[0]}"
                for way in layout.ways
            ),
        ],
        "volumes": [
            *(f"{source}/{part}:{inside}/{part}:{READ}" for part in PROGRAM),
            f"./{WAN_FILE}:/etc/{WAN_FILE}:{READ}",
        ],
        "user": f"{WAN_UID}:{WAN_UID}",
        "read_only": True,
        "init": True,
        "stop_grace_period": "2s",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _cockroach(project: Project) -> Service:
    image = _variable("COCKROACH_IMAGE", DEFAULT_IMAGES["COCKROACH_IMAGE"])
    version = _variable("COCKROACH_VERSION", DEFAULT_VERSION)
    return {"image": f"{image}:{version}", "labels": _labels(project)}


# other files


def haproxy_configuration(layout: ComposeLayout, region: str) -> str:
    """One region's balancer."""
    return haproxy.configuration(
        layout.servers(region),
        sql_bind=f":{program.SQL_PORT}",
        statistics_bind=f":{STATISTICS}",
        resolver=DOCKER_DNS,
        secure=layout.secure,
    )


def wan_plan(layout: ComposeLayout, token: str) -> Plan:
    """Return what the WAN's container serves; Compose publishes its control on 127.0.0.1."""
    return layout.wan_plan(token, control_port=WAN_CONTROL, host="0.0.0.0")  # noqa: S104


# writing it down


class _Dumper(yaml.SafeDumper):
    """Texts with line breaks as blocks; no anchors: each service can be read by itself."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(data: Mapping[str, Any]) -> str:
    """YAML, keys in the order given, empty settings left out."""
    text: str = yaml.dump(_pruned(data), Dumper=_Dumper, sort_keys=False, width=1000)
    return text


def _pruned(data: Mapping[str, Any]) -> dict[str, Any]:
    services = {
        name: {key: value for key, value in service.items() if value not in ({}, [])}
        for name, service in data["services"].items()
    }
    return {**data, "services": services}


def _heading(project: Project) -> str:
    layout = project.layout
    nodes, regions = len(layout.topology.nodes), len(layout.topology.regions)
    wan = "a WAN between them" if layout.wan else "no WAN"
    return (
        f"# CockroachDB: {nodes} nodes in {regions} regions, {wan}. Rendered by `labkit compose "
        "render`:\n# change labkit/cluster/engines/cockroachdb/containers/render.py, not this "
        "file.\n"
    )


def _variable(name: str, default: str) -> str:
    return f"${{{name}:-{default}}}"


def _literally(script: str) -> str:
    """Return a script in which Compose replaces nothing."""
    return script.replace("$", "$$")


def _once(state: str) -> dict[str, str]:
    return {"condition": f"service_{state}"}


def _labels(project: Project) -> dict[str, str]:
    return {LAB_LABEL: project.lab_id}


def _certs(layout: ComposeLayout) -> str | None:
    return CERTS if layout.secure else None


def _certs_volume(layout: ComposeLayout) -> list[str]:
    return [f"certs:{CERTS}:ro"] if layout.secure else []
