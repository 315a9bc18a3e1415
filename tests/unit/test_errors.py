"""The error tree is what its module's docstring draws."""

from __future__ import annotations

import inspect
import re

from labkit import errors
from labkit.errors import LabError


def drawn() -> dict[str, str]:
    """Each class in the drawing and its parent, by depth."""
    tree: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+)\b", line)
        if not found or not line.startswith(("LabError", "│", "├", "└", " ")):
            continue
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        tree[found[2]] = above[depth - 1] if depth else "Exception"
    return tree


def defined() -> dict[str, str]:
    classes = inspect.getmembers(errors, inspect.isclass)
    return {
        name: cls.__base__.__name__
        for name, cls in classes
        if cls.__module__ == errors.__name__ and cls.__base__
    }


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == defined()


def test_everything_raised_on_purpose_is_a_lab_error() -> None:
    assert all(issubclass(getattr(errors, name), LabError) for name in defined())
