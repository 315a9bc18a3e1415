"""The client that runs a class with dbworkload's interface under labkit's schedules and retries.

The interface (dbworkload 0.16, `dbworkload/templates/stub.j2`) is `__init__(args)` once per thread,
`setup(conn, id, total_thread_count)` on its first connection, and then, repeatedly, the functions
that `loop()` returns, in their order, each called with the connection.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from time import monotonic, sleep
from traceback import extract_tb
from typing import Any, Protocol, Self

import psycopg

from labkit import libpq
from labkit.errors import BadInput, LabError
from labkit.record import Op, Outcome
from labkit.trading.connection import hanging_up_after
from labkit.trading.retries import LONGEST_BACKOFF_S, Attempts, Patience, insist
from labkit.workload.pool import CONNECT_TIMEOUT_S

NEVER_BEGUN = "loop"
"""The kind of an operation for which no thread was free, or had a connection, in time."""

MOST_EMPTY_LOOPS = 50
"""After so many empty loops of one thread in a row, the class counts as one that does nothing."""
EMPTY_LOOP_S = 0.1
"""A thread with an empty loop calls `loop` again after so many seconds."""

Connection = psycopg.Connection[Any]
Function = Callable[[Connection], object]


class WorkloadClass(Protocol):
    """An instance of one thread. A class may also have `setup(conn, id, total_thread_count)`."""

    def loop(self) -> Sequence[Function]:
        """Return the functions to call next; called again after the last, or after a failure."""


def load_class(file: Path) -> Callable[[Mapping[str, Any]], WorkloadClass]:
    """Load the class of a file: `trade_orders.py` has `TradeOrders`, as dbworkload requires.

    Raises:
        BadInput: there is no such file, it cannot be imported, or it has no such class.
    """
    class_name = "".join(part.capitalize() for part in file.stem.split("_"))
    # a name of its own: a file called random.py must not stand in for the library's
    name = f"labkit_workload_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise BadInput(f"{file}: no Python file with a workload class")
    module = module_from_spec(spec)
    sys.modules[name] = module
    if (folder := str(file.parent.resolve())) not in sys.path:
        sys.path.append(folder)  # what it imports may lie beside it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(f"{file}: cannot be imported: {_what_failed(error, file)}") from error
    found: Callable[[Mapping[str, Any]], WorkloadClass] | None = getattr(module, class_name, None)
    if found is None:
        raise BadInput(f"{file}: has no class {class_name}, the name that goes with the file's")
    return found


class ClassError(Exception):
    """An error of a user's class, or a breach of its interface, in one line with file and line.

    Errors of labkit and of the database are not among them: they are outcomes of an operation.
    """


@contextmanager
def user_code(file: Path, *, outcomes: bool = False) -> Iterator[None]:
    """Run code of a user's class, and raise its error as a `ClassError` with the same message.

    Args:
        outcomes: whether errors of the database and of labkit are outcomes, and pass unchanged.

    Raises:
        ClassError: the code raised any other error, `SystemExit` included.
    """
    try:
        yield
    except (psycopg.Error, LabError) as error:
        if outcomes:
            raise
        raise ClassError(_what_failed(error, file)) from error
    except (Exception, SystemExit) as error:
        raise ClassError(_what_failed(error, file)) from error


def _what_failed(error: BaseException, file: Path) -> str:
    """Describe an error of a user's file in one line: its place in the file, and the message."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}, line {error.lineno}"
        return f"{place}: {type(error).__name__}: {error.msg}"
    frames = [
        frame for frame in extract_tb(error.__traceback__) if Path(frame.filename) == file.resolve()
    ]
    place = f"{file.name}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else file.name
    return f"{place}: {type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


