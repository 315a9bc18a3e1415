"""A lab of four regions, in an environment full of what the user set for other programs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import psycopg
import pytest

LABKIT = str(Path(sys.executable).with_name("labkit"))
REGIONS = ("r", "random", "us-west-2", "r3")
SHAPE = "".join(
    [
        *(f'[[region]]\nname = "{name}"\nnodes = 1\n' for name in REGIONS),
        *(f'[[link]]\nbetween = ["{a}", "{b}"]\nrtt_ms = 5\n' for a, b in combinations(REGIONS, 2)),
    ]
)
ELSEWHERE = "192.0.2.1"
"""No host has it (RFC 5737): a connection to it takes for ever, and fails the test."""
HOSTILE = {
    **dict.fromkeys(("PGHOST", "PGHOSTADDR"), ELSEWHERE),
    **dict.fromkeys(("PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGAPPNAME"), "prod"),
    "PGPORT": "1",
    "PGOPTIONS": "-c statement_timeout=1ms -csearch_path=mine -cdefault_transaction_read_only=on",
    "PGREQUIREAUTH": "gss",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCHANNELBINDING": "require",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLMODE": "verify-full",
    "PGTZ": "Mars/Base",
    "TZ": "Mars/Base",
    "PATRONI_SCOPE": "prod",
    "ETCD_NAME": "prod",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "ascii",
    "ALL_PROXY": f"socks5://{ELSEWHERE}:1080",
    "http_proxy": f"http://{ELSEWHERE}:3128",
    "LC_ALL": "xx_XX",
    "COLUMNS": "1",
}

pytestmark = [pytest.mark.cluster, pytest.mark.long]


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def test_four_regions_serve_whatever_the_users_environment_says(
    own_lab: tuple[Path, int], tmp_path: Path
) -> None:
    home, port_base = own_lab
    (tmp_path / "four.toml").write_text(SHAPE)

    def labkit(*words: str) -> str:
        done = subprocess.run(
            [LABKIT, *words],
            env={**os.environ, **HOSTILE, "LABKIT_HOME": str(home)},
            preexec_fn=few_files,
            umask=0o777,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Exception" not in done.stderr
        return done.stdout

    labkit("up", "--topology", str(tmp_path / "four.toml"), "--port-base", str(port_base))
    try:
        assert "r3/1" in labkit("status")
        zone = labkit("sql", "r", "-c", "SHOW TimeZone")
        assert "UTC" in zone
        for workload, function in (("orders", "place_order"), ("accounts", "create_account")):
            said = labkit("load", workload, "--rate", "20", "--iterations", "40")
            for region in REGIONS:
                assert f"{region} " in said, workload
            assert function in said
        labkit("load", "orders", "--region", "r3", "--rate", "20", "--iterations", "10")
        # this process is not labkit's: its connections obey labkit's URL and nothing else here
        with psycopg.connect(labkit("dsn", "r3").strip(), autocommit=True) as conn:
            row = conn.execute("SELECT count(*) FROM orders").fetchone()
        assert row is not None
        assert row[0] >= 50
    finally:
        labkit("down", "--purge")
