"""Another user of the machine, who knows every port, path and kernel id, and has no credential.

Run as `python stranger.py UID < what.json > found.json`, with the rights of the tests. It imports
what it needs, and becomes the other user before it does anything.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - what is imported later may be out of reach
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import zmq

KEYS = (False, True)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
CREDENTIALS: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("?token=wrong", {}),
    ("?token=", {}),
    ("", {"Authorization": "token wrong"}),
    ("", {"Authorization": "Basic " + base64.b64encode(b"root:").decode()}),
    ("", {"Cookie": 'username-127-0-0-1-PORT="2|1:0|10:1|4:user|4:cm9v|0"; _xsrf=2|a|b|1',
          "X-XSRFToken": "2|a|b|1"}),
    ("", {"Host": "stranger.example:PORT", "Origin": "http://stranger.example:PORT"}),
]  # fmt: skip


def become(uid: int) -> None:
    """Be another user without any group, for good."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def requests(port: int, wanted: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """Send each request with every credential that is none; yield what was answered."""
    for (method, path), (query, headers) in product(wanted, CREDENTIALS):
        sent = {name: value.replace("PORT", str(port)) for name, value in headers.items()}
        if path.endswith(("channels", "websocket")):
            sent |= HANDSHAKE
        line = HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            body = b'{"name": "python3"}' if method not in ("GET", "DELETE") else None
            line.request(method, path + query, body, sent)
            yield f"{method} {path}{query} {sent}", line.getresponse().status
        finally:
            line.close()


def kernel_answers(port: int, proof: Path) -> list[str]:
    """Talk to a port of a kernel as every kind of client, in clear and with keys of one's own."""
    found = []
    own, own_secret = zmq.curve_keypair()
    server, _ = zmq.curve_keypair()
    header = {
        "msg_id": uuid4().hex, "session": uuid4().hex, "username": "stranger", "version": "5.4",
        "msg_type": "execute_request", "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    code = f"open({str(proof)!r}, 'w')"
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
    message = [b"<IDS|MSG>", b"", *(json.dumps(p).encode() for p in (header, {}, {}, content))]
    output = [os.urandom(16), b"stream.stdout", *message[:-1], b'{"text": "a stranger was here"}']
    with zmq.Context() as context:
        for kind, keys in product((zmq.SUB, zmq.DEALER, zmq.REQ, zmq.XSUB, zmq.PUSH), KEYS):
            with context.socket(kind) as line:
                line.linger = 0
                if keys:
                    line.curve_publickey, line.curve_secretkey = own, own_secret
                    line.curve_serverkey = server
                if kind == zmq.SUB:
                    line.subscribe(b"")
                line.connect(f"tcp://127.0.0.1:{port}")
                if kind == zmq.XSUB and line.poll(200, zmq.POLLOUT):
                    line.send(b"\x01")
                elif kind in (zmq.DEALER, zmq.REQ) and line.poll(200, zmq.POLLOUT):
                    line.send_multipart(message)
                elif kind == zmq.PUSH and line.poll(200, zmq.POLLOUT):
                    line.send_multipart(output)
                if kind != zmq.PUSH and line.poll(1200):
                    found.append(f"{port} {kind} {keys} {line.recv_multipart()!r}"[:200])
    return found


def main(what: dict[str, Any]) -> dict[str, Any]:
    """Try everything; returns what got through, or was read."""
    proof = Path(what["proof"])
    readable = [path for path in what["secret_files"] if os.access(path, os.R_OK)]
    listable = [path for path in what["secret_folders"] if os.access(path, os.R_OK | os.X_OK)]
    ports = what["kernel_ports"]
    with ThreadPoolExecutor(max_workers=len(ports)) as pool:  # all of them only wait
        kernels = pool.map(kernel_answers, ports, [proof] * len(ports))
        answers = [
            answer
            for port, wanted in what["http"]
            for answer in requests(port, [(method, path) for method, path in wanted])
        ]
    return {
        "uid": os.geteuid(),
        "answers": answers,
        "kernels": [one for found in kernels for one in found],
        "readable": [*readable, *listable],
    }


if __name__ == "__main__":
    become(int(sys.argv[1]))
    json.dump(main(json.load(sys.stdin)), sys.stdout)
