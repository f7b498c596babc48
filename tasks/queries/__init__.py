"""SQL as files: the decisions and the catalogue are read, reviewed and tested as SQL."""

from __future__ import annotations

from importlib.resources import files


def query(name: str) -> str:
    """The text of ``tasks/queries/<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")
