"""Order ids: made by the client, before the first attempt, so that a retry is recognised.

A UUID of version 8 (RFC 9562, section 5.8), laid out as

    run (48 bits) | version | worker (12 bits) | variant | sequence (62 bits)

The run comes first, so a run's orders are one range of the primary key, and an order in that
range whose id no worker ever made is a phantom.

Deposits have ids of the same make.

There is a worker a region, and its number is the region's place in the topology; what a person does
has the number of the person's region, as if its worker had made the id. CockroachDB keeps an order
or a deposit in the region that its id names so, and in the primary region if it names none
(`sql/cockroachdb/schema.sql`).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from labkit.errors import BadInput

RUN_BITS = 48
WORKER_BITS = 12
SEQUENCE_BITS = 62

_RUN_SHIFT = 128 - RUN_BITS
_VERSION_8 = 8 << 76
_WORKER_SHIFT = 64
_VARIANT_RFC = 0b10 << SEQUENCE_BITS


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """Names a run; the first 48 bits of the ids of its orders.

    Raises:
        ValueError: not a number of 48 bits.
    """

    number: int

    def __post_init__(self) -> None:
        _check("run", self.number, RUN_BITS)

    @classmethod
    def new(cls) -> Self:
        """Make a fresh id: 32 bits of the time in seconds, so that runs sort by age, 16 random."""
        seconds = int(time.time()) % 2**32
        return cls(seconds << 16 | secrets.randbits(16))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the 12 hexadecimal digits that `str` gives."""
        return cls(int(text, 16))

    def __str__(self) -> str:
        return f"{self.number:012x}"

    def order_id(self, worker: int, sequence: int) -> UUID:
        """Make the id of a worker's order.

        Raises:
            ValueError: `worker` has more than 12 bits or `sequence` more than 62.
        """
        _check("worker", worker, WORKER_BITS)
        _check("sequence", sequence, SEQUENCE_BITS)
        return UUID(
            int=self.number << _RUN_SHIFT
            | _VERSION_8
            | worker << _WORKER_SHIFT
            | _VARIANT_RFC
            | sequence
        )

    @property
    def first(self) -> UUID:
        """No order of this run has a smaller id."""
        return UUID(int=self.number << _RUN_SHIFT)

    @property
    def last(self) -> UUID:
        """No order of this run has a greater id."""
        return UUID(int=(self.number + 1 << _RUN_SHIFT) - 1)


@dataclass(frozen=True, slots=True)
class OrderIdParts:
    """The run, client and number that an order id was made of."""

    run: RunId
    worker: int
    sequence: int


def parts(order_id: UUID) -> OrderIdParts | None:
    """Take an order id apart; None when no worker can have made it."""
    run = RunId(order_id.int >> _RUN_SHIFT)
    worker = order_id.int >> _WORKER_SHIFT & 2**WORKER_BITS - 1
    sequence = order_id.int & 2**SEQUENCE_BITS - 1
    if run.order_id(worker, sequence) != order_id:
        return None
    return OrderIdParts(run, worker, sequence)


def new_id(region_index: int) -> UUID:
    """Make an id for what a person at a keyboard does, of a run of its own.

    Args:
        region_index: the person's region, by its place in the topology.

    Raises:
        BadInput: `region_index` is no whole number, is negative, or has more than 12 bits.
    """
    if type(region_index) is not int or not 0 <= region_index < 2**WORKER_BITS:
        raise BadInput(
            f"region_index {region_index!r} refused: it is the region's place in the topology, "
            "0 for the first one"
        )
    return RunId.new().order_id(worker=region_index, sequence=secrets.randbits(SEQUENCE_BITS))


def _check(what: str, value: int, bits: int) -> None:
    if not 0 <= value < 2**bits:
        raise ValueError(f"{what} {value}: not a number of {bits} bits")
