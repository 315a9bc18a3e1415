"""A plain PostgreSQL server out of the wheel."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from labkit.clock import wait_until
from labkit.cluster.identity import Identity
from labkit.cluster.machines.programs import postgres
from labkit.cluster.machines.reach import placed


@dataclass
class Server:
    """A PostgreSQL server that a test may stop and start."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    max_connections: int = 100

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    @property
    def program(self) -> Path:
        return placed(postgres(), self.folder, Identity.current()).path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def init(self) -> None:
        identity = Identity.current()
        identity.own(self.folder)
        subprocess.run(
            [
                *identity.prefix,
                self.program.with_name("initdb"),
                *("-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync"),
                *("--locale=C", "--encoding=UTF8"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": self.max_connections,
            "fsync": "off",
            # nothing stays in /dev/shm when it is killed
            "dynamic_shared_memory_type": "mmap",
            "shared_buffers": "16MB",
            "lc_messages": "C",
        }
        self.process = subprocess.Popen(
            [
                *Identity.current().prefix,
                *_dies_with_us(),  # last: a change of user undoes it
                *(self.program, "-D", self.data),
                *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            ],
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        wait_until(self._answers, what="the test's PostgreSQL server", timeout_s=30)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, sig: signal.Signals = signal.SIGQUIT) -> None:
        """Immediate by default, as a crash: clients get no word."""
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(30)
            self.process = None

    def admin(self, statement: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as conn:
            conn.execute(statement)

    def wait_for_standby(self, name: str) -> None:
        """Let commits wait until a standby of that name has them; empty: for none."""
        self.admin(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        self.admin("SELECT pg_reload_conf()")
        wait_until(lambda: self._waits_for(name), what="the reload", timeout_s=10)

    def _waits_for(self, name: str) -> bool:
        with psycopg.connect(self.dsn("postgres")) as conn:
            return conn.execute("SHOW synchronous_standby_names").fetchone() == (name,)


def _dies_with_us() -> tuple[str, ...]:
    return ("setpriv", "--pdeathsig", "QUIT") if shutil.which("setpriv") else ()
