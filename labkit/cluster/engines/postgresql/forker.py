"""Starting Patroni members out of one process that has imported Patroni (see `members`)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.cluster.processes import ProcessTable
from labkit.errors import ClusterError
from labkit.topology import Node

MODULE = "labkit.cluster.engines.postgresql.members"


class MemberForker:
    """Starts members; its process is there from the first use to the end of the `with` block."""

    def __init__(self, layout: Layout, table: ProcessTable) -> None:
        """Members of the lab that `layout` and `table` belong to."""
        self._layout = layout
        self._table = table
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End the process; the members live on."""
        if self._process is not None:
            self._process.communicate()

    def import_patroni(self) -> subprocess.Popen[bytes]:
        """Start the process; its second of importing passes while the caller does other things."""
        if self._process is None:
            self._process = self._table.popen(
                "members",
                self._table.identity.module(
                    MODULE, self._layout.logs, *self._table.identity.to_become
                ),
                env={
                    "MALLOC_ARENA_MAX": "1",
                    # the title must not overwrite the environment, by which strays are found
                    "SPT_NOENV": "1",
                    # else a stranger that has the port of a server that is down could ask Patroni,
                    # pg_rewind or a standby for its password
                    "PGREQUIREAUTH": "scram-sha-256",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                becomes=True,
            )
        return self._process

    def start(self, nodes: Iterable[Node]) -> None:
        """Start the Patroni of each of the nodes; it starts PostgreSQL.

        Raises:
            ClusterError: it cannot be started; ends with the last log lines.
        """
        for node in nodes:
            name = member_name(node)
            remove_half_copy(self._layout.data(node))
            self._table.make_log(name)
            self._table.adopt(
                name,
                self._fork(f"{self._layout.member_config(node)}\n"),
                [
                    "patroni",
                    f"{name}.yml",
                ],
            )

    def _fork(self, line: str) -> int:
        process = self.import_patroni()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line.encode())
            process.stdin.flush()
            return int(process.stdout.readline())
        except (BrokenPipeError, ValueError):  # ValueError: an empty line, it has ended
            words = self._table.last_words("members")
            raise ClusterError(f"Patroni did not start: {words}") from None


def remove_half_copy(data: Path) -> None:
    """Remove a data directory that was not copied to its end, as when the copying was killed.

    Patroni neither uses such a directory nor begins another copy. It lacks `pg_control`, which
    pg_basebackup gets last.
    """
    if data.is_dir() and not (data / "global" / "pg_control").exists():
        shutil.rmtree(data)
