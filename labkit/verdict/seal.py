"""The digest of each file that a run is judged by, so that a change to one is told.

`SHA256SUMS` has the format of sha256sum: `sha256sum -c SHA256SUMS` in a run folder says the same.
It tells damage and careless edits. Whoever writes the digests anew is not stopped by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from labkit import files
from labkit.events import EVENTS_FILE
from labkit.history import FAULTS_FILE, SAMPLES_FILE
from labkit.trading.audit import READ_FILES
from labkit.workload.ledger import LEDGER_FOLDER

SEAL_FILE = "SHA256SUMS"


def seal(folder: Path) -> None:
    """Write the digests of the evidence that a run folder has."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _evidence(folder)]
    with files.replacing(folder / SEAL_FILE) as new:
        new.write_text("".join(lines), encoding="utf-8")


def broken_seals(folder: Path) -> Iterator[str]:
    """Say which files are not those that the run left; nothing where all are."""
    try:
        lines = (folder / SEAL_FILE).read_text(errors="replace", encoding="utf-8").splitlines()
    except OSError:
        yield f"{SEAL_FILE}: not there"
        return
    told: dict[str, str] = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        told[name] = digest
    there = set(_evidence(folder))
    for name in sorted(there | set(told)):
        if name not in there:
            yield f"{name}: was there when the run ended"
        elif name not in told:
            yield f"{name}: was not there when the run ended"
        elif _digest(folder / name) != told[name]:
            yield f"{name}: is not what the run left"


def _evidence(folder: Path) -> list[str]:
    ledger = sorted(f"{LEDGER_FOLDER}/{path.name}" for path in (folder / LEDGER_FOLDER).glob("*"))
    names = (SAMPLES_FILE, FAULTS_FILE, EVENTS_FILE, *READ_FILES, *ledger)
    return [name for name in names if (folder / name).is_file()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
