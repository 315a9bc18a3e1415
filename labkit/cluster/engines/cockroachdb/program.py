"""Command lines of the `cockroach` program. Pure functions.

The flags are those of cockroach-start.md, cockroach-init.md, cockroach-node.md and
cockroach-cert.md; all pages named here are of CockroachDB's documentation, v25.4.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from labkit.topology import Node

SQL_PORT = 26257
"""SQL and node-to-node traffic (cockroach-start.md, --listen-addr)."""
HTTP_PORT = 8080
"""DB Console, health and metrics (cockroach-start.md, --http-addr)."""
CACHE = "64MiB"
"""A quarter of the default, as nine nodes share a machine (cockroach-start.md, --cache)."""
SQL_MEMORY = "128MiB"
"""The page's own example for a local cluster (cockroach-start.md, --max-sql-memory)."""
GO_MEMORY = "512MiB"
"""Go's soft limit. By default it is 2.25 times SQL_MEMORY (cockroachdb/cockroach#97666), 288 MiB,
and near it the collector runs all the time (#151819). With 1.15 times CACHE it must stay within
nine tenths of the 1 GiB that a container gets."""
MAX_OFFSET = "250ms"
"""Advised for multi-region SQL: it shortens the wait of a write to a GLOBAL table
(global-tables.md, misc/multiregion-max-offset.md). The same on all nodes, except while it is being
changed (cockroach-start.md, --max-offset)."""


def locality(node: Node) -> str:
    """`region=us-west-2,zone=us-west-2a`.

    Multi-region SQL needs the key `region`; the keys and their order are the same on every node
    (cockroach-start.md, "Locality").
    """
    return f"region={node.region},zone={node.zone}"


def start(
    node: Node,
    *,
    advertise: str,
    elsewhere: Mapping[str, str],
    join: Sequence[str],
    store: str,
    certs: str | None,
    listen: str | None = None,
    http: str | None = None,
) -> list[str]:
    """Return the arguments that start a node.

    Args:
        advertise: host:port that leads to the node from inside its region.
        elsewhere: region -> host:port that leads to it from there; empty without a WAN.
        join: whom it dials first; such addresses are dialled as they stand, so those in other
            regions must be the WAN's.
        store: its data directory.
        certs: the folder with certificates, None for --insecure.
        listen, http: host:port for SQL and for HTTP where they are not the usual ports of every
            interface, which are the program's defaults (cockroach-start.md, "Networking").
    """
    # the first entry whose tier the dialling node has gives the address, --advertise-addr is for
    # all others (cockroachdb/cockroach pkg/roachpb/metadata.go, AddressForLocality)
    by_region = ",".join(f"region={region}@{address}" for region, address in elsewhere.items())
    return [
        "start",
        *_security(certs),
        # each store would set a ballast file aside, up to 1 GiB, and nine nodes share one disk
        # (cluster-setup-troubleshooting.md, "Automatic ballast files"; cockroach-start.md, "Store")
        f"--store=path={store},ballast-size=0",
        f"--locality={locality(node)}",
        *([f"--listen-addr={listen}"] if listen else []),
        *([f"--http-addr={http}"] if http else []),
        f"--advertise-addr={advertise}",
        *([f"--locality-advertise-addr={by_region}"] if by_region else []),
        f"--join={','.join(join)}",
        f"--cache={CACHE}",
        f"--max-sql-memory={SQL_MEMORY}",
        f"--max-go-memory={GO_MEMORY}",
        f"--max-offset={MAX_OFFSET}",
        # so that the last words of a node can be read (cockroach-start.md, "Logging")
        "--logtostderr=WARNING",
    ]


def init(host: str, certs: str | None) -> list[str]:
    """Return the arguments that make the nodes one cluster.

    `host` must be on their --join list (cockroach-init.md).
    """
    return ["init", *_security(certs), f"--host={host}"]


COMPLAINT = 300
"""Characters of what a failed program printed that an error repeats."""
ALREADY = "cluster has already been initialized"
"""What `init` says, and fails with, when it is repeated: for us a success (cockroachdb/cockroach
pkg/server/init.go, ErrClusterInitialized)."""


