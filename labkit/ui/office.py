"""The order processor of a desk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg

from labkit.cluster.base import Cluster
from labkit.errors import LabError
from labkit.trading.processing import Queue, claim_orders, complete_orders
from labkit.ui.line import RegionLine
from labkit.ui.polling import Every

OFFICE_S: Final = 1.0
"""Seconds between two looks for orders to process. Nobody else may be there to process them: no
load, no other desk. Where there are several, the lease keeps them out of each other's way."""


def process_orders(
    cluster: Cluster, region: Callable[[], str], on_processed: Callable[[], None]
) -> Every:
    """Begin to process the orders that wait, the desk's and those of others.

    Args:
        region: returns the region whose orders are processed, through its balancer.
        on_processed: called after a batch that had orders.
    """
    lines = RegionLine(cluster)

    def process() -> None:
        with suppress(LabError, psycopg.Error):  # what was not processed waits for the next time
            here = region()
            line = lines.to(here)
            claim = line.ask(lambda conn: claim_orders(conn, Queue(here)))
            if claim.order_ids:
                line.ask(lambda conn: complete_orders(conn, claim))
                on_processed()

    return Every(process, every_s=OFFICE_S, name="back-office")
