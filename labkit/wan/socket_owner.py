"""Whose socket dialled: what Linux knows of connections within this machine.

The WAN asks while it forwards bytes, so it must be quick whatever else runs here: the kernel is
asked for one socket (sock_diag(7)), not for its table of all, and the processes that held one
before are looked at first.
"""

from __future__ import annotations

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
_INODE_AT = _HEADER.size + 4 + _ENDS.size + len(_ANY_INTERFACE_NO_COOKIE) + 4 * 4
"""Where struct inet_diag_msg has the inode: behind state, socket, expiry, queues and user."""
_ANSWER_S = 0.1

_held_before: set[int] = set()
"""Processes that were found to hold a socket."""


def command_of(local: tuple[str, int], remote: tuple[str, int], *, program: str) -> tuple[str, ...]:
    """The command line of the process that holds a TCP socket of this machine.

    Args:
        local: address and port of the socket itself (IPv4).
        remote: of its other end.
        program: the name of its executable; others are not looked at.

    Returns:
        Empty when it cannot be told: on other systems than Linux, for a process of another user,
        for one that has ended.
    """
    if sys.platform != "linux":
        return ()
    with suppress(OSError, struct.error):
        wanted = f"socket:[{_inode(local, remote)}]"
        for pids in (tuple(_held_before), _pids_of(program)):
            for pid in pids:
                if _holds(pid, wanted):
                    _held_before.add(pid)
                    return tuple((_PROC / str(pid) / "cmdline").read_text().split("\0")[:-1])
    return ()


def _inode(local: tuple[str, int], remote: tuple[str, int]) -> int:
    """The inode of one socket, by its ends.

    Raises:
        OSError: there is none, or this kernel does not answer such questions.
    """
    ends = _ENDS.pack(local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]))
    body = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE)
    body += ends + _ANY_INTERFACE_NO_COOKIE
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.send(header + body)
        answer = kernel.recv(4096)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        raise OSError(f"no such socket: {local} to {remote}")
    (inode,) = struct.unpack_from("=I", answer, _INODE_AT)
    return int(inode)


def _pids_of(program: str) -> Iterable[int]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                if (folder / "comm").read_text().strip() == program:
                    yield int(folder.name)


def _holds(pid: int, wanted: str) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) == wanted:
                    return True
    return False
