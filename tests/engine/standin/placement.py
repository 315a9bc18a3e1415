"""Where ranges would be: a plausible placement of replicas and leases. Pure functions.

One range a table, or one a region for REGIONAL BY ROW. The rules are those of
multiregion-survival-goals.md, v25.4: three voters at home with ZONE survival, five voters as 2+2+1
with REGION survival; five replicas either way. Which node it is, is the double's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from .catalog import Database, Member, Table


@dataclass(frozen=True, slots=True)
class Range:
    """A range.

    Attributes:
        number: its id.
        holder: who has its lease.
        available: more than half of its voters are live.
    """

    number: int
    table: Table
    holder: Member
    voters: tuple[Member, ...]
    others: tuple[Member, ...]
    available: bool


def region_of(member: Member) -> str:
    tiers = dict(part.split("=", 1) for part in member.locality.split(",") if part)
    return tiers.get("region", "")


def homes(database: Database, table: Table) -> tuple[str, ...]:
    """The regions that a table's ranges are led from."""
    if table.locality == "regional by row":
        return database.regions
    if table.locality == "regional by table" and table.detail:
        return (table.detail,)
    return (database.primary,)


def ranges(
    database: Database, tables: Sequence[Table], members: Sequence[Member], live: frozenset[str]
) -> list[Range]:
    """The ranges of a database's tables.

    Args:
        members: all nodes that are not decommissioned.
        live: uids of those in reach.
    """
    found: list[Range] = []
    for table in sorted(tables, key=lambda table: table.name):
        for home in homes(database, table):
            number = 70 + len(found)
            placed = _placed(database, home, members, crc32(f"{table.name}/{home}".encode()))
            if placed is None:
                continue
            voters, others = placed
            living = [member for member in voters if member.uid in live]
            available = 2 * len(living) > len(voters)
            # lease preference: at home while somebody there lives
            holder = living[0] if living and available else voters[0]
            found.append(Range(number, table, holder, voters, others, available))
    return found


def _placed(
    database: Database, home: str, members: Sequence[Member], turn: int
) -> tuple[tuple[Member, ...], tuple[Member, ...]] | None:
    """Voters, those at home first, and non-voters."""
    if not members:
        return None
    at_home = _from(turn, [m for m in members if home in ("", region_of(m))])
    regions = [region for region in database.regions if region != home]
    away = [_from(turn, [m for m in members if region_of(m) == region]) for region in regions]
    if database.goal == "region" and len(away) >= 2:
        voters = (*at_home[:2], *away[0][:2], *away[1][:1])
        return (voters, ()) if voters else None
    others = tuple(nodes[0] for nodes in away if nodes)
    return (tuple(at_home[:3]), others) if at_home else None


def _from(turn: int, members: list[Member]) -> list[Member]:
    """The members in a circle, beginning elsewhere for each range, so that leases spread."""
    at = turn % len(members) if members else 0
    return members[at:] + members[:at]
