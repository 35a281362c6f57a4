"""How the long programs of the Makefile are called: by numbers and words in the environment; and how they
end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lab.process import INTERRUPTED


def run(program: Callable[[], int]) -> NoReturn:
    """Exit with what the program gives; SIGTERM ends what it has started as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(program())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was started has ended\n")
        sys.exit(INTERRUPTED)


def number(name: str, default: float) -> float:
    """A number above 0 from the environment; exits with a word on how to give one if it is none."""
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        sys.exit(f"{name}={text}: it must be a number above 0, such as {name}={default:g}")
    return value


def whole_number(name: str, default: int) -> int:
    """As `number`, without a fraction."""
    value = number(name, default)
    if value != int(value):
        sys.exit(f"{name}={os.environ[name]}: it must be a whole number, such as {name}={default}")
    return int(value)


def word(name: str, words: Sequence[str]) -> str:
    """One of the words, the first unless the environment says another; exits with all of them if it is
    none."""
    text = os.environ.get(name) or words[0]
    if text not in words:
        sys.exit(f"{name}={text}: it must be one of {', '.join(words)}")
    return text
