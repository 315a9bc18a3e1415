"""`cd tests && python -m engine`: the tests' engine and images by hand, until Ctrl-C."""

from __future__ import annotations

import signal

from engine.daemon import engine
from engine.fixtures import IMAGE_VARIABLES, STANDINS
from engine.images import ensure


def main() -> None:
    with engine() as found:
        variables = dict(found.environment)
        if found.standin:
            ensure(found, STANDINS)
            variables |= IMAGE_VARIABLES
        print("\n".join(f"export {name}={value}" for name, value in variables.items()), flush=True)
        signal.sigwait([signal.SIGTERM, signal.SIGINT])


if __name__ == "__main__":
    main()
