"""The plan of a WAN process: links, listeners, ways to tell diallers. Frozen and validated.

A plan holds the control API's token, so its file is written readable by its owner only.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from enum import StrEnum
from itertools import permutations
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

from labkit.errors import BadInput

T = TypeVar("T")

Pair = tuple[str, str]
"""A link's name: (source region, target region)."""

MAX_MS = 60_000.0
"""The longest delay or jitter: a minute is beyond any network one would call a link."""

MIN_TOKEN_CHARACTERS = 16


class Kind(StrEnum):
    """The way in which a listener learns which region dials it."""

    FIXED = "fixed"
    """One region only dials this port: the listener's `source`."""
    POSTGRES = "postgres"
    """By `application_name` in the startup packet, looked up in the plan's `names`."""
    HTTP = "http"
    """By the `X-Region` header of the first request."""
    ETCD_PEER = "etcd-peer"
    """By the process whose socket it is: an etcd names its region on its command line."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The effects of one direction between two regions on bytes.

    Attributes:
        delay_ms: one way, 0 to 60,000.
        jitter_ms: up to this much is added to each delay, uniformly; order is kept.
        cut: nothing passes; what is sent is held.

    Raises:
        BadInput: a value out of range; names it.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    cut: bool = False

    def __post_init__(self) -> None:
        _check_number("delay_ms", self.delay_ms, MAX_MS)
        _check_number("jitter_ms", self.jitter_ms, MAX_MS)
        if not isinstance(self.cut, bool):
            raise BadInput(f"cut must be true or false, not {self.cut!r}")

    def __str__(self) -> str:
        text = f"{self.delay_ms:g} ms, jitter {self.jitter_ms:g} ms"
        return f"cut ({text})" if self.cut else text


class LinkUpdate(TypedDict):
    """A change of a link; what is absent stays. See `LinkSettings` for the units."""

    source: str
    target: str
    delay_ms: NotRequired[float]
    jitter_ms: NotRequired[float]
    cut: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class Listener:
    """A port in front of one service.

    Attributes:
        port: where the WAN process listens.
        region: where the service stands.
        kind: how the dialler's region is known.
        to_host, to_port: the service itself.
        source: the dialler's region; for `Kind.FIXED` only.
        name: what people call it, such as "us-west-2/1 postgres"; used in messages.

    Raises:
        BadInput: a value that cannot be; names it.
    """

    port: int
    region: str
    kind: Kind
    to_host: str
    to_port: int
    source: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        _check_port("port", self.port)
        _check_port("to_port", self.to_port)
        _check_text("region", self.region)
        _check_text("to_host", self.to_host)
        try:
            object.__setattr__(self, "kind", Kind(self.kind))
        except ValueError:
            raise BadInput(f"kind {self.kind!r} is none of {', '.join(Kind)}") from None
        if self.kind is Kind.FIXED:
            _check_text("source", self.source)
        elif self.source is not None:
            raise BadInput(f"source is for kind 'fixed' only, this listener is {self.kind.value!r}")
        if not isinstance(self.name, str):
            raise BadInput(f"name must be text, not {self.name!r}")
        if not self.name:
            object.__setattr__(self, "name", f"{self.region} {self.kind} {self.port}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one WAN process.

    Attributes:
        control_port: the control API's port.
        token: who knows it may use the control API.
        links: one entry a direction; every ordered pair of regions has one.
        listeners: one a (service, way to know the dialler).
        names: PostgreSQL application name -> region.
        host: the address all ports listen on.

    Raises:
        BadInput: a plan that cannot be run; names the key.
    """

    control_port: int
    token: str = field(repr=False)
    links: Mapping[Pair, LinkSettings]
    listeners: tuple[Listener, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        _check_port("control_port", self.control_port)
        _check_text("host", self.host)
        if not isinstance(self.token, str) or len(self.token) < MIN_TOKEN_CHARACTERS:
            raise BadInput(f"token must be text of at least {MIN_TOKEN_CHARACTERS} characters")
        self._check_ports()
        self._check_links()
        for name, region in self.names.items():
            self._check_region(f"names[{name!r}]", region)

    def _check_ports(self) -> None:
        users = {self.control_port: "control_port"}
        for listener in self.listeners:
            if listener.port in users:
                raise BadInput(
                    f"listeners: port {listener.port} of {listener.name!r} "
                    f"is also that of {users[listener.port]!r}"
                )
            users[listener.port] = listener.name

    def _check_links(self) -> None:
        for source, target in self.links:
            if source == target:
                raise BadInput(f"links: {source!r} to itself; within a region there is no delay")
        for pair in permutations(self.regions, 2):
            if pair not in self.links:
                raise BadInput(f"links: none from {pair[0]!r} to {pair[1]!r}")

    def _check_region(self, where: str, region: object) -> None:
        if region not in self.regions:
            raise BadInput(f"{where}: no region {region!r}: there are {', '.join(self.regions)}")

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region a link or a listener names, sorted."""
        linked = {region for pair in self.links for region in pair}
        served = {listener.region for listener in self.listeners}
        dialling = {listener.source for listener in self.listeners if listener.source is not None}
        return tuple(sorted(linked | served | dialling))

    def to_json(self) -> dict[str, object]:
        """Plain data, the token included."""
        return {
            "host": self.host,
            "control_port": self.control_port,
            "token": self.token,
            "links": [
                {"source": source, "target": target, **asdict(settings)}
                for (source, target), settings in self.links.items()
            ],
            "listeners": [asdict(listener) for listener in self.listeners],
            "names": dict(self.names),
        }

    @classmethod
    def from_json(cls, data: object) -> Plan:
        """Rebuild a plan from what `to_json` gave.

        Raises:
            BadInput: a key is missing, unknown or refused; names it.
        """
        values = dict(_mapping("plan", data))
        if "links" in values:
            values["links"] = _links_from_json(values["links"])
        if "listeners" in values:
            values["listeners"] = _listeners_from_json(values["listeners"])
        if "names" in values:
            values["names"] = _mapping("names", values["names"])
        return _build(cls, values, "plan")

    def save(self, path: Path) -> None:
        """Write the plan to a file only its owner can read (it holds the token)."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=1)

    @classmethod
    def load(cls, path: Path, token: str | None = None) -> Plan:
        """Read a plan from a file.

        Args:
            token: to be used instead of the file's, which then need not have one.

        Raises:
            BadInput: the file cannot be read, or a key in it is refused; names it.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: {error}") from error
        if token is not None and isinstance(data, dict):
            data = {**data, "token": token}
        try:
            return cls.from_json(data)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error


def serving(plan: Plan, body: object) -> Plan:
    """Return a copy of a plan with the listeners and names of a JSON document.

    It is `{"listeners": [...], "names": {...}}`; without `names` there are none.

    Raises:
        BadInput: a key is unknown, a value is refused or two listeners have one port; names it.
    """
    data = _mapping("listening", body)
    if not {"listeners"} <= set(data) <= {"listeners", "names"}:
        raise BadInput('listening: expected {"listeners": [...], "names": {...}?} and nothing else')
    return replace(
        plan,
        listeners=_listeners_from_json(data["listeners"]),
        names=_mapping("names", data.get("names", {})),
    )


def updated(current: Mapping[Pair, LinkSettings], body: object) -> dict[Pair, LinkSettings]:
    """Compute the settings that `{"links": [LinkUpdate, ...]}` asks for, of the links it names.

    Raises:
        BadInput: a key is unknown or a value is refused; names it.
    """
    data = _mapping("change", body)
    if set(data) != {"links"}:
        raise BadInput('change: expected {"links": [...]} and nothing else')
    result: dict[Pair, LinkSettings] = {}
    for i, item in enumerate(_list("links", data["links"])):
        where = f"links[{i}]"
        values = dict(_mapping(where, item))
        pair = _take_pair(values, where)
        if pair not in current:
            regions = sorted({region for known in current for region in known})
            raise BadInput(
                f"{where}: no link {pair[0]} > {pair[1]}: the regions are {', '.join(regions)}"
            )
        _check_keys(LinkSettings, values, where)
        try:
            result[pair] = replace(result.get(pair, current[pair]), **values)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
    return result


def _listeners_from_json(data: object) -> tuple[Listener, ...]:
    return tuple(
        _build(Listener, item, f"listeners[{i}]") for i, item in enumerate(_list("listeners", data))
    )


def _links_from_json(data: object) -> dict[Pair, LinkSettings]:
    links: dict[Pair, LinkSettings] = {}
    for i, item in enumerate(_list("links", data)):
        where = f"links[{i}]"
        values = dict(_mapping(where, item))
        pair = _take_pair(values, where)
        if pair in links:
            raise BadInput(f"{where}: {pair[0]} > {pair[1]} a second time")
        links[pair] = _build(LinkSettings, values, where)
    return links


def _take_pair(values: dict[str, Any], where: str) -> Pair:
    source, target = values.pop("source", None), values.pop("target", None)
    if not isinstance(source, str) or not isinstance(target, str):
        raise BadInput(f"{where}: source and target must be names of regions")
    return source, target


def _build(cls: type[T], data: object, where: str) -> T:
    """Make a dataclass from plain data; its own checks say what is wrong with a value."""
    values = _mapping(where, data)
    _check_keys(cls, values, where)
    for item in _fields(cls):
        needed = item.default is MISSING and item.default_factory is MISSING
        if needed and item.name not in values:
            raise BadInput(f"{where}: {item.name} is missing")
    try:
        return cls(**values)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def _fields(cls: Any) -> tuple[Field[Any], ...]:
    return fields(cls)


def _check_keys(cls: type[object], values: Mapping[str, object], where: str) -> None:
    known = [item.name for item in _fields(cls)]
    for key in values:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}: there are {', '.join(known)}")


def _mapping(where: str, data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise BadInput(f"{where}: expected an object, got {type(data).__name__}")
    return data


def _list(where: str, data: object) -> list[object]:
    if not isinstance(data, list):
        raise BadInput(f"{where}: expected a list, got {type(data).__name__}")
    return data


def _check_number(key: str, value: object, maximum: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadInput(f"{key} must be a number, not {value!r}")
    if not 0 <= value <= maximum or math.isinf(value):
        limit = "finite" if math.isinf(maximum) else f"at most {maximum:g}"
        raise BadInput(f"{key} must be at least 0 and {limit}, not {value!r}")


def _check_port(key: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise BadInput(f"{key} must be a port from 1 to 65535, not {value!r}")


def _check_text(key: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise BadInput(f"{key} must be a text that is not empty, not {value!r}")
