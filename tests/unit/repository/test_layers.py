"""The picture of the layers shows the import contract."""

from __future__ import annotations

import re

from tools.layers import PICTURE, layers, picture

ARCHITECTURE = PICTURE.with_name("architecture.md")


def test_the_picture_in_the_repository_is_drawn_from_the_contract() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run `python -m tools.layers`"


def test_each_module_of_the_contract_has_a_row_in_the_architecture_and_no_other_has() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert described == {name for row in layers() for name in row}
