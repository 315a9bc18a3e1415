"""Regions, nodes and the distances between them: frozen data, checked when it is made.

The default is the shape of the trading demo this lab is built around: three AWS regions with
three nodes each. Its round-trip times are those of `cockroach demo --global`
(us-east1/us-west1 66 ms, us-east1/europe-west1 64 ms, us-west1/europe-west1 146 ms).
"""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from labkit.errors import TopologyError, UnknownTarget

RESERVED = ("all", "lb", "leader-region", "primary", "wan")
"""What commands understand as something else than a region."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(
            f"{name!r} is no name for a region: commands understand it as something else "
            f"(so they do {', '.join(word for word in RESERVED if word != name)})"
        )
    return name


RegionName = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"),
    AfterValidator(_not_reserved),
]


class SurvivalGoal(StrEnum):
    """The replica that a commit waits for, and so the largest failure that the commit survives."""

    NONE = "none"
    """Nothing but the node that took it: fast, and a node loss may lose acknowledged orders."""
    ZONE = "zone"
    """A second node in the region: survives the loss of a node."""
    REGION = "region"
    """A second region: survives the loss of a region, and pays a round trip to it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(_Frozen):
    """One database node."""

    region: RegionName
    index: int = Field(ge=1, strict=True)

    @property
    def name(self) -> str:
        """`us-west-2/1`: how people and commands name it."""
        return f"{self.region}/{self.index}"

    @property
    def zone(self) -> str:
        """The availability zone, `us-west-2a` for node 1."""
        return f"{self.region}{chr(ord('a') + self.index - 1)}"

    def __str__(self) -> str:
        return self.name


class Balancer(_Frozen):
    """The load balancer of a region."""

    region: RegionName

    @property
    def name(self) -> str:
        """`lb:us-west-2`: how people and commands name it."""
        return f"lb:{self.region}"

    def __str__(self) -> str:
        return self.name


MAX_NODES = 9
"""Of a region: its nodes are numbered from 1 to 9."""


