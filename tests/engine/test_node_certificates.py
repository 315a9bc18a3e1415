"""What the double of a secure cluster asks of whoever speaks to it as a node does."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from ports import HOST, free_port

from engine.standin import certs
from engine.standin.errors import Unreachable
from engine.standin.flags import parse
from engine.standin.gossip import Line
from engine.standin.node import Flags, Node, client_tls
from engine.standin.postgres import Store


def authority(folder: Path) -> Path:
    """Make an authority, with a certificate for a node and for each of some users."""
    common = [f"--certs-dir={folder}", f"--ca-key={folder}/ca.key"]
    certs.run(parse("cert create-ca", common))
    certs.run(parse("cert create-node", [HOST, *common]))
    for user in ("root", "trader"):
        certs.run(parse("cert create-client", [user, *common]))
    return folder


async def ask(folder: Path, tls: ssl.SSLContext) -> int:
    """Start a secure node, and ask it as another node would."""
    port = free_port()
    flags = Flags(
        *((HOST, port), (HOST, 0), f"{HOST}:{port}", (("region", "a"),), (), ()),
        certs=folder,
        folder=None,
        store=Store(HOST, free_port()),  # where nothing listens: it waits for its catalogue
    )
    node = Node.create(flags)
    await node.start()
    try:
        answer = await Line(f"{HOST}:{port}", tls).call({"op": "identity"})
        return int(answer["node_id"])
    finally:
        await node.stop()


@pytest.mark.parametrize("user", ["", "root"])
def test_a_node_and_root_are_answered_with_their_certificates(user: str, tmp_path: Path) -> None:
    folder = authority(tmp_path)
    assert asyncio.run(ask(folder, client_tls(folder, user))) == 0


def test_nobody_speaks_as_a_node_without_a_certificate_or_with_another(tmp_path: Path) -> None:
    folder = authority(tmp_path / "ours")
    none = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    foreign = client_tls(authority(tmp_path / "theirs"))
    foreign.load_verify_locations(folder / "ca.crt")  # it believes the node all the same
    for tls in (none, foreign, client_tls(folder, "trader")):
        with pytest.raises(Unreachable):
            asyncio.run(ask(folder, tls))
