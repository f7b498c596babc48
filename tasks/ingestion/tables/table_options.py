"""What is known of a table before its rows are read: what the options name, and how cells are to be understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

MISSING = ("NA", "N/A", "#N/A", "null", "None", "NaN", "?", "-")
"""What people write for a missing value, beside an empty cell."""
WEIGHTS = "named by --reader.weights"
"""Why a column of weights is no input."""
SPLIT_COLUMN = "split"
"""What a column is called that may say the splits without being named."""


@dataclass(frozen=True)
class TableOptions:
    """A table whose inputs are columns, settled once every row is known (tasks/ingestion/tables/roles.py)."""

    where: str
    """The source, for messages."""
    settle_input: Callable[[pa.DataType, int], pa.DataType]
    """The type in which a column of plain numbers, or of lists of so many, is kept; by its type in the first rows."""
    settle_carried: Callable[[pa.DataType], pa.DataType]
    """The same of every other column."""
    features: tuple[str, ...] = ()
    """Columns that are to be inputs, in this order; none named: roles decide."""
    shape: tuple[int, ...] = ()
    """Of one input; empty: as many values as the columns have."""
    assigned: dict[str, str] = field(default_factory=dict)
    """Other roles that options give, each with its column."""
    target: str = "class"
    """What a label says."""
    own_names: dict[str, str] = field(default_factory=dict)
    """Columns that bear a name of gradsieve's own, by the name under which a sample keeps them."""
    objects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns of objects, each with the paths of the values within."""
    missing: tuple[str, ...] = MISSING
    """Cells that hold no value, beside empty ones."""
    found: tuple[str, ...] = ()
    """Those of the assigned roles whose column nobody named: its name and all its values say it."""
    weights: str | None = None
    """The column that says how much a row counts."""