class Region(_Frozen):
    """A region and how many nodes it has.

    Attributes:
        gaps: indexes below the last one that no node has, because it was removed.
    """

    name: RegionName
    nodes: int = Field(default=3, ge=1, le=MAX_NODES, strict=True)
    gaps: tuple[Annotated[int, Field(strict=True)], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = self.nodes + len(self.gaps)
        if last > MAX_NODES or len(set(self.gaps)) < len(self.gaps):
            raise ValueError(f"gaps: {self.gaps} leave no {self.nodes} indexes up to {MAX_NODES}")
        if any(not 1 <= gap < last for gap in self.gaps):
            raise ValueError(f"gaps: {self.gaps} are not all below the last index {last}")
        return self

    @property
    def indexes(self) -> tuple[int, ...]:
        """The numbers of its nodes, ascending: 1, 2, 3 as long as none was removed."""
        last = self.nodes + len(self.gaps)
        return tuple(i for i in range(1, last + 1) if i not in self.gaps)

    def __str__(self) -> str:
        return self.name


class Link(_Frozen):
    """The distance between two regions."""

    between: tuple[RegionName, RegionName]
    rtt_ms: float = Field(ge=0, le=2000, strict=True)


Target = Node | Region | Balancer
"""What a fault can be aimed at. A region means all of it: nodes, coordinator and balancer."""


class Topology(_Frozen):
    """The shape of a cluster."""

    regions: tuple[Region, ...] = Field(alias="region", min_length=1, max_length=9)
    links: tuple[Link, ...] = Field(alias="link", default=())
    survive: SurvivalGoal = SurvivalGoal.REGION

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [region.name for region in self.regions]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ValueError(f"region[{i}].name: {name!r} is also region[{names.index(name)}]")
        seen: dict[frozenset[str], int] = {}
        for i, link in enumerate(self.links):
            for name in link.between:
                if name not in names:
                    raise ValueError(f"link[{i}].between: no region {name!r}")
            pair = frozenset(link.between)
            if len(pair) == 1:
                raise ValueError(f"link[{i}].between: {link.between[0]!r} twice")
            if pair in seen:
                first = self.links[seen[pair]]
                raise ValueError(
                    f"link[{i}].between: the same pair as link[{seen[pair]}] "
                    f"(rtt_ms {first.rtt_ms:g} there, {link.rtt_ms:g} here)"
                )
            seen[pair] = i
        for a, b in combinations(names, 2):
            if frozenset((a, b)) not in seen:
                raise ValueError(f"link: no rtt_ms between {a!r} and {b!r}")
        self.check_survives(self.survive)
        return self

    def check_survives(self, goal: SurvivalGoal) -> None:
        """Refuse a survival goal this shape cannot give.

        Raises:
            TopologyError: REGION with fewer than three regions (two cannot form a majority
                without each other), ZONE with a region of one node.
        """
        if goal is SurvivalGoal.REGION and len(self.regions) < 3:
            raise TopologyError(
                f"survive: 'region' needs at least 3 regions, this topology has {len(self.regions)}"
            )
        if goal is SurvivalGoal.ZONE:
            for i, region in enumerate(self.regions):
                if region.nodes < 2:
                    raise TopologyError(
                        f"survive: 'zone' needs at least 2 nodes a region, "
                        f"region[{i}] {region.name!r} has {region.nodes}"
                    )

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read a topology from a TOML file (docs/topology.md shows one).

        Raises:
            TopologyError: the file cannot be read or a key in it is refused; names the key.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a mark
        except OSError as error:
            raise TopologyError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise TopologyError(f"{path}: no text in UTF-8 ({error})") from error
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise TopologyError(f"{path}: {_where(str(error), text)}") from error
        try:
            return cls.model_validate(data)
        except TopologyError as error:
            raise TopologyError(f"{path}: {error}") from error
        except ValidationError as error:
            raise TopologyError(f"{path}: {_first_problem(error)}") from error

    @property
    def region_names(self) -> tuple[str, ...]:
        """The regions' names, in the order of the file."""
        return tuple(region.name for region in self.regions)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, region by region."""
        return tuple(node for region in self.regions for node in self.nodes_of(region.name))

    @property
    def balancers(self) -> tuple[Balancer, ...]:
        """One a region."""
        return tuple(Balancer(region=name) for name in self.region_names)

    def nodes_of(self, region: str) -> tuple[Node, ...]:
        """List the nodes of one region.

        Raises:
            UnknownTarget: no such region.
        """
        return tuple(Node(region=region, index=i) for i in self.region(region).indexes)

    def region(self, name: str) -> Region:
        """Find a region by its name.

        Raises:
            UnknownTarget: no such region.
        """
        for region in self.regions:
            if region.name == name:
                return region
        raise UnknownTarget(f"no region {name!r}: there are {', '.join(self.region_names)}")

    def node(self, name: str) -> Node:
        """Find a node by its name, such as `us-west-2/1`.

        Raises:
            UnknownTarget: no such node.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise UnknownTarget(f"no node {name!r}: there are {', '.join(n.name for n in self.nodes)}")

    def with_node(self, region: str) -> tuple[Topology, Node]:
        """Add a node to a region, under the lowest free index; gives the new shape and the node.

        Raises:
            UnknownTarget: no such region.
            TopologyError: the region has 9 nodes already.
        """
        indexes = self.region(region).indexes
        free = [i for i in range(1, MAX_NODES + 1) if i not in indexes]
        if not free:
            raise TopologyError(f"region {region!r} has {MAX_NODES} nodes, more cannot be added")
        return self._with_indexes(region, {*indexes, free[0]}), Node(region=region, index=free[0])

    def without_node(self, node: Node) -> Topology:
        """Remove a node from the shape; the others keep their names.

        Raises:
            UnknownTarget: no such node.
            TopologyError: it is the last of its region, or the rest could not give `survive`.
        """
        indexes = set(self.region(self.node(node.name).region).indexes)
        if len(indexes) == 1:
            raise TopologyError(f"{node} is the last node of its region, it cannot be removed")
        rest = self._with_indexes(node.region, indexes - {node.index})
        rest.check_survives(self.survive)
        return rest

    def _with_indexes(self, region: str, indexes: set[int]) -> Topology:
        gaps = tuple(i for i in range(1, max(indexes)) if i not in indexes)
        changed = Region(name=region, nodes=len(indexes), gaps=gaps)
        regions = tuple(changed if one.name == region else one for one in self.regions)
        return self.model_copy(update={"regions": regions})

    def rtt_ms(self, a: str, b: str) -> float:
        """Give the round-trip time between two regions in milliseconds, 0 within one.

        Raises:
            UnknownTarget: no such region.
        """
        a, b = self.region(a).name, self.region(b).name
        if a == b:
            return 0.0
        return next(link.rtt_ms for link in self.links if set(link.between) == {a, b})

    def nearest_first(self, region: str) -> tuple[str, ...]:
        """Every region by its distance from one, which stands first itself.

        Raises:
            UnknownTarget: no such region.
        """
        return tuple(
            sorted(self.region_names, key=lambda name: (name != region, self.rtt_ms(region, name)))
        )

    def one_way_ms(self, a: str, b: str) -> float:
        """Half the round-trip time: what one direction of a link delays."""
        return self.rtt_ms(a, b) / 2


def _where(problem: str, text: str) -> str:
    """Add the line that a message of the TOML parser is about."""
    lines = text.splitlines()
    found = re.search(r"line (\d+)", problem)
    number = int(found[1]) if found else len(lines) * problem.endswith("(at end of document)")
    if not 0 < number <= len(lines):
        return problem
    return f"{problem}: {_shown(lines[number - 1].strip())}"


def _first_problem(error: ValidationError) -> str:
    """Say the first problem of a shape in one line: the key, its value, what it may be."""
    problem = error.errors()[0]
    key = ""
    for part in problem["loc"]:
        name = str(part) if str(part).isidentifier() else _shown(part)
        key += f"[{part}]" if isinstance(part, int) else f".{name}" if key else name
    value, message = _shown(problem["input"]), str(problem["msg"]).removeprefix("Value error, ")
    match problem["type"]:
        case "value_error":
            return f"{key}: {message}" if key else message
        case "missing" if problem["loc"][-1:] != (1,):
            return f"{key}: is missing"
        case "extra_forbidden":
            keys = _KEYS.get(str(problem["loc"][0]) if len(problem["loc"]) > 1 else "", ())
            return f"{key}: no such key (there are {', '.join(keys)})"
        case "string_pattern_mismatch":
            message = "a region's name is 1 to 32 of a-z, 0-9 and '-', a letter first, no '-' last"
        case "greater_than_equal":
            message = f"it is at least {problem['ctx']['ge']:g}"
        case "less_than_equal":
            message = f"it is at most {problem['ctx']['le']:g}"
        case "int_type":
            message = "it is a whole number"
        case "float_type":
            message = "it is a number"
        case "tuple_type" | "model_type" | "too_short" | "too_long" | "missing" if (
            "between" in problem["loc"]
        ):
            message = "it is the names of two regions"
        case "tuple_type" | "model_type":
            message = f"write [[{problem['loc'][0]}]] above the keys of each"
        case "enum":
            message = f"it is {' or '.join(SurvivalGoal)}"
        case "too_short" | "too_long" if problem["loc"] == ("region",):
            return "region: a lab has 1 to 9 regions"
    return f"{key}: {value} is refused: {message[0].lower()}{message[1:]}"


_KEYS = {
    "": ("survive", "region", "link"),
    "region": ("name", "nodes"),
    "link": ("between", "rtt_ms"),
}


def _shown(value: object) -> str:
    """Shorten a value to what a message can show on one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


DEFAULT = Topology.model_validate(
    {
        "region": [{"name": "us-west-2"}, {"name": "us-east-1"}, {"name": "eu-west-1"}],
        "link": [
            {"between": ("us-west-2", "us-east-1"), "rtt_ms": 66},
            {"between": ("us-east-1", "eu-west-1"), "rtt_ms": 64},
            {"between": ("us-west-2", "eu-west-1"), "rtt_ms": 146},
        ],
    }
)
"""Three regions, nine nodes."""
