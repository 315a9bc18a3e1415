"""Every result.json that a test leaves behind, held against the schema in the docs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from labkit.verdict.seal import RESULT_FILE

SCHEMA = Path(__file__).parents[1] / "docs" / "result.schema.json"


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def problems(folder: Path) -> list[str]:
    """What is wrong with the results under a folder, a line each."""
    return [
        f"{path.relative_to(folder)}: {error.json_path}: {error.message}"
        for path in sorted(folder.rglob(RESULT_FILE))
        for error in validator().iter_errors(json.loads(path.read_text()))
    ]
