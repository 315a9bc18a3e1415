"""Names that `sql/` loads into the database, known here without asking it."""

from __future__ import annotations

from typing import Final

DEMO_ACCOUNT: Final = "0005821112"
"""The account of the person at the trading desk."""

LISTED_SYMBOLS: Final = ("GOOGL", "MSFT", "DIS", "RIVN", "PLTR", "NFLX", "JPM", "NVDA", "AAPL")
"""The instruments people know, with sample figures as of May 2024."""

GENERATED_SYMBOLS: Final = tuple(f"LK{n:03d}" for n in range(1, 301))
"""Instruments for load."""

GENERATED_ACCOUNTS: Final = tuple(f"{1_000_000 + n:010d}" for n in range(1, 301))
"""Accounts for load, each opened with 1,000,000,000.00."""
