"""A process beside a notebook that heals its fault when the notebook cannot.

An experiment heals its own fault, also after an exception and on Ctrl-C. What is killed with -9
cannot. So an experiment starts a watchdog (`python -m labkit.run.rescue`) before it injects a
fault, and keeps a pipe to it. The watchdog heals the lab

- when the pipe closes while a fault holds: the experiment's process is gone;
- when the fault is past its deadline: the experiment's process is there, and hangs.

and then measures whether its service is as steady as the experiment would have it. It ends with its
experiment, or when it has done that in its place, and with `labkit down`. Healing undoes every
fault of the lab, whoever injected it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from labkit import environment
from labkit.clock import wait_until
from labkit.errors import LabBusy, NotRunning

if TYPE_CHECKING:
    from labkit.cluster.base import Cluster

PATIENCE_S = 180.0
"""How long to wait for another command that is changing the lab; a heal takes 90 s at most."""

Read = Callable[[float | None], str | None]
"""The next line, waiting so many seconds at most: None when there was none, empty at the end."""


class Watchdog:
    """The experiment's end of the pipe; a context manager that lets the watchdog go.

    Without a state folder (a cluster in memory) there is nothing to heal after this process, and
    nobody is started.
    """

    def __init__(self, home: Path | None, log: Path, steady: Mapping[str, float]) -> None:
        """Start it.

        Args:
            home: the lab's state folder.
            log: what it says when it has to act; not there when it had nothing to say.
            steady: what must hold after it had to act: the attributes of a SteadyState, and for how
                long as `for_s`.
        """
        self._home, self._log = home, log
        self._process: subprocess.Popen[bytes] | None = None
        self._held = False
        if home is None:
            return
        from labkit.cluster import watchdogs

        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # -P: modules of the notebook's folder must not stand in for the library's
                [sys.executable, "-P", "-m", "labkit.run.rescue", json.dumps(steady)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment.of_programs(), "LABKIT_HOME": str(home)},
                start_new_session=True,
            )
        watchdogs.record(home, self._process.pid)

    @property
    def pid(self) -> int | None:
        """The process, None where there is none."""
        return self._process.pid if self._process else None

    def holding(self, fault: str, *, for_s: float) -> None:
        """Say that a fault is about to be injected, and must be healed after so many seconds."""
        self._held = True
        self._tell({"holding": fault, "until_s": monotonic() + for_s})

    def healing(self) -> None:
        """Say that the experiment heals the fault; this has no deadline of its own."""
        self._tell({"healing": True})

    def healed(self) -> None:
        """Say that the experiment has healed the fault."""
        self._tell({"healed": True})
        self._held = False

    def close(self) -> None:
        """Say that the experiment is over. Idempotent.

        With no fault left the watchdog is gone when this returns. One that still holds, because
        its healing failed or was interrupted, is the watchdog's from now on.
        """
        if self._process is None or self._home is None:
            return
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._held:
            return
        from labkit.cluster import watchdogs

        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._process.kill()  # does nothing to one that has been waited for
        self._process.wait()
        watchdogs.forget(self._home, self._process.pid)
        with suppress(FileNotFoundError):
            if self._log.stat().st_size == 0:
                self._log.unlink()

    def _tell(self, what: dict[str, object]) -> None:
        pipe = self._process.stdin if self._process else None
        if pipe is None or pipe.closed:
            return
        with suppress(BrokenPipeError):  # it was ended, by `labkit down`: there is no lab to guard
            pipe.write(json.dumps(what).encode() + b"\n")
            pipe.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def guard(read: Read, heal: Callable[[str], None]) -> None:
    """Wait for the end of a fault, and heal it when nobody else does.

    Args:
        heal: called once at most, with the reason.
    """
    fault, until_s = "", None
    while True:
        left_s = None if until_s is None else max(0.0, until_s - monotonic())
        line = read(left_s)
        if line is None:
            heal(f"{fault} is past its deadline and its experiment does not answer")
            return
        if not line:
            if fault:
                heal(f"the experiment that injected {fault} is gone and has not healed it")
            return
        told = json.loads(line)
        if "healed" in told:
            fault, until_s = "", None
        elif "healing" in told:
            until_s = None
        else:
            fault, until_s = str(told["holding"]), float(told["until_s"])


def heal_lab(timeout_s: float = PATIENCE_S) -> None:
    """Heal the lab under LABKIT_HOME, after whoever is changing it now; nothing where none runs.

    Raises:
        NotReady: something did not come back in time, or another command does not end.
        ClusterError: a part cannot be started.
    """
    from labkit.cluster import attach

    def done() -> bool:
        try:
            cluster = attach()
            if disturbed(cluster):
                cluster.heal()
        except LabBusy:
            return False
        except NotRunning:
            return True
        return True

    wait_until(done, what="the lab", timeout_s=timeout_s, poll_s=0.5)


def disturbed(cluster: Cluster) -> bool:
    """Tell whether something is out of service, or a link is not as the topology has it."""
    status, calm_ms = cluster.status(), cluster.topology.one_way_ms
    return not status.healthy or any(
        link.delay_ms != calm_ms(link.source, link.target) or link.jitter_ms
        for link in status.links
    )


class Lines:
    """Lines of a pipe, with a time limit for each."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest = descriptor, b""

    def read(self, timeout_s: float | None) -> str | None:
        """Read the next line; None when there was none in time, empty when the pipe is closed."""
        deadline_s = None if timeout_s is None else monotonic() + timeout_s
        while b"\n" not in self._rest:
            left_s = None if deadline_s is None else max(0.0, deadline_s - monotonic())
            if not select.select([self._descriptor], [], [], left_s)[0]:
                return None
            got = os.read(self._descriptor, 4096)
            if not got:
                return ""
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()
