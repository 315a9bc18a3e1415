"""What the wheel carries beside the package (labkit/assets.py finds it there).

Notebooks go in as they were written: a tree in which somebody worked has outputs in them, and
checkpoints and drafts beside them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHARE = "labkit/share"


class WheelHook(BuildHookInterface):
    """Hatchling's hook: it is asked before each build what else belongs into it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add notebooks, SQL and workload classes; an editable install finds them in the tree."""
        if version == "editable":
            return
        root = Path(self.root)
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-wheel-")
        for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
            clean = Path(self._folder.name, path.name)
            clean.write_text(without_outputs(path.read_text("utf-8")), "utf-8")
            build_data["force_include"][str(clean)] = f"{SHARE}/notebooks/{path.name}"
        for pattern in ("sql/**/*.sql", "workloads/*.py"):
            for path in sorted(root.glob(pattern)):
                build_data["force_include"][str(path)] = f"{SHARE}/{path.relative_to(root)}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the clean copies."""
        if version != "editable":
            self._folder.cleanup()


def without_outputs(notebook: str) -> str:
    """Take out what running a notebook leaves in it; one that was not run stays as it is.

    An output that is written down on purpose has nbstripout's tag `keep_output`.
    """
    content = json.loads(notebook)
    run = content["metadata"].pop("widgets", None) is not None
    for cell in content["cells"]:
        if cell["cell_type"] == "code" and "keep_output" not in cell["metadata"].get("tags", ()):
            run |= bool(cell["outputs"]) or cell["execution_count"] is not None
            cell.update(outputs=[], execution_count=None)
        run |= cell["metadata"].pop("execution", None) is not None
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n" if run else notebook
