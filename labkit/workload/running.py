"""The worker processes of a load, and their records as one history."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pandas as pd

from labkit import environment
from labkit.clock import wait_until
from labkit.errors import RunError
from labkit.history import OP_COLUMNS, History
from labkit.trading.ids import RunId
from labkit.workload.connections import connections
from labkit.workload.oplog import OPS_FOLDER, OpTail, ops_path
from labkit.workload.worker import CLASS_FAILED, STOP, WARM_UP_S, WorkerConfig

Worker = subprocess.Popen[bytes]


class RunningWorkload:
    """The workers that send orders until `stop`. It is a context manager, for use by one thread.

    Attributes:
        run_id: the first 48 bits of the ids of this run's orders.
        folder: the run folder.
    """

    def __init__(
        self,
        run_id: RunId,
        folder: Path,
        workers: Mapping[str, Worker],
        join_timeout_s: float,
        *,
        ends_by_itself: bool = False,
    ) -> None:
        self.run_id = run_id
        self.folder = folder
        self._workers = workers
        self._join_timeout_s = join_timeout_s
        self._may_end = ends_by_itself
        self._tail = OpTail(folder, workers)

    @property
    def pids(self) -> Mapping[str, int]:
        """Return the pid of each region's worker."""
        return {region: worker.pid for region, worker in self._workers.items()}

    def wait_until_sending(self) -> None:
        """Wait until every worker's schedule has begun.

        Raises:
            RunError: a worker died.
            NotReady: a worker did not begin.
        """
        wait_until(self._all_sending, what="workload workers", timeout_s=WARM_UP_S + 20)

    def _all_sending(self) -> bool:
        self.check()
        return all(ops_path(self.folder, region).exists() for region in self._workers)

    @property
    def regions(self) -> tuple[str, ...]:
        """Return the regions that have a worker."""
        return tuple(self._workers)

    @property
    def ended(self) -> bool:
        """Say whether all workers have ended, because they were stopped or had sent everything."""
        return all(worker.poll() is not None for worker in self._workers.values())

    def poll(self) -> pd.DataFrame:
        """Read the operations that ended since the last call, with the columns `OP_COLUMNS`.

        Workers write about ten times a second.
        """
        return frame_of(self._tail.read())

    @property
    def watermark_s(self) -> float:
        """The monotonic time before which all due orders ended and were polled; at first -inf."""
        return self._tail.watermark_s

    def check(self) -> None:
        """Make sure that no worker died.

        Raises:
            RunError: a worker died, so its orders in flight were not recorded.
        """
        for region, worker in self._workers.items():
            code = worker.poll()
            if code is None or (code == 0 and self._may_end):
                continue
            if failed := _class_failed(self.folder, region):
                raise RunError(f"{region}: {failed}")
            raise RunError(
                f"the workload worker of {region} ended with {code}, orders in flight were not "
                f"recorded: {_last_words(self.folder, region) or 'it said nothing'}"
            )

    def stop(self) -> History:
        """End the schedule, wait for the orders in flight, and return the history. Idempotent.

        Raises:
            RunError: a worker died, or had to be killed; `history` has its records.
        """
        self.close()
        self.check()
        return self.history()

    def history(self) -> History:
        """Return the records so far."""
        return recorded(self.folder, self._workers)

    def close(self) -> None:
        """End the workers, and kill those that do not end in time. Idempotent."""
        self._may_end = True
        try:
            for worker in self._workers.values():
                assert worker.stdin
                with suppress(BrokenPipeError, ValueError):  # it died, or was told before
                    worker.stdin.write(STOP)
                    worker.stdin.close()
            deadline_s = time.monotonic() + self._join_timeout_s
            for worker in self._workers.values():
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(max(0.0, deadline_s - time.monotonic()))
        finally:
            kill(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def spawn(config: WorkerConfig) -> Worker:
    """Start a worker."""
    log = _log_path(Path(config.folder), config.region)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        worker = subprocess.Popen(
            # -P: modules of the notebook's folder must not stand in for the library's
            [sys.executable, "-P", "-m", "labkit.workload.worker"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment.of_programs(),
            start_new_session=True,
        )
    assert worker.stdin
    with suppress(BrokenPipeError):  # it died: `check` says so
        worker.stdin.write(config.to_line())
        worker.stdin.flush()
    return worker


def kill(workers: Mapping[str, Worker]) -> None:
    """End workers at once."""
    for worker in workers.values():
        worker.kill()  # does nothing to one that has been waited for
        worker.wait()


def _log_path(folder: Path, region: str) -> Path:
    return folder / OPS_FOLDER / f"{region}.log"


def _class_failed(folder: Path, region: str) -> str:
    """Return the worker's message about an error of the user's class, or an empty text."""
    lines = _log_path(folder, region).read_text(errors="replace", encoding="utf-8").split("\n")
    return next((line for line in lines if line.startswith(CLASS_FAILED)), "")


def _last_words(folder: Path, region: str) -> str:
    lines = _log_path(folder, region).read_text(errors="replace", encoding="utf-8").split("\n")
    return " | ".join(line.strip() for line in lines if line.strip())[-400:]


def recorded(folder: Path, regions: Iterable[str]) -> History:
    """Read the records of a run's workers so far, whoever started them."""
    regions = tuple(regions)
    return History.from_frame(
        frame_of(OpTail(folder, regions).read()),
        anchor_s=time.time() - time.monotonic(),
        regions=regions,
    ).with_events(connections(folder, regions))


def frame_of(ops: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Make a frame with the columns `OP_COLUMNS` from lines of the workers."""
    return pd.DataFrame(ops, columns=list(OP_COLUMNS)).astype(OP_COLUMNS)
