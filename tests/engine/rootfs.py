"""Root file systems out of Debian packages, for images where no registry can be reached.

apt resolves the packages against an empty system, dpkg-deb unpacks them; no maintainer script
runs, nothing is changed on the machine. Unlike debootstrap it needs no chroot and takes seconds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ESSENTIAL = ("bash", "coreutils", "dash", "grep", "libc-bin", "sed", "tar", "gzip")
"""apt takes these for granted and leaves them out, unless they are named."""

USERS = {"root": 0, "postgres": 70, "haproxy": 99, "nobody": 65534}

_NOT_NEEDED = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
    *("usr/share/lintian", "usr/share/bash-completion", "usr/share/zoneinfo", "var/cache"),
    *("usr/share/perl", "usr/share/perl5", "usr/lib/x86_64-linux-gnu/perl"),
    *("usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/x86_64-linux-gnu/gconv"),
)


class NoPackages(Exception):
    """Debian's packages cannot be had here; the message is a test's reason to skip."""


@dataclass(frozen=True, slots=True)
class Debian:
    """The package lists of this machine, read as if nothing were installed.

    Attributes:
        work: a folder for what apt keeps.
    """

    work: Path

    def prepare(self) -> None:
        """Copy the lists of the machine; fetch them if it has none."""
        lists = Path("/var/lib/apt/lists")
        if not list(lists.glob("*_Packages*")):
            subprocess.run(["apt-get", "update", "-qq"], check=False)
        for folder in ("state/lists/partial", "archives/partial"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        for path in lists.iterdir():
            if path.is_file() and path.name != "lock":
                shutil.copy2(path, self.work / "state/lists")
        (self.work / "status").touch()

    def fetch(self, *packages: str) -> None:
        """Download packages with all they depend on."""
        self._apt("--download-only", "install", *packages)

    def closure(self, *packages: str) -> list[Path]:
        """The fetched files that these packages need, themselves included."""
        printed = self._apt("--simulate", "install", *packages)
        names = re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", printed, re.MULTILINE)
        archives = self.work / "archives"
        return [
            archives / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
            for name, version, arch in names
        ]

    def _apt(self, *arguments: str) -> str:
        options = {
            "Dir::State::status": self.work / "status",
            "Dir::State::lists": self.work / "state/lists",
            "Dir::Cache::archives": self.work / "archives",
            "Dir::Cache::pkgcache": self.work / "pkgcache.bin",
            "Dir::Cache::srcpkgcache": self.work / "srcpkgcache.bin",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
        }
        settings = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        done = subprocess.run(
            ["apt-get", *settings, "-q", "-y", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            raise NoPackages(f"stand-in images need Debian's packages: {said[-1]}")
        return done.stdout


def unpack(root: Path, archives: list[Path]) -> None:
    """Make a root file system of packages in `root`."""
    for name in ("bin", "sbin", "lib", "lib64"):  # merged /usr, so that both paths lead there
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var/lib", "var/run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for archive in archives:
        reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "-C", root], stdin=reader.stdout, check=True
        )
        if reader.wait():
            raise RuntimeError(f"{archive}: dpkg-deb cannot unpack it")
    for name in _NOT_NEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    _add_users(root)
    if not (root / "bin/sh").exists():
        (root / "usr/bin/sh").symlink_to("dash")


def _add_users(root: Path) -> None:
    passwd = [f"{name}:x:{uid}:{uid}::/tmp:/bin/sh\n" for name, uid in USERS.items()]
    group = [f"{name}:x:{uid}:\n" for name, uid in USERS.items()]
    (root / "etc/passwd").write_text("".join(passwd))
    (root / "etc/group").write_text("".join(group))
