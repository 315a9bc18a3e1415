"""The ledger of acknowledged orders, kept outside the database.

A worker writes an order's id here before it counts the order as acknowledged. So after a run:

- An id in the ledger was acknowledged by the database. If it is not in the database now, an
  acknowledged order was lost.
- An id that is not in the ledger proves nothing: the order may have been acknowledged to a worker
  that died before it could write.

An entry survives the death of its worker, even by SIGKILL: it has been handed to the kernel. It
need not survive a crash of the machine, which would end the clients together with the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from uuid import UUID

LEDGER_FOLDER = "ledger"


class Ledger:
    """The ledger of one region, open for appending; a context manager."""

    def __init__(self, folder: Path, region: str) -> None:
        path = folder / LEDGER_FOLDER / f"{region}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def acknowledged(self, order_id: UUID | str) -> None:
        """Hand one entry to the kernel.

        Raises:
            OSError: the entry was not written whole, so the order must not be counted.
        """
        entry = f"{order_id}\n".encode()
        written = os.write(self._fd, entry)
        if written != len(entry):
            raise OSError(f"ledger: {written} of {len(entry)} bytes of {order_id} written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def read_ledger(folder: Path) -> tuple[str, ...]:
    """Read the ids of all regions' ledgers in a run folder, in the order of each file.

    A worker that dies may leave a torn last line. It is left out, since its order was not counted.
    """
    return tuple(ledger_entries(folder))


def ledger_entries(folder: Path) -> Iterator[str]:
    """Yield the ids of `read_ledger` one by one."""
    for path in sorted((folder / LEDGER_FOLDER).glob("*.log")):
        with path.open(
            errors="backslashreplace", encoding="utf-8"
        ) as file:  # damaged, it names no order
            yield from (line[:-1] for line in file if line.endswith("\n"))
