"""``gradsieve``, or ``python -m flows``: the command line (flows/command_line/application.py)."""

from __future__ import annotations

import sys

from flows.command_line.foreground import say
from flows.imports import imports

__all__ = ["main"]

# What they import takes a second, and on a busy machine many.
_LONG = ("clean", "compare", "trace", "maintain", "reproduce", "serve")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in _LONG and not {"-h", "--help"}.intersection(words):
        say(f"gradsieve {words[0]}: reading its options")
    with imports():
        from flows.command_line.application import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
