"""The certificate by which the parts of one lab know each other.

A lab has one key and one certificate that vouches for itself. etcd, its peers and its clients show
it, and trust no other: whoever can read the key belongs to the lab. An authority that signs
certificates for each part would add a second secret and tell apart nobody who needs to be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import BaseModel, ConfigDict

from labkit.cluster.ports import HOST

VALID = timedelta(days=3650)
"""Longer than a lab is kept."""
CLOCK_ERROR = timedelta(days=1)
"""How far a clock may be set back without making the certificate one of the future."""


class Certificate(BaseModel):
    """A certificate and its private key, both as PEM."""

    model_config = ConfigDict(frozen=True)

    certificate: str
    key: str

    @classmethod
    def make(cls) -> Certificate:
        """Make a new key, and a certificate for it that is valid on this machine only."""
        key = ec.generate_private_key(ec.SECP256R1())  # the cheapest that every TLS library has
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "labkit")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_ERROR)
            .not_valid_after(now + VALID)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            # a server's, too, because etcd's JSON gateway is a client of its own etcd
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate=certificate.public_bytes(Encoding.PEM).decode(),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        )
