"""Puts the folder and the programs of root's servers where their user may reach them.

Root's servers are another user's (`Identity`), without root's right to read everything. The
environment may lie under /root, and so may the state folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from labkit.cluster.folder import is_roots_alone
from labkit.cluster.identity import Identity
from labkit.cluster.machines.programs import Program
from labkit.cluster.settings import LabSettings
from labkit.cluster.strays import other_lab_of
from labkit.errors import ClusterError

S = TypeVar("S", bound=LabSettings)

ELSEWHERE = (Path("/var/lib"), Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - made for root alone
"""Where a folder for servers is made when the state folder is none, the first that will do."""


def settled(home: Path, settings: S) -> S:
    """Decide, once for a lab, who its servers run as and where their files are.

    Raises:
        ClusterError: root may not change user here, or there is no folder for the servers.
    """
    if os.geteuid() != 0 or settings.run_as is not None:
        return settings
    identity = Identity.of_its_own(_users_of_other_labs())
    identity.make_folder(home, written=False)
    if (done := identity.run("true")).returncode != 0:
        raise ClusterError(f"root cannot start servers as another user: {done.stderr.strip()}")
    servers_at = None if _will_do(home, identity) else _elsewhere(identity, settings.lab_id)
    return settings.model_copy(
        update={"run_as": (identity.uid, identity.gid), "servers_at": servers_at}
    )


def _users_of_other_labs() -> set[int]:
    """Those that have a folder for their servers, as far as one can know: whose group it is."""
    folders = (path for place in ELSEWHERE for path in (place / "labkit").glob("*"))
    return {folder.lstat().st_gid for folder in folders}


def identity(home: Path, settings: LabSettings) -> Identity:
    """Tell who a lab's servers run as.

    Raises:
        ClusterError: root may not change user here, or the lab is another user's.
    """
    if os.geteuid() != 0:
        return Identity(os.geteuid(), os.getegid())
    if settings.run_as is None:
        raise ClusterError(
            f"the lab in {home} was made by an ordinary user, and root's servers need another one: "
            "run labkit as that user, or set LABKIT_HOME to make another lab"
        )
    return Identity.of_root(*settings.run_as)


def make_servers_folder(home: Path, settings: LabSettings, user: Identity) -> None:
    """Make sure that a lab's user is its own; make its servers' folder, if not the state folder.

    Raises:
        ClusterError: what stands there is not root's, or others can write to it; or another lab
            runs as the same user.
    """
    if other := other_lab_of(user, settings.lab_id):
        raise ClusterError(
            f"the lab in {other} runs as uid {user.uid}, which the lab in {home} has drawn, too: "
            "`labkit down` there, or `labkit down --purge` here and `labkit up` to draw another"
        )
    if settings.servers_at is None:
        return
    parent = settings.servers_at.parent
    for path in (parent, settings.servers_at):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        if not is_roots_alone(path):
            raise ClusterError(
                f"{path} should be root's alone, for servers of the lab in {home}: remove it"
            )
    parent.chmod(parent.stat().st_mode | 0o111)  # whatever the umask is
    user.make_folder(settings.servers_at, written=False)


def remove_servers_folder(settings: LabSettings) -> None:
    """Remove the folder of a lab's servers, where it is not the state folder. Idempotent.

    Raises:
        ClusterError: others can change what stands there, or it cannot be removed.
    """
    place = settings.servers_at
    if place is None or not os.path.lexists(place):
        return
    if not (is_roots_alone(place.parent) and is_roots_alone(place)):
        raise ClusterError(f"{place} should be root's alone, and is not: remove it by hand")
    try:
        shutil.rmtree(place)
    except OSError as error:
        raise ClusterError(
            f"{error.filename} cannot be removed ({error.strerror}): mend that, then "
            "repeat `labkit down --purge`"
        ) from error


def placed(program: Program, folder: Path, user: Identity) -> Program:
    """Return a program where the servers' user may execute it: a copy in `folder`, made once.

    A program that the user may execute is taken as it is when it is the machine's; one of a Python
    environment is always copied for root, so that nobody else can change what root's lab runs.

    Raises:
        ClusterError: it cannot be copied.
    """
    if not user.dropped or (not program.parts and user.may("-x", program.path)):
        return program
    found = program.path.stat()
    seen = f"{program.path} {found.st_size} {found.st_mtime_ns}"
    mark = hashlib.sha256(seen.encode()).hexdigest()[:8]
    copy = folder / "programs" / f"{program.name}-{program.release}-{mark}"
    if not copy.exists():
        _copy(program, copy, user)
    return program.at(copy)


def _copy(program: Program, copy: Path, user: Identity) -> None:
    half = copy.with_name(f".{copy.name}.{os.getpid()}")
    root, parts = program.root, program.parts
    if not parts:
        root, parts = program.path.parent, (program.path.name,)
    user.make_folder(copy.parent, written=False)
    try:
        for part in parts:
            source, target = root / part, half / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=_copy_file)
            else:
                _copy_file(source, target)
        for path in (half, *half.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        half.rename(copy)
    except OSError as error:
        raise ClusterError(f"{program.name} cannot be copied to {copy}: {error}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file for everybody to read, whatever the umask was when it was installed."""
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _will_do(folder: Path, user: Identity) -> bool:
    """Tell whether the servers' user can get into a folder, and execute programs there."""
    return user.may("-x", folder) and not os.statvfs(folder).f_flag & os.ST_NOEXEC


def _elsewhere(user: Identity, lab_id: str) -> Path:
    for folder in ELSEWHERE:
        if folder.is_dir() and os.access(folder, os.W_OK) and _will_do(folder, user):
            return folder / "labkit" / lab_id
    raise ClusterError(
        f"root's servers run as uid {user.uid}, which can execute programs neither in the state "
        f"folder nor in {', '.join(map(str, ELSEWHERE))}: set LABKIT_HOME to a folder that it may "
        "enter, on a disk without noexec"
    )
