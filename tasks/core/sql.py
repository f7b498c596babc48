"""SQL as files: the decisions and the catalogue are read, reviewed and tested as SQL."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path


def query(name: str) -> str:
    """The text of ``tasks/<name>.sql``: a room and a file in it."""
    return (files("tasks") / f"{name}.sql").read_text(encoding="utf-8")


def string(value: str) -> str:
    """A string of SQL."""
    return "'" + value.replace("'", "''") + "'"


def literal(folder: Path, pattern: str = "") -> str:
    """An SQL string for DuckDB's readers: ``folder`` as it is, whatever characters it holds, then a glob pattern."""
    exact = re.sub(r"([*?\[])", r"[\1]", str(folder))
    return string(f"{exact}/{pattern}".rstrip("/"))