def node_status(host: str, certs: str | None) -> list[str]:
    """List the nodes: the arguments (cockroach-node.md, "Show the status of all nodes")."""
    return ["node", "status", *_security(certs), f"--host={host}", "--format=tsv"]


def node_id(said: str, locality: str) -> int | None:
    """Find the id of the node of a locality in what `node_status` prints; None when there is none.

    Columns are found by name (cockroach-node.md, "Response"). A node that was removed comes again
    as a new one (node-shutdown.md, "Recommission nodes"), with a higher id.
    """
    rows = csv.DictReader(said.strip().splitlines(), delimiter="\t")
    return max((int(row["id"]) for row in rows if row["locality"] == locality), default=None)


def complaint(said: str) -> str:
    """Why the program failed, on one line, out of what it printed.

    It ends with a reminder of which command was run, which is no reason (pkg/cli/cli.go, `Main`).
    """
    lines = [line.strip() for line in said.splitlines()]
    reasons = [line for line in lines if line and not line.startswith("Failed running ")]
    text = " ".join(reasons)
    if len(text) > COMPLAINT:  # the verdict comes last, after a line per range
        text = f"{text[: COMPLAINT // 2]} .. {text[-COMPLAINT // 2 :]}"
    return text or "it said nothing"


def decommission(node_id: int, host: str, certs: str | None, *, wait: bool = True) -> list[str]:
    """Return the arguments that decommission a node; another node carries them out.

    Checks first whether the others can take its replicas, and returns when it holds none, or
    without `wait` at once (cockroach-node.md, --checks, --wait). A drain follows by itself
    (node-shutdown.md, "Draining").
    """
    until = "--wait=all" if wait else "--wait=none"
    given = [*_security(certs), f"--host={host}", "--checks=enabled", until]
    return ["node", "decommission", str(node_id), *given]


BLOCKED = "Cannot decommission nodes"
"""Printed when `--checks=enabled` refuses: nothing was begun (cockroachdb/cockroach
pkg/cli/node.go; a CLI test shows it after "ranges blocking decommission detected")."""


def recommission(node_id: int, host: str, certs: str | None) -> list[str]:
    """Return the arguments that undo a decommission that has not ended (node-shutdown.md)."""
    return ["node", "recommission", str(node_id), *_security(certs), f"--host={host}"]


def _security(certs: str | None) -> list[str]:
    return ["--insecure"] if certs is None else [f"--certs-dir={certs}"]


def init_script(program: str, host: str, certs: str | None, tries: int = 90) -> str:
    """Return a shell script around `init`: waits for the node, and may be repeated."""
    command = " ".join([program, *init(host, certs)])
    return f"""\
tries={tries}
while ! said=$({command} 2>&1); do
  case "$said" in *"{ALREADY}"*) break ;; esac
  tries=$((tries - 1))
  if [ "$tries" -le 0 ]; then echo "$said" >&2; exit 1; fi
  sleep 1
done
echo "$said"
"""


def certificates_script(program: str, certs: str, authority: str, names: Sequence[str]) -> str:
    """Return a shell script that makes the certificates once: authority, nodes, the user root.

    `create-node` takes every address at which a node is reached (cockroach-cert.md). The page makes
    a certificate for each node; here one that names the addresses of all serves all. A start that
    was cut short is repeated with --allow-ca-key-reuse and --overwrite.

    Args:
        certs: the folder for what nodes and clients need.
        authority: the folder for the authority's key, which nobody else mounts.
        names: host names and addresses of nodes, balancers and the WAN.
    """
    common = f"--certs-dir={certs} --ca-key={authority}/ca.key"
    return f"""\
set -e
if [ -f {certs}/client.root.key ]; then echo "the certificates are there"; exit 0; fi
{program} cert create-ca {common} --allow-ca-key-reuse --overwrite
{program} cert create-node {" ".join(names)} {common} --overwrite
{program} cert create-client root {common} --overwrite
"""
