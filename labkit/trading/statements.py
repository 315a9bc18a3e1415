"""Every statement that the trading application can send to CockroachDB.

Collected so that all of them can be held against CockroachDB's grammar. A statement sent from
labkit.trading that is not among them fails a test (tests/unit/trading/test_cockroachdb_grammar.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.topology import DEFAULT
from labkit.trading import audit, page_price, portfolio, quotes, schema
from labkit.trading.engines import COCKROACHDB, MAX_CONNECTIONS


def sent_to_cockroachdb(regions: Sequence[str] = DEFAULT.region_names) -> Mapping[str, str]:
    """Every statement under a name that says where it is from; with psycopg's placeholders.

    Args:
        regions: the topology's, in its order.
    """
    loading = schema.cockroachdb_statements(regions)
    return {
        **{f"schema.load[{number}]": text for number, text in enumerate(loading)},
        "schema.VERSION_THERE": schema.VERSION_THERE,
        "schema.OF_EVERY_VERSION": schema.OF_EVERY_VERSION,
        "schema.LAST_OF_ALL": schema.LAST_OF_ALL,
        "psycopg, around audit.final_read: begin": "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "psycopg, around audit.final_read: end": "COMMIT",
        "engines.MAX_CONNECTIONS": MAX_CONNECTIONS,
        "engines.COCKROACHDB.place_order": COCKROACHDB.place_order,
        "engines.COCKROACHDB.create_account": COCKROACHDB.create_account,
        "engines.COCKROACHDB.deposit": COCKROACHDB.deposit,
        "engines.COCKROACHDB.fresh_quote": COCKROACHDB.fresh_quote,
        "engines.COCKROACHDB.claim_orders": COCKROACHDB.claim_orders,
        "engines.COCKROACHDB.complete_orders": COCKROACHDB.complete_orders,
        "audit.STATEMENT_TIMEOUT": audit.STATEMENT_TIMEOUT.format(20_000),
        "audit.ORDERS": audit.ORDERS,
        "audit.INSTRUMENTS": audit.INSTRUMENTS,
        "audit.ACCOUNTS": audit.ACCOUNTS,
        "audit.WRITE": audit.WRITE,
        "quotes.QUOTE": quotes.QUOTE,
        "quotes.QUOTE_SINCE": quotes.QUOTE_SINCE,
        "quotes.PRICE_HISTORY": quotes.PRICE_HISTORY,
        "portfolio.ACCOUNT": portfolio.ACCOUNT,
        "portfolio.POSITIONS": portfolio.POSITIONS,
        "portfolio.ORDER_HISTORY": portfolio.ORDER_HISTORY,
        "quotes.INSTRUMENTS": quotes.INSTRUMENTS,
        "page_price.CREATE_PAGES": page_price.CREATE_PAGES,
        "page_price.OPEN_PAGE": page_price.OPEN_PAGE,
        "page_price.READ_PAGE": page_price.READ_PAGE,
        "page_price.WRITE_PAGE": page_price.WRITE_PAGE,
        "page_price.DROP_PAGES": page_price.DROP_PAGES,
    }
