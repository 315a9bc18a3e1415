"""The stock dbworkload program, for tests of the classes in workloads/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from labkit.assets import asset


def dbworkload(workload: str, dsn: str, folder: Path, *options: str) -> str:
    """Run a class of `workloads/` to its end; return what the program printed.

    With several threads it may leave iterations out: it ends as soon as all are done that have
    begun, which on a busy machine can be one of them.
    """
    done = subprocess.run(
        [
            Path(sys.executable).with_name("dbworkload"),
            *("run", "-w", asset("workloads", f"{workload}.py"), "--uri", dsn),
            *("--port", "0", *options),  # of its Prometheus endpoint
        ],
        cwd=folder,  # it makes a named pipe there
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
