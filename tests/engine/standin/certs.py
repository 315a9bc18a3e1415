"""`cockroach cert`: an authority, certificates for nodes and users, by the openssl program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .errors import Refused
from .flags import Arguments

DAYS = "3650"


def run(arguments: Arguments) -> int:
    """Make what is asked for (cockroach-cert.md, v25.4).

    Raises:
        Refused: something is missing, or there already.
    """
    certs = Path(arguments.get("--certs-dir", "certs"))
    command = arguments.command.removeprefix("cert ")
    if command == "list":
        print("\n".join(sorted(path.name for path in certs.glob("*.crt"))))
        return 0
    ca_key = arguments.get("--ca-key")
    if not ca_key:
        raise Refused("--ca-key is required")
    certs.mkdir(parents=True, exist_ok=True)
    overwrite = arguments.on("--overwrite")
    if command == "create-ca":
        _create_ca(certs, Path(ca_key), overwrite, reuse=arguments.on("--allow-ca-key-reuse"))
    elif command == "create-node":
        if not arguments.positional:
            raise Refused("create-node needs at least one hostname or address")
        _create(certs, Path(ca_key), "node", "node", arguments.positional, overwrite)
    else:
        if len(arguments.positional) != 1:
            raise Refused("create-client needs one user")
        [user] = arguments.positional
        _create(certs, Path(ca_key), f"client.{user}", user, (), overwrite)
    return 0


def _create_ca(certs: Path, key: Path, overwrite: bool, *, reuse: bool) -> None:
    if key.exists() and not reuse:
        raise Refused(f"CA key {key} exists, but key reuse is disabled by --allow-ca-key-reuse")
    certificate = certs / "ca.crt"
    _check_free(certificate, overwrite)
    if not key.exists():
        _openssl("genrsa", "-out", str(key), "2048")
        key.chmod(0o600)
    _openssl(
        *("req", "-new", "-x509", "-key", str(key), "-out", str(certificate), "-days", DAYS),
        *("-subj", "/O=Cockroach/CN=Cockroach CA"),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
        *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
    )


def _create(
    certs: Path, ca_key: Path, name: str, subject: str, hosts: tuple[str, ...], overwrite: bool
) -> None:
    if not ca_key.exists() or not (certs / "ca.crt").exists():
        raise Refused(f"no CA at {ca_key} and {certs}/ca.crt: run `cockroach cert create-ca`")
    key, certificate = certs / f"{name}.key", certs / f"{name}.crt"
    for path in (key, certificate):
        _check_free(path, overwrite)
    names = [f"{'IP' if re.fullmatch('[0-9.]+|.*:.*', host) else 'DNS'}:{host}" for host in hosts]
    extensions = ["extendedKeyUsage=serverAuth,clientAuth"]
    extensions += [f"subjectAltName={','.join(names)}"] if names else []
    with tempfile.TemporaryDirectory() as folder:
        request, file = Path(folder) / "csr", Path(folder) / "extensions"
        file.write_text("\n".join(extensions))
        _openssl("genrsa", "-out", str(key), "2048")
        key.chmod(0o600)
        subject_line = f"/O=Cockroach/CN={subject}"
        _openssl("req", "-new", "-key", str(key), "-out", str(request), "-subj", subject_line)
        _openssl(
            *("x509", "-req", "-in", str(request), "-out", str(certificate), "-days", DAYS),
            *("-CA", str(certs / "ca.crt"), "-CAkey", str(ca_key)),
            *("-set_serial", str(int.from_bytes(os.urandom(8)) >> 1), "-extfile", str(file)),
        )


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise Refused(f"open {path}: file exists; use --overwrite to replace it")


def _openssl(*arguments: str) -> None:
    # in an image it stands beside the Python, away from PATH
    beside = Path(sys.executable).with_name("openssl")
    program = str(beside) if beside.is_file() else shutil.which("openssl")
    if program is None:
        raise Refused("the stand-in makes certificates with openssl, which is not on PATH")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"openssl {arguments[0]}: {done.stderr.strip()}")
