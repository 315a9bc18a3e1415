"""The state folder of a lab: whose it is, who may change it, its files, and how it goes.

A state folder is one that labkit made in an empty or new folder, and its mark is `lab.json`. What
stands in it under another name than labkit's is somebody's, and stays. So does a folder that was
there before the lab: it is closed to other users for as long as the lab has it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from labkit import files
from labkit.errors import BadInput, ClusterError, LabBusy

MARK = "lab.json"
FILES = (
    MARK,
    "secrets.json",
    "pgpass",
    "served",
    "lock",
    "run.json",
    "load.lock",
    "processes/*.json",
    "watchdogs/*.json",
    "log/*.log",
    "run/REGION.sock",
    "run/NODE.pgpass",
    "conf/NODE.yml",
    "conf/NODE.pgpass",
    "conf/haproxy[.-]REGION.cfg",
    "conf/wan.json",
    "conf/*.crt",
    "conf/*.key",
    "certs/*.crt",
    "certs/*.key",
    "node-certs/*.crt",
    "node-certs/*.key",
    "authority/*.crt",
    "authority/*.key",
    "compose/cockroachdb.yml",
    "compose/haproxy-REGION.cfg",
    "compose/wan.json",
    "compose/labkit/*.py",
    "compose/labkit/wan/*.py",
)
"""What labkit writes into a state folder, by name. REGION and NODE stand for those of the lab."""
TREES = ("data/NODE", "data/.first", "etcd/REGION", "initdb.PID", "programs/*-HASH")
"""Folders that a server fills, and copies of programs: everything in them is the lab's own."""
HARMLESS = ("lost+found",)
"""What a file system puts into an empty folder by itself."""
_HALF_WRITTEN = re.compile(rf"\.{re.escape(MARK)}\.\d+")
"""The mark in a folder that a command was making when it was killed."""
SHOWN = 5
"""How many names a message lists."""


def usual_home() -> Path:
    """Labkit's place among the user's state files."""
    from platformdirs import user_state_path

    return user_state_path("labkit")


def require_usable(home: Path) -> None:
    """Refuse to make a lab in a folder that holds somebody's files. Nothing is changed.

    Raises:
        BadInput: names what is in the way.
    """
    require_own(home)
    if not os.path.lexists(home):
        return
    if not home.is_dir():
        raise BadInput(f"{home} is not a folder: set LABKIT_HOME to a new or an empty one")
    try:
        found = sorted(path.name for path in home.iterdir())
    except OSError as error:
        raise BadInput(f"{home} cannot be read ({error.strerror}): set LABKIT_HOME") from error
    found = [name for name in found if name not in HARMLESS and not _HALF_WRITTEN.fullmatch(name)]
    if MARK not in found and found:
        raise BadInput(
            f"{home} holds files that are not a lab's ({_some(found)}): set LABKIT_HOME to a new "
            "or an empty folder"
        )


class Before(NamedTuple):
    """A state folder as it was before its lab was made."""

    mode: int
    group: int


def make(home: Path) -> Before | None:
    """Make a state folder, or close one to other users that is there.

    Returns:
        What the folder was like; None when labkit made it.

    Raises:
        BadInput: another user could change it.
        OSError: it cannot be made.
    """
    before = None
    try:
        home.mkdir(mode=0o700, parents=True)
        # killed before there is a mark, labkit must know the folder again for its own
        (home / f".{MARK}.{os.getpid()}").touch(mode=0o600)
    except FileExistsError:
        require_own(home)
        if not any(_HALF_WRITTEN.fullmatch(path.name) for path in home.iterdir()):
            found = home.stat()
            before = Before(stat.S_IMODE(found.st_mode), found.st_gid)
    home.chmod(0o700)
    return before


def require_own(home: Path) -> None:
    """Refuse root a state folder that another user could change, or replace by a link.

    Root would write and delete where that user wants.

    Raises:
        BadInput: names what another user could change.
    """
    if os.geteuid() != 0:
        return
    for path in _way_to(home):
        found = path.lstat()
        mode = found.st_mode
        writers = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and found.st_gid != 0)
        # in a folder such as /tmp only the owner of a name can change it
        shared = mode & stat.S_ISVTX and str(path) != os.path.realpath(home)
        if found.st_uid != 0:
            what = f"{path} is {_name_of(found.st_uid)}'s"
        elif writers and not shared and not stat.S_ISLNK(mode):
            what = f"others may write to {path}"
        else:
            continue
        raise BadInput(
            f"{home} is no state folder for root, because another user could lead root's files "
            f"elsewhere ({what}): set LABKIT_HOME to a folder that only root can change, or run "
            "labkit as that user"
        )


