"""The flags that CockroachDB v25.4 documents for each command, and reading them.

Names are those of its pages cockroach-start.md, -init.md, -sql.md, -node.md, -cert.md; a test holds
them against the lists beside the documented grammar, where those are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .errors import Refused

_LOG = """
    --certs-dir --log --log-config-file --log-dir --log-file-max-size --log-file-verbosity
    --log-group-max-size --logtostderr --no-color --redactable-logs --sql-audit-dir
"""

_CLIENT = """
    --cert-principal-map --host --insecure --port,-p --url --user,-u
"""

DOCUMENTED = {
    "start": _LOG
    + """
    --accept-sql-without-tls --advertise-addr --advertise-host --advertise-http-addr
    --advertise-sql-addr --attrs --background --cache --cert-principal-map --clock-device
    --cluster-name --disable-cluster-name-verification --enterprise-encryption
    --experimental-dns-srv --external-io-dir --external-io-disable-http
    --external-io-disable-implicit-credentials --host --http-addr --http-host --http-port
    --insecure --join,-j --listen-addr --listening-url-file --locality
    --locality-advertise-addr --locality-file --max-disk-temp-storage --max-go-memory
    --max-offset --max-sql-memory --max-tsdb-memory --node-cert-distinguished-name --pid-file
    --port,-p --root-cert-distinguished-name --socket-dir --spatial-libs --sql-addr
    --storage-engine --store,-s --temp-dir --tls-cipher-suites --wal-failover
    """,
    "init": _LOG
    + _CLIENT
    + """
    --cluster-name --disable-cluster-name-verification
    """,
    "sql": _LOG
    + _CLIENT
    + """
    --database,-d --echo-sql --embedded --execute,-e --file,-f --format --read-only
    --safe-updates --set --watch
    """,
    "node status": _LOG
    + _CLIENT
    + """
    --all --decommission --format --ranges --stats --timeout
    """,
    "node drain": _LOG
    + _CLIENT
    + """
    --cluster-name --disable-cluster-name-verification --drain-wait --format --self --shutdown
    """,
    "node decommission": _LOG
    + _CLIENT
    + """
    --checks --cluster-name --disable-cluster-name-verification --dry-run --format --self
    --wait
    """,
    "node recommission": _LOG
    + _CLIENT
    + """
    --cluster-name --disable-cluster-name-verification --format --self
    """,
    "node ls": _LOG
    + _CLIENT
    + """
    --format --timeout
    """,
    "cert create-ca": _LOG
    + """
    --allow-ca-key-reuse --ca-key --key-size --lifetime --overwrite
    """,
    "cert create-node": _LOG
    + """
    --ca-key --key-size --lifetime --overwrite
    """,
    "cert create-client": _LOG
    + """
    --also-generate-pkcs8-key --ca-key --key-size --lifetime --overwrite --tenant-name-scope
    """,
    "cert list": _LOG,
}
"""Command -> its flags, a short form after a comma."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SWITCHES = _words("""
    --insecure --overwrite --allow-ca-key-reuse --also-generate-pkcs8-key --all --decommission
    --ranges --stats --dry-run --self --shutdown --background --accept-sql-without-tls
    --disable-cluster-name-verification --echo-sql --read-only --safe-updates --no-color
    --external-io-disable-http --external-io-disable-implicit-credentials --embedded
""")
"""Flags that may stand without a value."""

_OPTIONAL_VALUE = frozenset({"--logtostderr", "--redactable-logs"})
"""Flags whose value, if any, is written with `=`."""

HEEDED = {
    "start": """--insecure --certs-dir --join --locality --advertise-addr
        --locality-advertise-addr --listen-addr --http-addr --store""",
    "init": "--insecure --certs-dir --host",
    "sql": "--insecure --certs-dir --host --port --user --database --execute --file --format",
    "node status": "--insecure --certs-dir --host --port --format --decommission --all",
    "node ls": "--insecure --certs-dir --host --port --format",
    "node drain": "--insecure --certs-dir --host --port --self --shutdown --drain-wait",
    "node decommission": "--insecure --certs-dir --host --port --self --wait --checks --format",
    "node recommission": "--insecure --certs-dir --host --port --self --format",
    "cert create-ca": "--certs-dir --ca-key --allow-ca-key-reuse --overwrite --lifetime --key-size",
    "cert create-node": "--certs-dir --ca-key --overwrite --lifetime --key-size",
    "cert create-client": "--certs-dir --ca-key --overwrite --lifetime --key-size",
    "cert list": "--certs-dir",
}
"""What this double does something with."""

HARMLESS = _words("""
    --cache --max-sql-memory --max-offset --max-go-memory --max-tsdb-memory
    --max-disk-temp-storage --temp-dir --timeout --no-color
    --log --log-config-file --log-dir --log-group-max-size --log-file-max-size
    --log-file-verbosity --logtostderr --redactable-logs --sql-audit-dir
""")
"""What makes no difference to a double: memory, clocks, logs."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line, read.

    Attributes:
        values: flag -> its values in order; a switch has "true".
        positional: what is no flag.
    """

    command: str
    values: dict[str, list[str]] = field(default_factory=dict)
    positional: tuple[str, ...] = ()

    def get(self, flag: str, default: str = "") -> str:
        """The last value of a flag: it wins."""
        return self.values.get(flag, [default])[-1]

    def listed(self, flag: str) -> list[str]:
        """All values of a flag that may be repeated or have commas."""
        return [part for value in self.values.get(flag, []) for part in value.split(",") if part]

    def on(self, flag: str) -> bool:
        return self.get(flag, "false") == "true"


def documented(command: str) -> dict[str, str]:
    """Every spelling of each flag of a command -> its long form."""
    spellings = {}
    for names in DOCUMENTED[command].split():
        for name in names.split(","):
            spellings[name] = names.split(",")[0]
    return spellings


def parse(command: str, words: Sequence[str]) -> Arguments:
    """Read a command line.

    Raises:
        Refused: a flag that v25.4 does not have, or this double does not heed.
    """
    spellings = documented(command)
    heeded = _words(HEEDED[command]) | HARMLESS
    values: dict[str, list[str]] = {}
    positional: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        if not name.startswith("--") and len(name) > 2:  # -dtrading
            name, equals, value = name[:2], "=", name[2:] + equals + value
        flag = spellings.get(name)
        if flag is None:
            raise Refused(
                f"unknown flag: {name}"
                if name.startswith("--")
                else f"unknown shorthand flag: {name[1:]!r} in {word}"
            )
        if flag not in heeded:
            raise Refused(f"the stand-in does not model: {command} {flag}")
        values.setdefault(flag, []).append(value if equals else _value(name, flag, rest))
    return Arguments(command, values, tuple(positional))


def _value(name: str, flag: str, rest: Iterator[str]) -> str:
    if flag in _SWITCHES:
        return "true"
    if flag in _OPTIONAL_VALUE:
        return "INFO"
    try:
        return next(rest)
    except StopIteration:
        raise Refused(f"flag needs an argument: {name}") from None
