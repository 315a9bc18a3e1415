"""`make bench`: every benchmark, one after the other, and the machine they ran on."""

from __future__ import annotations

import os
import platform

from rich.console import Console

from bench import board, checkers, client_cost, compare, desk, lab, live, wan


def main() -> None:
    """Run them all."""
    console = Console()
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.platform()}")
    if os.getloadavg()[0] > 0.5:
        console.print("[yellow]something else is running: these numbers will be too high[/]")
    for bench in (wan, live, checkers, client_cost, compare, lab, desk, board):
        bench.main()


if __name__ == "__main__":
    main()