def _way_to(path: Path) -> Iterator[Path]:
    """Every folder and link on the way to a path, as far as they exist."""
    here, rest, links = Path("/"), [*path.absolute().parts], 0
    while rest:
        here /= rest.pop(0)
        if not os.path.lexists(here):
            return
        yield here
        if here.is_symlink() and links < 40:  # as many as Linux follows (path_resolution(7))
            links += 1
            rest = [*here.readlink().parts, *rest]
            here = here.parent


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """One command at a time changes a lab.

    Raises:
        LabBusy: another one does.
    """
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabBusy(
                f"another labkit command is changing the lab in {home}: wait for it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def remove(home: Path, regions: Iterable[str], before: Before | None = None) -> tuple[str, ...]:
    """Remove what labkit wrote into a state folder, by name, and the folder if it is empty then.

    The mark goes last, so that what is interrupted can be repeated. No symbolic link is followed
    or removed: labkit makes none.

    Args:
        before: what the folder was like before the lab, and will be again; None: labkit made it.

    Returns:
        What was left because it is not labkit's, each relative to the folder.

    Raises:
        ClusterError: something cannot be removed; the command can be repeated.
    """
    regions = tuple(regions)
    try:
        left = _remove(home, "", _patterns(FILES, regions), _patterns(TREES, regions))
        if before is not None:
            os.chown(home, -1, before.group)
            home.chmod(before.mode)
        (home / MARK).unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(
            f"{error.filename} cannot be removed ({error.strerror}): mend that, then "
            "repeat `labkit down --purge`"
        ) from error
    if before is None:
        with suppress(OSError):  # something is left in it, or it is the root of a disk
            home.rmdir()
    return tuple(name for name in left if name.rstrip("/") not in HARMLESS)


def is_roots_alone(path: Path) -> bool:
    """Tell whether a path is a folder of root's, and nobody else can change what is in it."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022


def remove_data(home: Path, regions: Iterable[str]) -> None:
    """Remove the data of a lab that never was in service, so that it can begin afresh.

    Raises:
        ClusterError: something that is not the lab's stands in its place.
    """
    regions = tuple(regions)
    trees = _patterns(TREES, regions)
    for name in ("data", "etcd"):
        folder = home / name
        if folder.is_symlink():
            raise ClusterError(f"{folder} is a symbolic link: move it away, labkit follows none")
        if not folder.is_dir():
            continue
        _remove(folder, f"{name}/", re.compile("(?!)"), trees)
        kept = [path for path in folder.iterdir() if trees.fullmatch(f"{name}/{path.name}")]
        if kept:
            raise ClusterError(
                f"{kept[0]} stands where the lab's data belongs and is not labkit's: move it away"
            )


def _remove(folder: Path, prefix: str, known: re.Pattern[str], trees: re.Pattern[str]) -> list[str]:
    """Remove what is known of a folder; return the rest."""
    left: list[str] = []
    for path in sorted(folder.iterdir()):
        name = prefix + path.name
        if name == MARK:
            continue
        if path.is_symlink():
            left.append(name)
        elif not path.is_dir():
            if known.fullmatch(name):
                path.unlink()
            else:
                left.append(name)
        elif trees.fullmatch(name):
            shutil.rmtree(path)
        elif name in _FOLDERS:
            inside = _remove(path, f"{name}/", known, trees)
            if inside:
                left += inside
            else:
                path.rmdir()
        else:
            left.append(f"{name}/")
    return left


_FOLDERS = {
    name.rsplit("/", depth)[0]
    for name in (*FILES, *TREES)
    for depth in range(1, name.count("/") + 1)
}


def _patterns(names: Iterable[str], regions: Iterable[str]) -> re.Pattern[str]:
    """Match the paths of some names, those of files that were not written to their end too."""
    region = "|".join(re.escape(name) for name in regions) or "(?!)"
    words = {
        "REGION": f"(?:{region})",
        "NODE": rf"(?:(?:{region})-\d+|crdb\d+-(?:{region}))",
        "HASH": "[0-9a-f]{8}",
        "PID": r"\d+",
        r"\*": "[^/]+",
    }
    found = []
    for name in names:
        folder, slash, file = name.rpartition("/")
        pattern = re.escape(file).replace(r"\[\.\-\]", "[.-]")
        for word, stands_for in words.items():
            pattern = pattern.replace(word, stands_for)
        found.append(re.escape(folder) + slash + rf"(?:{pattern}|\.{pattern}\.\d+)")
    return re.compile("|".join(found))


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def words_for(left: Iterable[str]) -> str:
    """Say what a removal left."""
    return _some(list(left))


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file at once: readers see the old text or the new one, never a part.

    Raises:
        ClusterError: it cannot be written, such as on a full disk; the old text is still there.
    """
    try:
        # whatever the umask is: containers read as other users
        files.write_text(path, text, mode)
    except OSError as error:
        raise ClusterError(
            f"{path} cannot be written ({error.strerror}): is the disk full, or read-only? "
            "Mend that, then repeat the command"
        ) from error
