"""The digest of each file that a run is judged by, so that a change to one is told.

`SHA256SUMS` has the format of sha256sum: `sha256sum -c SHA256SUMS` in a run folder says the same.
It tells damage and careless edits: also a requirement that was taken out of `result.json`, and an
experiment whose folder was removed. Whoever writes the digests anew is not stopped by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import file_digest, sha256
from pathlib import Path

from labkit import files
from labkit.events import EVENTS_FILE
from labkit.history import FAULTS_FILE, SAMPLES_FILE
from labkit.trading.audit import READ_FILES
from labkit.workload.ledger import LEDGER_FOLDER

SEAL_FILE = "SHA256SUMS"
RESULT_FILE = "result.json"
MORE_FOLDER = "more"
"""Inside a run folder: those of a notebook's second and further experiments."""

Line = tuple[str, str]
"""The digest and the name of a file."""


def seal(folder: Path) -> None:
    """Write the digests of the evidence that a run folder has."""
    _write(folder, [(_digest(folder / name), name) for name in _evidence(folder)])


def write_result(folder: Path, text: str) -> None:
    """Write `result.json` and its digest, for a further experiment into the run folder's seal too.

    The seal knows the old file and the new one until the new one is there, so a process that is
    killed meanwhile leaves no file that its seal does not know.

    Raises:
        OSError: it cannot be written; the old result is still there.
    """
    digest = sha256(text.encode()).hexdigest()
    seals = [(folder, RESULT_FILE)]
    run = folder.parent.parent
    if folder.parent.name == MORE_FOLDER and (run / SEAL_FILE).exists():
        seals.append((run, f"{MORE_FOLDER}/{folder.name}/{RESULT_FILE}"))
    for place, name in seals:
        _write(place, dict.fromkeys([*_lines(place), (digest, name)]))
    files.write_text(folder / RESULT_FILE, text)
    for place, name in seals:
        _write(place, [line for line in _lines(place) if line[1] != name or line[0] == digest])


def broken_seal(folder: Path, name: str) -> Iterator[str]:
    """Say whether a file is not the one that the run left; nothing where it is."""
    digests = [digest for digest, told in _lines(folder) if told == name]
    if not digests:
        yield f"{name}: has no digest in {SEAL_FILE}"
    elif _digest(folder / name) not in digests:
        yield f"{name}: is not what the run left"


def broken_seals(folder: Path) -> Iterator[str]:
    """Say which files are not those that the run left; nothing where all are."""
    if not (folder / SEAL_FILE).is_file():
        yield f"{SEAL_FILE}: not there"
        return
    told = {name for _, name in _lines(folder)}
    there = set(_evidence(folder))
    for name in sorted(there | told):
        if name not in there:
            yield f"{name}: was there when the run ended"
        elif name not in told:
            yield f"{name}: was not there when the run ended"
        else:
            yield from broken_seal(folder, name)


def lost_experiments(folder: Path) -> list[str]:
    """Name the folders of further experiments that a run left and that are gone: `more/2-a`."""
    told = {Path(name).parent for _, name in _lines(folder)}
    return sorted(
        str(path)
        for path in told
        if path.parts[:1] == (MORE_FOLDER,) and not (folder / path).exists()
    )


def _evidence(folder: Path) -> list[str]:
    ledger = sorted(f"{LEDGER_FOLDER}/{path.name}" for path in (folder / LEDGER_FOLDER).glob("*"))
    more = sorted(
        str(path.relative_to(folder)) for path in (folder / MORE_FOLDER).glob(f"*/{RESULT_FILE}")
    )
    names = (RESULT_FILE, SAMPLES_FILE, FAULTS_FILE, EVENTS_FILE, *READ_FILES, *ledger, *more)
    return [name for name in names if (folder / name).is_file()]


def _lines(folder: Path) -> list[Line]:
    """Read the seal; nothing where there is none."""
    try:
        lines = (folder / SEAL_FILE).read_text(errors="replace", encoding="utf-8").splitlines()
    except OSError:
        return []
    parted = [line.partition("  ") for line in lines]
    return [(digest, name) for digest, _, name in parted]


def _write(folder: Path, lines: Iterable[Line]) -> None:
    files.write_text(folder / SEAL_FILE, "".join(f"{digest}  {name}\n" for digest, name in lines))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
