"""What users read says it in the field's words: a fault takes effect, clients notice it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OWN_WORDS = re.compile(r"\b(bites?|bitten|did not bite|felt|feels?)\b", re.IGNORECASE)

RIDDLES = re.compile(r"(What|How|Whom?|Whose|Whether|Where|When|Why|Which|It|Its|Whatever|Asks?)\b")
"""Words that a module's or class's docstring does not begin with: a noun says what it is."""

DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PAGES = [*ROOT.glob("labkit/ui/*.js"), *ROOT.glob("labkit/report/templates/*.j2")]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
MODULES = sorted(ROOT.glob("labkit/**/*.py"))


def messages(module: Path) -> Iterator[str]:
    """Each text of several words, but those that document the code; of a command they are help."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    documents: set[int] = set()
    if module.parent.name != "cli":
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts = (node.value for node in constants if id(node) not in documents)
    return (text for text in texts if isinstance(text, str) and " " in text)


@pytest.mark.parametrize("path", [*DOCS, *PAGES], ids=lambda path: path.name)
def test_a_page_has_no_word_for_an_effect_that_only_this_project_uses(path: Path) -> None:
    assert OWN_WORDS.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_word_for_an_effect_that_only_this_project_uses(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert OWN_WORDS.findall("\n".join(texts)) == []


def test_a_message_has_no_word_for_an_effect_that_only_this_project_uses() -> None:
    found = {path.name: [t for t in messages(path) if OWN_WORDS.search(t)] for path in MODULES}
    assert {name: texts for name, texts in found.items() if texts} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_of_modules_and_classes_begin_with_what_the_thing_is(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    named = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef))]
    documented = [text for node in named if (text := ast.get_docstring(node))]
    assert [text.splitlines()[0] for text in documented if RIDDLES.match(text)] == []
