"""The operating-system user that a lab's servers run as."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from labkit import privileges
from labkit.environment import of_servers
from labkit.errors import ClusterError

NOBODY = 65534
"""The user that has no files of its own, and that any number of services share."""
OWN_UIDS = range(60578, 61183)
"""Out of these root's labs take a user each. systemd has no use for them; its services may have
those from 61184 on while they run (its "Users, Groups, UIDs and GIDs"). useradd ends below, and of
Debian's packages none has one (base-passwd's README, "Reserved uids")."""
WAN_UID = 61183
"""The user of the WAN in its container. A program of this user outside it could read the WAN's
token in /proc/PID/environ, so it is none that anybody has."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that a lab's servers run as: its owner, or for root another one.

    PostgreSQL refuses to run as root. The servers keep none of root's rights, so what they read
    and execute must lie where this user may go (`labkit.cluster.machines.reach`).

    Attributes:
        dropped: whether a process of this one has to become that user first.
    """

    uid: int
    gid: int
    dropped: bool = False

    @classmethod
    def current(cls) -> Identity:
        """Tell how a program that is no lab's runs: root's as nobody.

        Raises:
            ClusterError: root that may not change user.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        return cls.of_root(NOBODY, NOBODY)

    @classmethod
    def of_its_own(cls, taken: Iterable[int] = ()) -> Identity:
        """Choose a user and group for a lab of root's: one that has no name and no process.

        Args:
            taken: users that other labs have, of which nothing may run now.

        Raises:
            ClusterError: this root may not change user here, or other labs have them all.
        """
        used = {uid for process in psutil.process_iter(["uids"]) for uid in process.info["uids"]}
        used |= {*taken}
        used |= {entry.pw_uid for entry in pwd.getpwall()}
        used |= {entry.gr_gid for entry in grp.getgrall()}
        free = [uid for uid in OWN_UIDS if uid not in used]
        if not free:
            raise ClusterError(
                f"no user is left for root's lab of uid {OWN_UIDS[0]} to {OWN_UIDS[-1]}: take old "
                "labs away with `labkit down --purge`, or run labkit as an ordinary user"
            )
        number = secrets.choice(free)
        return cls.of_root(number, number)

    @classmethod
    def of_root(cls, uid: int, gid: int) -> Identity:
        """Tell how servers run that root starts as somebody else.

        Raises:
            ClusterError: this root may not do what that takes, as in a container without
                capabilities.
        """
        if problem := privileges.obstacle():
            raise ClusterError(problem)
        return cls(uid, gid, dropped=True)

    @property
    def name(self) -> str:
        """As `labkit.privileges` takes it."""
        return f"{self.uid}:{self.gid}"

    @property
    def exclusive(self) -> bool:
        """Tell whether every process of this user is the lab's."""
        return self.dropped and self.uid in OWN_UIDS

    @property
    def to_become(self) -> tuple[str, ...]:
        """`name` as the argument of a program; nothing where nobody changes."""
        return (self.name,) if self.dropped else ()

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return what stands before the command line of a program; nothing where nobody changes."""
        if not self.dropped:
            return ()
        return (sys.executable, "-I", "-S", privileges.__file__, self.name)

    def module(self, name: str, *arguments: str | Path) -> list[str]:
        """Return the command line of a module that calls `become_with_imports` itself.

        Nothing is imported from the working directory, which servers may write to.
        """
        return [sys.executable, "-P", "-m", name, *map(str, arguments)]

    def may(self, test: str, path: Path) -> bool:
        """Test the servers' user's right to a path: `-r`, `-w` or `-x` of test(1)."""
        return self.run("test", test, path).returncode == 0

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a short program as that user, to see what it can do."""
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=of_servers({}),
            cwd="/",
        )

    def own(self, path: Path) -> None:
        """Give a file or folder to the user that the servers run as; a link is not followed."""
        if self.dropped:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make_folder(self, path: Path, *, written: bool) -> None:
        """Make a folder that the servers write to, or only pass through and read files in.

        In a folder that belongs to root nobody can put a link where root will write.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        if written:
            self.own(path)
        elif self.dropped:
            os.chown(path, 0, self.gid, follow_symlinks=False)
            path.chmod(0o710)
