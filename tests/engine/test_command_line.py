"""The double's command line: v25.4's flags and no others, its refusals, its words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.images import write_cockroach
from engine.standin.cli import flags_of
from engine.standin.errors import Refused
from engine.standin.flags import DOCUMENTED, HARMLESS, HEEDED, documented, parse
from engine.standin.metrics import NAMES
from engine.standin.settings import CLUSTER_SETTINGS

START = ("--insecure", "--join=crdb1,wan:27001", "--locality=region=us-west-2,zone=us-west-2a")


@pytest.fixture
def cockroach(tmp_path: Path) -> Path:
    program = tmp_path / "cockroach"
    write_cockroach(program)
    return program


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", DOCUMENTED)
def test_its_flags_are_those_of_the_documentation(command: str, grammar: Path) -> None:
    family, _, sub = command.partition(" ")
    lines = (grammar / f"{family}_flags.txt").read_text().splitlines()
    listed = set()
    for line in lines:
        if line and not line.startswith("#"):
            names, commands = line.split("\t")[:2]
            if commands == "all" or sub in commands.split(","):
                listed |= set(names.split(","))
    assert set(documented(command)) == listed


@pytest.mark.parametrize("command", HEEDED)
def test_it_heeds_documented_flags_only(command: str) -> None:
    assert set(HEEDED[command].split()) <= set(documented(command).values())


def test_what_it_takes_for_harmless_is_a_flag_of_some_command() -> None:
    assert {flag for command in DOCUMENTED for flag in documented(command).values()} >= HARMLESS


def test_its_metrics_are_those_of_the_documentation(grammar: Path) -> None:
    lines = (grammar / "metrics.txt").read_text().splitlines()
    assert set(NAMES) <= {line.split("\t")[0] for line in lines}


def test_its_cluster_settings_are_those_of_the_documentation(grammar: Path) -> None:
    lines = (grammar / "cluster_settings.txt").read_text().splitlines()
    assert set(CLUSTER_SETTINGS) <= {line.split("\t")[0] for line in lines}


def test_a_flag_that_does_not_exist_is_refused(cockroach: Path) -> None:
    done = run(cockroach, "start", *START, "--advertise-address=crdb1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "unknown flag: --advertise-address" in done.stderr


def test_a_flag_it_does_not_heed_is_refused_rather_than_ignored(cockroach: Path) -> None:
    done = run(cockroach, "start", *START, "--background")
    assert done.returncode == 1
    assert "the stand-in does not model: start --background" in done.stderr


def test_a_node_wants_to_be_told_whom_to_join(cockroach: Path) -> None:
    done = run(cockroach, "start", "--insecure")
    assert done.returncode == 1
    assert "no --join flags provided to 'cockroach start'" in done.stderr


def test_a_node_wants_certificates_or_to_be_insecure(
    cockroach: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_STORE", "store:5432")
    done = run(cockroach, "start", "--join=crdb1", f"--certs-dir={tmp_path}")
    assert done.returncode == 1
    assert "--insecure" in done.stderr


def test_commands_it_does_not_have_are_refused(cockroach: Path) -> None:
    done = run(cockroach, "demo", "--global")
    assert done.returncode == 1
    assert "the stand-in does not model: cockroach demo" in done.stderr


def test_it_says_that_it_is_not_cockroachdb(cockroach: Path) -> None:
    assert "test double, not CockroachDB" in run(cockroach, "version").stdout


def test_a_node_has_the_defaults_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STORE", "store:5432")
    flags = flags_of(parse("start", START))
    assert flags.listen == ("", 26257)
    assert flags.http == ("", 8080)
    assert flags.advertise.endswith(":26257")
    assert flags.join == ("crdb1:26257", "wan:27001")
    assert flags.locality == (("region", "us-west-2"), ("zone", "us-west-2a"))


@pytest.mark.parametrize(
    "flag", ["--locality=us-west-2", "--locality-advertise-addr=region=us-west-2"]
)
def test_values_that_cannot_be_are_refused(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STORE", "store:5432")
    with pytest.raises(Refused, match=r"--locality"):
        flags_of(parse("start", ["--insecure", "--join=a", flag]))


def test_certificates_are_made_once_and_hold_the_names(cockroach: Path, tmp_path: Path) -> None:
    common = (f"--certs-dir={tmp_path}/certs", f"--ca-key={tmp_path}/ca.key")
    assert run(cockroach, "cert", "create-ca", *common).returncode == 0
    again = run(cockroach, "cert", "create-ca", *common)
    assert again.returncode == 1
    assert "--allow-ca-key-reuse" in again.stderr
    made = run(cockroach, "cert", "create-node", "crdb1", "127.0.0.1", *common)
    assert made.returncode == 0, made.stderr
    assert run(cockroach, "cert", "create-client", "root", *common).returncode == 0
    names = {path.name for path in (tmp_path / "certs").iterdir()}
    assert names == {"ca.crt", "node.crt", "node.key", "client.root.crt", "client.root.key"}
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", tmp_path / "certs/node.crt"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "DNS:crdb1" in text
    assert "IP Address:127.0.0.1" in text


def test_the_double_needs_nothing_but_the_standard_library() -> None:
    """It runs in an image that has no packages."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import standin.cli;"
        "print({m.split('.')[0] for m in sys.modules} - sys.stdlib_module_names - {'__main__'})"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'standin'}"
