"""What must be in no log and on no command line."""

from __future__ import annotations

from labkit.cluster.settings import LabSecrets


def secret_texts(secrets: LabSecrets) -> set[str]:
    """Each secret of a lab as it would show: passwords, and the lines of a private key."""
    found = set()
    for value in secrets.model_dump().values():
        texts = [value] if isinstance(value, str) else value["key"].splitlines()[1:-1]
        found.update(texts)
    return found
