"""The command `stormfold`, and `python -m stormfold`.

The first process of a container does not die of a SIGTERM for which it has no handler, so there is one before
the imports, which take a second or two. Nothing is in hand until the operator sets its own.
"""

import signal
import sys
from types import FrameType


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    from stormfold.cli import main as command  # noqa: PLC0415 - after the handler

    command()


if __name__ == "__main__":
    main()
