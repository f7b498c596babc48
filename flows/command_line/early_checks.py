"""Mistakes that are told before anything is started: in the lake, the source and the base."""

from __future__ import annotations

from typing import Any

from tasks.ingestion.files.plain_files import is_file
from tasks.ingestion.files.refused_values import refused_values
from tasks.ingestion.readers import Reader
from tasks.pipeline.lake_check import check_lake
from tasks.training.base_run import AUTO, recorded_base

# Of a larger source a look takes as long as a server's start: the run itself tells.
_LARGE = 1 << 28
# Rows of one that is smaller, up to which a reader looks for something in all of them.
_MOST_BYTES, _MOST_ROWS = 1 << 24, 500_000


def looked_at(config: Any) -> list[str]:
    """What ``check_early`` looks at, by name."""
    reader = getattr(config, "reader", None)
    source = [] if reader is None else [str(reader.options.get("path", f"source {reader.kind}"))]
    return [*source, f"lake {config.lake}"]


def check_early(config: Any) -> None:
    """Refuse what a run would refuse, within a second and without a server.

    Args:
        config: of a flow; what it does not have is not looked at.

    Raises:
        BadConfig: the lake cannot be written to, or there is no such base.
        BadInput: the source is missing, or lacks what the options name.
    """
    check_lake(config.lake)
    reader = getattr(config, "reader", None)
    if reader is not None:
        _look_at(reader.component)
    base = getattr(config, "base", None)
    if base not in (None, AUTO):
        recorded_base(config.lake.expanduser().resolve(), base, config.name)


def _look_at(reader: Reader) -> None:
    """Open the source, and close it again; what a reader looks for in all rows, the run itself does."""
    size = sum(path.stat().st_size for path in reader.files() if is_file(path))
    if size < _LARGE:
        with refused_values(str(getattr(reader, "path", f"reader {reader.kind}"))):
            _, chunks = (reader if size < _MOST_BYTES else reader.glance(_MOST_BYTES, _MOST_ROWS)).open()
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
