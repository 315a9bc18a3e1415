"""Draw docs/layers.svg from the import contract in pyproject.toml: `python -m tools.layers`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "layers.svg"
CONTRACT = "data flows one way"

WIDTH, ROW, GAP, MARGIN = 720, 30, 6, 10
STYLE = (
    "rect{fill:#eef3fa;stroke:#7a93b5}"
    "text{font:14px ui-monospace,monospace;fill:#16283f;text-anchor:middle}"
    ".note{font:13px sans-serif;fill:#5d6b7d}"
)


def layers() -> list[list[str]]:
    """Return the modules of each layer, the highest layer first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (found,) = (one["layers"] for one in contracts if one["name"] == CONTRACT)
    return [[name.removeprefix("labkit.") for name in row.split(" | ")] for row in found]


def picture() -> str:
    """Draw one row per layer: a module imports only what stands in rows below its own."""
    rows = layers()
    height = 2 * MARGIN + len(rows) * (ROW + GAP) + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            ' aria-label="The layers of labkit">',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>',
            *_boxes(rows),
            f'<text class="note" x="{WIDTH / 2:g}" y="{height - MARGIN}">'
            "a module imports only from rows below its own</text>",
            "</svg>\n",
        ]
    )


def _boxes(rows: list[list[str]]) -> Iterator[str]:
    for place, names in enumerate(rows):
        y = MARGIN + place * (ROW + GAP)
        width = (WIDTH - 2 * MARGIN - GAP * (len(names) - 1)) / len(names)
        for column, name in enumerate(names):
            x = MARGIN + column * (width + GAP)
            yield (
                f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{ROW}" rx="4"/>'
                f'<text x="{x + width / 2:g}" y="{y + 20}">{escape(name)}</text>'
            )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
