"""The first data directory of root's lab, whose servers run as a user without a name.

initdb, and the `postgres` that it starts, end with an error when their user is not in /etc/passwd
(PostgreSQL: src/common/username.c, get_user_name_or_exit). So initdb runs as a user that has a
name, in a folder that only the lab's group can reach, and its work is given to the lab's user.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from labkit.cluster.engines.postgresql.config import INITDB, SUPERUSER
from labkit.cluster.engines.postgresql.layout import Layout
from labkit.cluster.folder import write_whole
from labkit.cluster.identity import NOBODY, Identity
from labkit.errors import ClusterError
from labkit.privileges import has_name


def make(layout: Layout, bin_dir: Path, password: str, user: Identity) -> None:
    """Make the data directory that the first node's Patroni will take.

    Args:
        password: of the superuser.
        user: whom it is for.

    Raises:
        ClusterError: initdb failed; says why.
    """
    named = Identity.of_root(_named_uid(user.uid), user.gid)
    # an initdb whose `up` was killed may still write: it has another folder
    folder = layout.place / f"initdb.{os.getpid()}"
    for old in layout.place.glob("initdb.*"):
        shutil.rmtree(old, ignore_errors=True)
    named.make_folder(folder, written=True)
    try:
        write_whole(folder / "password", password)
        named.own(folder / "password")
        done = named.run(
            bin_dir / "initdb",
            *_options(),
            f"--username={SUPERUSER}",
            f"--pwfile={folder / 'password'}",
            "--auth=scram-sha-256",
            f"--pgdata={folder / 'data'}",
        )
        if done.returncode != 0:
            raise ClusterError(f"initdb failed: {' '.join(done.stderr.split())[-300:]}")
        # nobody else writes there any more: a link that was put there is handed over as a link
        folder.chmod(0o700)
        os.chown(folder, 0, 0)
        for parent, folders, files in os.walk(folder / "data"):
            for name in (*folders, *files):
                user.own(Path(parent) / name)
        user.own(folder / "data")
        (folder / "data").rename(layout.first_data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> Iterator[str]:
    for option in INITDB:
        if isinstance(option, str):
            yield f"--{option}"
        else:
            yield from (f"--{name}={value}" for name, value in option.items())


def _named_uid(wanted: int) -> int:
    """Return a uid that has a name and is not root's: the one that is wanted, nobody's, or any.

    Raises:
        ClusterError: there is only root.
    """
    if has_name(wanted):
        return wanted
    uids = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not uids:
        raise ClusterError(
            "no user but root is in /etc/passwd, and initdb runs neither as root nor as a user "
            "without a name: add one, such as nobody"
        )
    return NOBODY if NOBODY in uids else uids[0]
