"""Becoming an ordinary user for good: what root's servers run as.

    python privileges.py UID:GID PROGRAM ARGUMENT...

becomes the program, as that user. A server that is Python itself calls `become` when it has
imported what it needs, and before it opens a socket or reads any input: its interpreter and its
modules may lie where only root can read, as under /root.

Without arguments the file prints why this user cannot start a lab, if that is so: `make demo` asks
before there is an environment. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder

_SET_NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of prctl(2): no program that is executed gains rights, setuid or not."""
ROOT_NEEDS = {
    0: "CAP_CHOWN",
    1: "CAP_DAC_OVERRIDE",
    3: "CAP_FOWNER",
    5: "CAP_KILL",
    6: "CAP_SETGID",
    7: "CAP_SETUID",
}
"""What of its rights root uses to give servers another user, their files, and signals; a bit each
(linux/capability.h). Docker's default has them."""
LATE_IMPORT = "imported without the right to read everything"
"""How the line in a server's log begins that names a module which `become` should have found."""


def obstacle() -> str:
    """Say why this user cannot start a lab's servers, and what to do; empty when it can."""
    uid = os.geteuid()
    if uid == 0:
        held = held_capabilities() if sys.platform == "linux" else ~0
        missing = [name for bit, name in ROOT_NEEDS.items() if not held >> bit & 1]
        if missing:
            return (
                f"this root lacks {', '.join(missing)}, and PostgreSQL refuses to run as root: "
                "run labkit as an ordinary user who is in /etc/passwd, "
                "or give the container its usual capabilities"
            )
    elif not has_name(uid):
        return (
            f"this user (uid {uid}) is not in /etc/passwd, and PostgreSQL's initdb refuses to run "
            "without: add a line such as "
            f"`labkit:x:{uid}:{os.getegid()}::/tmp:/bin/sh`, or become a user that is there"
        )
    return ""


def has_name(uid: int) -> bool:
    """Tell whether a user is in /etc/passwd, or in what stands in for it."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def become(user: str) -> None:
    """Drop root's rights, in this process and in all that it starts, and make sure of it.

    Args:
        user: `UID:GID`; neither needs to have a name on this machine.

    Raises:
        PermissionError: this process may not change its user, or kept a right.
    """
    uid, gid = (int(part) for part in user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)  # root's: the real, the effective and the saved one
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if held := held_capabilities():
            raise PermissionError(f"uid {uid} still has capabilities ({held:#x})")
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise PermissionError(f"uid {uid} can become root again")


def held_capabilities() -> int:
    """Read the capabilities that this process has or may take, as a bit mask (Linux)."""
    with open("/proc/self/status", encoding="utf-8") as status:  # noqa: PTH123 - a short start
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["CapPrm"], 16) | int(fields["CapEff"], 16) | int(fields["CapAmb"], 16)


class LateImports(MetaPathFinder):
    """Names, in the log, every module that is imported after the rights are gone.

    Where the environment lies under /root such an import fails. Put first in `sys.meta_path`.
    """

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Find nothing, and say what was looked for."""
        print(f"{LATE_IMPORT}: {fullname}", file=sys.stderr, flush=True)


def become_with_imports(user: str) -> None:
    """`become`, in a Python process that has imported what it needs."""
    become(user)
    sys.meta_path.insert(0, LateImports())


def main(arguments: Sequence[str]) -> None:
    """Become a program as another user, or say why this user cannot start a lab."""
    if not arguments:
        print(obstacle())
        return
    user, *command = arguments
    try:
        become(user)
        os.execvp(command[0], command)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        sys.exit(f"{command[0]} as user {user}: {error.strerror or error}")


if __name__ == "__main__":
    main(sys.argv[1:])
