"""The owner of a connection's socket, as the kernel knows it, within this machine.

The WAN asks while it forwards bytes, so it must be quick whatever else runs here: Linux is asked
for one socket (sock_diag(7)), not for its table of all, and the processes that held one before are
looked at first. Where there is no such question, as on macOS, psutil reads the sockets of every
process of the program, which takes some milliseconds. psutil is not needed on Linux.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ASKED = struct.Struct("=BBBxI")  # struct inet_diag_req_v2, before its socket
_ENDS = struct.Struct("!HH4s12x4s12x")  # struct inet_diag_sockid, before interface and cookie
_ANY_INTERFACE_NO_COOKIE = struct.pack("=III", 0, _ANY_STATE, _ANY_STATE)
_OWNER = struct.Struct("=II")
_OWNER_AT = _HEADER.size + 4 + _ENDS.size + len(_ANY_INTERFACE_NO_COOKIE) + 3 * 4
"""Where struct inet_diag_msg has user and inode: behind state, socket, expiry and queues."""
_ANSWER_S = 0.1

_held_before: set[int] = set()
"""Processes that were found to hold a socket."""


End = tuple[str, int]
"""Address (IPv4) and port of one end of a connection."""


def command_of(local: End, remote: End, *, program: str) -> tuple[str, ...] | None:
    """Find the command line of the process that holds a TCP socket of this machine.

    Args:
        local: the socket's own end.
        remote: its other end.
        program: the name of its executable; others are not looked at.

    Returns:
        Empty for a process of another user or another program. None when nobody holds the socket
        any more.
    """
    try:
        user, inode = _owner(local, remote)
    except (OSError, struct.error):
        return _by_psutil(local, remote, program)
    if not inode:
        return None
    if user != os.geteuid():
        return ()
    wanted = f"socket:[{inode}]"
    with suppress(OSError):  # it has ended
        for pids in (tuple(_held_before), _pids_of(program)):
            for pid in pids:
                if _holds(pid, wanted):
                    _held_before.add(pid)
                    return tuple(_read(_PROC / str(pid) / "cmdline").split("\0")[:-1])
    return ()


def _owner(local: End, remote: End) -> tuple[int, int]:
    """Ask Linux for the user and the inode of one socket, by its ends; inode 0 if it is closed.

    Raises:
        OSError: this system does not answer such questions.
    """
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    ends = _ENDS.pack(local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]))
    body = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE)
    body += ends + _ANY_INTERFACE_NO_COOKIE
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.send(header + body)
        answer = kernel.recv(4096)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _SOCK_DIAG_BY_FAMILY:
        user, inode = _OWNER.unpack_from(answer, _OWNER_AT)
        return user, inode
    (code,) = struct.unpack_from("=i", answer, _HEADER.size)  # struct nlmsgerr
    if code == -errno.ENOENT:
        return 0, 0
    raise OSError(-code, os.strerror(-code))


def _by_psutil(local: End, remote: End, program: str) -> tuple[str, ...]:
    """See `command_of`; a socket that is closed by now is nobody's."""
    import psutil

    for process in psutil.process_iter(["name"]):
        if process.info["name"] == program:
            with suppress(psutil.Error):  # it has ended, or is another user's
                held = {(one.laddr, one.raddr) for one in process.net_connections("tcp4")}
                if (local, remote) in held:
                    return tuple(process.cmdline())
    return ()


def _pids_of(program: str) -> Iterable[int]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                if _read(folder / "comm").strip() == program:
                    yield int(folder.name)


def _read(path: Path) -> str:
    """Read a file of /proc: any user's process may have any bytes in its name."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _holds(pid: int, wanted: str) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) == wanted:
                    return True
    return False
