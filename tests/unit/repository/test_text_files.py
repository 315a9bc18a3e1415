"""What labkit reads and writes is UTF-8, whatever the user's locale is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = [
    *ROOT.glob("labkit/**/*.py"),
    *ROOT.glob("workloads/*.py"),
    *ROOT.glob("tools/*.py"),
    ROOT / "hatch_build.py",
]


def by_the_locale(call: ast.Call) -> bool:
    """Whether a call opens a text, or a program's output as text, and names no encoding."""
    given = {word.arg: word.value for word in call.keywords}
    called = ast.unparse(call.func)
    if "encoding" in given or called in ("os.open", "tarfile.open", "files.write_text"):
        return False
    name = called.rpartition(".")[2]
    if name in ("open", "fdopen"):
        values = [*call.args, *given.values()]
        modes = [str(value.value) for value in values if isinstance(value, ast.Constant)]
        return not any("b" in mode for mode in modes if set(mode) <= set("rwxabt+"))
    places = {"read_text": 1, "write_text": 2}  # of positional arguments, the encoding included
    if name in places:
        return len(call.args) < places[name]
    return "text" in given and name in ("run", "Popen", "check_output")


def calls(module: Path) -> Iterator[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and by_the_locale(node):
            yield f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}"


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    assert [call for module in MODULES for call in calls(module)] == []
