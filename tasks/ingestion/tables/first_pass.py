"""The first pass over a table: spooled as it came, and what its columns are for is asked of all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.encoders import cells
from tasks.ingestion.label_advice import REGRESSION, may_measure
from tasks.ingestion.readers import Chunk
from tasks.ingestion.tables.column_statistics import distinct_of, statistics_of
from tasks.ingestion.tables.profile import Profile
from tasks.ingestion.tables.raw_spool import RawSpool
from tasks.ingestion.tables.roles import Column, check_inputs, role_of
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.table_rows import lacks_columns

# Columns that options name → the array of a chunk that holds them.
_ARRAYS = {
    "label": "label",
    "clean_label": "clean_label",
    "id": "source_id",
    "group": "group",
    "split": "split",
}


@dataclass(frozen=True)
class FirstPass:
    """A table as it came, and its columns in the order of the source."""

    spool: RawSpool
    profiles: dict[str, Profile]
    columns: list[Column]
    """Those that no option gives another role than input."""
    assigned: list[Column]
    """The others, the label first."""

    @property
    def every_column(self) -> list[Column]:
        """All of them."""
        return [*self.assigned, *self.columns]

    def check(self, options: TableOptions) -> None:
        """Refuse a table of which nothing can be learned.

        Raises:
            BadInput: no column is an input, one cannot be, a file lacks one, or the label is a number in truth.
        """
        check_inputs(self.columns, self.spool.types, options)
        for column in self.columns:
            if column.is_input and (lacking := self.spool.sources_without(column.name)):
                others = [name for name in self.spool.types if name != column.name]
                inputs = [other.name for other in self.columns if other.is_input and other.name != column.name]
                common = [name for name in inputs if not self.spool.sources_without(name)]
                raise lacks_columns(lacking[0], [column.name], others, common)
        self._check_label(options)

    def _check_label(self, options: TableOptions) -> None:
        """An integer price is a class for each price."""
        label, profile = self.assigned[0], self.profiles[f"={self.assigned[0].role}"]
        distinct = label.distinct_values or 0
        is_numeric = profile.numbers == profile.values or any(form in cells.FORMS for form in profile.forms)
        if options.target != "class" or not is_numeric or not may_measure(distinct, profile.values):
            return
        if distinct * 2 > profile.values:
            raise BadInput(
                where=f"{options.where}, label column {label.name!r}",
                expected="classes, each of them in several rows",
                got=f"{distinct:,} different numbers in {profile.values:,} rows",
                do=REGRESSION,
            )


def first_pass(options: TableOptions, chunks: Iterable[Chunk], folder: Path) -> FirstPass:
    """Spool a table, and settle the role of every column.

    Args:
        options: what the reader was told.
        chunks: the rows as they came.
        folder: for the spool.

    Raises:
        BadInput: there is no row.
    """
    spool = RawSpool(folder)
    profiles: dict[str, Profile] = {}

    def look(chunk: Chunk) -> None:
        for name, column in chunk.payload.items():
            profiles.setdefault(name, Profile(options.missing)).add(column)
        for role in options.assigned:
            values = getattr(chunk, _ARRAYS[role])
            if isinstance(values, pa.Array):
                # What no column can be called keeps apart what may bear the same name.
                profiles.setdefault(f"={role}", Profile(())).add(values)

    spool.write(chunks, look)
    own = {name: profiles.setdefault(name, Profile(options.missing)) for name in spool.types}
    statistics = statistics_of(spool, own, options.missing)
    columns = [role_of(name, types, own[name], statistics[name], options) for name, types in spool.types.items()]
    assigned = [_assigned(role, name, profiles, spool, options) for role, name in options.assigned.items()]
    return FirstPass(spool, profiles, columns, assigned)


def _assigned(role: str, name: str, profiles: dict[str, Profile], spool: RawSpool, options: TableOptions) -> Column:
    profile = profiles.setdefault(f"={role}", Profile(()))
    few = profile.unique
    distinct = distinct_of(spool, _ARRAYS[role]) if few is None else len(few)
    kind = options.target if "label" in role else "text"
    why = f"named by --reader.{role.replace('_', '-')}"
    if role in options.found:
        why = f"called {name}, and every value is a usual name of one"
    return Column(name, role, kind, distinct, spool.rows - profile.values, why)