class ClassClient:
    """The threads of one region, each with a connection; a context manager of one event loop."""

    def __init__(
        self,
        region: str,
        instances: Sequence[WorkloadClass],
        dsn: str,
        patience: Patience,
        *,
        application_name: str,
        file: Path = Path(),
    ) -> None:
        """Make the threads of a region.

        Args:
            file: the file of the class, which errors name.
        """
        self._region = region
        self._patience = patience
        self._threads = ThreadPoolExecutor(len(instances), thread_name_prefix="class")
        self._idle: asyncio.Queue[_Customer] = asyncio.Queue()
        self._customers = [
            _Customer(
                instance,
                region=region,
                number=number,
                of=len(instances),
                connect=partial(
                    libpq.connect,
                    dsn,
                    autocommit=True,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    application_name=application_name,
                ),
                patience=patience,
                file=file,
            )
            for number, instance in enumerate(instances)
        ]

    async def set_up(self) -> None:
        """Connect all threads and call `setup`; one that fails to connect tries again on use."""
        loop = asyncio.get_running_loop()
        setting_up = []
        for customer in self._customers:
            future = loop.run_in_executor(self._threads, customer.set_up)
            future.add_done_callback(partial(self._is_idle, customer))
            setting_up.append(future)
        await asyncio.wait(setting_up)  # cancelled, it leaves them to their end

    def _is_idle(self, customer: _Customer, _future: object) -> None:
        self._idle.put_nowait(customer)

    async def run(self, scheduled_s: float, *, record: Callable[[Op], None]) -> None:
        """Run the functions of one loop on an idle thread, and record each as an operation.

        The latency of the first counts from the scheduled moment, that of each other from the end
        of the one before. As in dbworkload, a function that fails ends the loop.
        """
        try:
            async with asyncio.timeout(scheduled_s + self._patience.deadline_s - monotonic()):
                customer = await self._idle.get()
        except TimeoutError:
            record(_finished(Attempts(), NEVER_BEGUN, self._region, scheduled_s))
            return
        loop = asyncio.get_running_loop()
        try:
            for op in await loop.run_in_executor(self._threads, customer.loop_once, scheduled_s):
                record(op)
        finally:
            self._idle.put_nowait(customer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for customer in self._customers:
            customer.close()


class _Customer:
    """An instance of the class and its connection, used by one thread at a time."""

    def __init__(
        self,
        instance: WorkloadClass,
        *,
        region: str,
        number: int,
        of: int,
        connect: Callable[[], Connection],
        patience: Patience,
        file: Path,
    ) -> None:
        self._instance = instance
        self._file = file
        self._empty_loops = 0
        self._region = region
        self._number = number
        self._of = of
        self._connect = connect
        self._patience = patience
        self._conn: Connection | None = None
        self._set_up = False

    def set_up(self) -> None:
        with suppress(psycopg.Error, LabError):
            self._connected()

    def loop_once(self, scheduled_s: float) -> list[Op]:
        ops: list[Op] = []
        if self._connected_by(scheduled_s + self._patience.deadline_s) is None:
            return [_finished(Attempts(), NEVER_BEGUN, self._region, scheduled_s)]
        for function in self._next_loop():
            ops.append(self._call(function, ops[-1].finished_s if ops else scheduled_s))
            if ops[-1].outcome is not Outcome.OK:
                break
        return ops

    def _next_loop(self) -> Sequence[Function]:
        with user_code(self._file):
            functions = self._instance.loop()
        name = f"{self._file.name}: {type(self._instance).__name__}.loop()"
        if not isinstance(functions, list | tuple) or not all(map(callable, functions)):
            raise ClassError(f"{name} returned {functions!r:.80}: it is a list of functions")
        if functions:
            self._empty_loops = 0
            return functions
        self._empty_loops += 1
        if self._empty_loops == MOST_EMPTY_LOOPS:
            raise ClassError(
                f"{name} returned no function {MOST_EMPTY_LOOPS} times in a row: there is nothing "
                "to measure"
            )
        sleep(EMPTY_LOOP_S)  # or it would take all the processor
        return functions

    def close(self) -> None:
        if self._conn:
            self._conn.close()
            self._conn = None

    def _call(self, function: Function, scheduled_s: float) -> Op:
        def called(conn: Connection) -> object:
            with user_code(self._file, outcomes=True):
                return function(conn)

        attempts, _ = insist(
            self._connected,
            called,
            deadline_s=scheduled_s + self._patience.deadline_s,
            attempt_timeout_s=self._patience.attempt_timeout_s,
        )
        return _finished(
            attempts, getattr(function, "__name__", "function"), self._region, scheduled_s
        )

    def _connected_by(self, deadline_s: float) -> Connection | None:
        while monotonic() < deadline_s:
            with suppress(psycopg.Error):
                return self._connected()
            sleep(max(0.0, min(LONGEST_BACKOFF_S, deadline_s - monotonic())))
        return None

    def _connected(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
        if not self._set_up:
            if setup := getattr(self._instance, "setup", None):
                with (
                    hanging_up_after(self._conn, self._patience.attempt_timeout_s),
                    user_code(self._file, outcomes=True),
                ):
                    setup(self._conn, self._number, self._of)
            self._set_up = True
        return self._conn


def _finished(attempts: Attempts, kind: str, region: str, scheduled_s: float) -> Op:
    return Op(
        scheduled_s=scheduled_s,
        sent_s=attempts.sent_s,
        finished_s=monotonic(),
        region=region,
        kind=kind,
        outcome=attempts.outcome,
        order_id="",
        symbol="",
        side="",
        session=0,
        move_nbr=None,
        price_cents=None,
        attempts=attempts.count,
        sqlstate=attempts.sqlstate,
    )
