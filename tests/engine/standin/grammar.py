"""The documented grammar, where it is at hand: a statement it does not have is refused.

The checker and the grammar are not part of this project; LABKIT_CRDB_GRAMMAR names their folder.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType

from .errors import SqlError

VARIABLE = "LABKIT_CRDB_GRAMMAR"


@cache
def checker() -> ModuleType | None:
    """The checker, None when there is none."""
    folder = os.environ.get(VARIABLE, "")
    path = Path(folder) / "check.py"
    if not folder or not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("standin_grammar_checker", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def check(text: str) -> None:
    """Refuse what is not in the grammar.

    Raises:
        SqlError: 42601.
    """
    found = checker()
    if found is None:
        return
    try:
        for statement in found.statements(text):
            found.grammar().check(statement)
    except found.SqlError as error:
        raise SqlError("42601", f'at or near "{error.near}": syntax error') from error
