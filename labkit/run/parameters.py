"""Parameters of a notebook: what it declares, values for them out of text, and what they may be.

A notebook declares its parameters in one cell tagged `parameters`, a `name = default` a line. That
cell is Python, and it is read as Python: a default is what the line says, and a value that is typed
has the default's type. Nothing is evaluated: names, calls and attributes stay text.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from labkit.cluster import BACKENDS
from labkit.errors import BadInput, UnknownParameter
from labkit.notebooks import notebooks
from labkit.topology import SurvivalGoal
from labkit.trading.catalogue import GENERATED_SYMBOLS, LISTED_SYMBOLS
from labkit.workload.base import MOST_A_SECOND

TAG = "parameters"
INJECTED_TAG = "injected-parameters"
"""As papermill names them."""

SHORT: dict[str, float | str] = {
    "hold_s": 10,
    "steady_s": 3,
    "samples": 3,
    "trials": 1,
    "every_s": 4,
    "beside_victims": "primary",
}
"""Parameters, and what they are in a short run. Ten seconds outlast a failover (the embedded
engine's takes about seven)."""

_WORDS_OF_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_UNREADABLE = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
"""What `ast.literal_eval` raises for a text that is no literal."""


class _Anything:
    """Stands for a default that says no type: None, a name, a call."""


ANYTHING = _Anything()


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter as a notebook declares it.

    Attributes:
        source: the default as the notebook writes it.
        default: its value; `ANYTHING` where it says no type.
    """

    source: str
    default: object


def declared_parameters(notebook: Path) -> dict[str, Declared]:
    """Read the parameters of a notebook, by name; a later line replaces an earlier one.

    Raises:
        BadInput: the file is no notebook, or its cell is no Python.
    """
    found: dict[str, Declared] = {}
    for cell in read_notebook(notebook).cells:
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", ()):
            found |= _declared(notebook, cell.source)
    return found


def read_notebook(path: Path) -> Any:
    """Read a notebook, in the format of today.

    Raises:
        BadInput: the file cannot be read, or is no notebook.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.writes(notebook).encode()  # type: ignore[no-untyped-call]  # half a surrogate pair
    except OSError as error:
        raise BadInput(f"the notebook {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # nbformat has errors of its own for each way to be none
        raise BadInput(f"{path} is no notebook: {str(error).splitlines()[0][:200]}") from error
    return notebook


def _declared(notebook: Path, source: str) -> dict[str, Declared]:
    # lines for IPython (%matplotlib, !ls) are no Python and declare nothing
    python = re.sub(r"(?m)^\s*[%!].*$", "", source)
    try:
        lines = ast.parse(python).body
    except _UNREADABLE as error:
        raise BadInput(f"{notebook}: its cell tagged `{TAG}` is no Python: {error}") from error
    found = {}
    for line in lines:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        written = ast.get_source_segment(python, value) or ""
        found[name] = Declared(written, _default(value))
    return found


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _default(node: ast.expr) -> object:
    """Evaluate a literal, or arithmetic of numbers such as `60 * 2`; else give `ANYTHING`."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _default(node.left), _default(node.right)
        if _is_number(left) and _is_number(right):
            try:
                return _ARITHMETIC[type(node.op)](left, right)
            except ArithmeticError:
                return ANYTHING
    try:
        value = ast.literal_eval(node)
    except _UNREADABLE:
        return ANYTHING
    return ANYTHING if value is None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_parameters(notebook: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Turn texts into values for a notebook's parameters, each of the type of its default.

    A text is taken as it stands where the default is one. Where the default says no type (None, a
    call), what is written as a Python value is one, and everything else is text.

    Raises:
        UnknownParameter: the notebook has none of that name; lists those it has.
        BadInput: a value is not of the default's type.
    """
    known = declared_parameters(notebook)
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            has = ", ".join(f"{key}={one.source}" for key, one in known.items()) or "none"
            raise UnknownParameter(f"{notebook.stem} has no parameter {name!r}: it has {has}")
        values[name] = _value(name, text, known[name])
    return values


def require_taken(notebook: Path, values: Mapping[str, Any]) -> None:
    """Refuse values that one of labkit's own notebooks does not take, before anything is started.

    Raises:
        BadInput: a value is not what `TAKES` says; says what it may be.
    """
    if notebook.stem not in notebooks():
        return
    for name, value in values.items():
        takes = TAKES.get(name)
        if takes and not takes.holds(value):
            raise BadInput(f"parameter {name} is {takes.words}, not {value!r}")


def _value(name: str, text: str, declared: Declared) -> object:
    default = declared.default
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text.strip().lower() not in _WORDS_OF_TRUTH:
            raise BadInput(f"parameter {name} is true or false, not {text!r}")
        return _WORDS_OF_TRUTH[text.strip().lower()]
    try:
        value = ast.literal_eval(text.strip())
    except _UNREADABLE:
        value = ANYTHING
    if default is ANYTHING:
        return text if value is ANYTHING else value
    if _is_number(default):
        if not _is_number(value) or not _is_finite(value):
            raise BadInput(f"parameter {name} is a number such as {declared.source}, not {text!r}")
    elif not isinstance(value, type(default)):
        kind = type(default).__name__
        raise BadInput(f"parameter {name} is a {kind} such as {declared.source}, not {text!r}")
    return value


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # an integer that no float can hold
        return False


def short_parameters(notebook: Path) -> dict[str, Any]:
    """Choose parameters that make a notebook short: numbers no larger than in `SHORT`."""
    found: dict[str, Any] = {}
    for name, declared in declared_parameters(notebook).items():
        short, default = SHORT.get(name), declared.default
        if isinstance(short, str):
            if isinstance(default, str) and default != short:
                found[name] = short
        elif short is not None and _is_number(default) and default > short:  # type: ignore[operator]
            found[name] = short
    return found


def with_parameters(notebook: Path, values: Mapping[str, Any]) -> Any:
    """Read a notebook and put values in, in a cell of their own after that of the defaults.

    The cell is tagged as papermill tags it; one that an earlier run left is replaced.
    """
    import nbformat

    book = read_notebook(notebook)
    book.cells = [cell for cell in book.cells if INJECTED_TAG not in cell.metadata.get("tags", ())]
    if values:
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())]
        cell = nbformat.v4.new_code_cell(  # type: ignore[no-untyped-call]
            "\n".join(lines), metadata={"tags": [INJECTED_TAG]}
        )
        if book.nbformat_minor < 5:  # cells have an id since format 4.5
            cell.pop("id", None)
        tagged = [TAG in cell.metadata.get("tags", ()) for cell in book.cells]
        last = max((place for place, here in enumerate(tagged) if here), default=-1)
        book.cells.insert(last + 1, cell)
    return book


