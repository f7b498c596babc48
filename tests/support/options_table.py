"""The options of ``gradsieve clean`` as the parser knows them, and as the table of tasks/README.md says them.

python -m tests.support.options_table        writes the table anew, and prints how many options there are
"""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from pathlib import Path
from typing import Any, NamedTuple

from flows.command_line.application import application
from flows.command_line.switches import with_values

README = Path(__file__).parents[2] / "tasks" / "README.md"
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"


class Option(NamedTuple):
    """One option as ``--help`` shows it."""

    name: str
    default: str
    words: str


def options() -> list[Option]:
    """Those of ``clean``, in the order of ``--help``."""
    parser: Any = with_values(application()).root_parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            return [_option(own) for own in _own(action.choices["clean"])]
    raise LookupError("the command line has no commands")


def _own(parser: ArgumentParser) -> list[Any]:
    named = (action for action in parser._actions if action.option_strings and action.dest != "help")
    return [action for action in named if action.help != SUPPRESS]


def _option(action: Any) -> Option:
    text = " ".join(str(action.help or "").replace("%%", "%").split())
    described, default = re.fullmatch(r"(.*?) ?\((?:default|ifdef|default factory): ?(.*?)\)", text).groups()  # type: ignore[union-attr]
    one_of = f"One of {str(action.metavar).strip('{}').replace(',', ', ')}."
    return Option(action.option_strings[0], default, described or one_of)


def table() -> str:
    """The options as Markdown."""
    rows = [(f"`{name}`", f"`{default}`" if default else "", words) for name, default, words in options()]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [("option", "default", "what it says"), *rows]]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|---|---|---|", *lines[1:]])


def written() -> str:
    """The table as it stands in the file."""
    return README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    """Write the table into the file."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(f"{len(options())} options of clean")


if __name__ == "__main__":
    main()
