"""Where the files beside the package are: at the top of a checkout, under share/ in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset(*parts: str) -> Path:
    """The path of a file or folder that ships with labkit, such as `asset("sql", "postgresql")`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for base in (_PACKAGE.parent, _PACKAGE / "share"):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"labkit ships {'/'.join(parts)}, but this installation lacks it")