# what the parameters of labkit's own notebooks may be


@dataclass(frozen=True, slots=True)
class Takes:
    """The values that a parameter may have: in words, and as a rule."""

    words: str
    holds: Callable[[Any], bool]


def _number(low: float, high: float, *, whole: bool = False, above: bool = False) -> Takes:
    """Accept a number from `low` (or above it) to `high`."""
    kind = "a whole number" if whole else "a number"
    least = f"above {low:,g} and up" if above else f"from {low:,g}"
    return Takes(
        f"{kind} {least} to {high:,g}",
        lambda value: (
            (low < value if above else low <= value)
            and value <= high
            and (not whole or value == int(value))
        ),
    )


def _words(*among: str, least: int = 1) -> Takes:
    """Words with spaces between them."""
    many = "one or more" if least else "none or some"
    return Takes(
        f"{many} of {', '.join(among)}, with spaces between them",
        lambda text: len(text.split()) >= least and set(text.split()) <= set(among),
    )


def _one(*among: str, words: str = "") -> Takes:
    return Takes(words or f"one of {', '.join(among)}", lambda text: text in among)


def _rates(text: str) -> bool:
    try:
        levels = [float(word) for word in text.split()]
    except ValueError:
        return False
    return bool(levels) and all(0 < level <= MOST_A_SECOND for level in levels)


_HOUR = 3600.0
_LIMIT = _number(0, 1e6)
_SECONDS = _number(0, _HOUR)
_SOME_SECONDS = _number(0, _HOUR, above=True)
_COUNT = _number(1, 10_000, whole=True)

TAKES: Mapping[str, Takes] = {
    "backend": _one("", *BACKENDS, words=f"empty, or one of {', '.join(BACKENDS)}"),
    "rate_per_s": _number(0, MOST_A_SECOND, above=True),
    "hold_s": _SECONDS,
    "steady_s": _number(1, _HOUR),
    "beside_hold_s": _SECONDS,
    "alone_s": _SECONDS,
    "every_s": _SOME_SECONDS,
    "trade_s": _SOME_SECONDS,
    "read_s": _SOME_SECONDS,
    "max_rto_s": _LIMIT,
    "max_gap_s": _LIMIT,
    "delay_ms": _number(0, 60_000),
    "jitter_ms": _number(0, 60_000),
    "share": Takes("a number above 0 and below 1", lambda share: 0 < share < 1),
    "seed": _number(-(2**63), 2**63, whole=True),
    "trials": _number(1, 1000, whole=True),
    "samples": _COUNT,
    "orders": _COUNT,
    "clients": _number(1, 100, whole=True),
    "connections": _number(1, 100, whole=True),
    "symbol": _one(
        *LISTED_SYMBOLS,
        *GENERATED_SYMBOLS,
        words=f"one of {', '.join(LISTED_SYMBOLS)}, {GENERATED_SYMBOLS[0]} to "
        f"{GENERATED_SYMBOLS[-1]}",
    ),
    "levels": Takes(f"numbers above 0 and up to {MOST_A_SECOND:,g}, with spaces", _rates),
    "hot_levels": Takes(f"numbers above 0 and up to {MOST_A_SECOND:,g}, with spaces", _rates),
    "goals": _words(*SurvivalGoal),
    "beside": _words("kill", "stop", "pause", least=0),
    "beside_victims": _words("replica", "primary"),
    "victim": Takes("text", lambda text: bool(text.strip())),
    "regions": Takes("text", lambda text: bool(text.strip())),
}
"""By the name of the parameter, the same in every notebook. Whether a region or a node is there is
known when the lab is; `resolve` refuses it."""
