"""``gradsieve``, or ``python -m flows``: the command line (flows/command_line/application.py)."""

from __future__ import annotations

import sys

from flows.command_line.application import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
