"""A table's columns before they are given roles, with those that folders' names and fields within others add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from tasks.ingestion.files.nested_fields import column_at, objects_of
from tasks.ingestion.files.source_files import SourceFile
from tasks.ingestion.tables.table_rows import Batch


@dataclass(frozen=True)
class TableColumns:
    """What becomes of the columns of every file."""

    named: tuple[str, ...]
    """Columns that options name: fields within others become columns."""
    renamed: Mapping[str, str]
    """New names of columns that SQL could not tell from others."""
    label: str
    test_label: str | None = None
    """What the label column is called in test files, if otherwise."""

    def of(self, batch: Batch, file: SourceFile) -> Batch:
        """A batch of one of the files, with all of its columns under their names."""
        return renamed(self._with_fields(_with_partitions(batch, file)), self.renamed)

    def of_test(self, batch: Batch, file: SourceFile) -> Batch:
        """The same of a test file, whose label column may have a name of its own."""
        if self.test_label is None:
            return self.of(batch, file)
        named = (*(name for name in self.named if name != self.label), self.test_label)
        batch = replace(self, named=named).of(batch, file)
        names = [name for name in batch.table.schema.names if name != self.label]
        if self.test_label not in names:
            return replace(batch, table=batch.table.select(names))
        new = [self.label if name == self.test_label else name for name in names]
        return replace(batch, table=batch.table.select(names).rename_columns(new))

    def _with_fields(self, batch: Batch) -> Batch:
        table = batch.table
        for name in self.named:
            column = None if name in table.schema.names else column_at(table, name)
            if column is not None:
                table = table.append_column(name, column)
        return replace(batch, table=table, objects=objects_of(table.schema) | batch.objects)


def renamed(batch: Batch, names: Mapping[str, str]) -> Batch:
    """The batch with columns under their new names."""
    if not names:
        return batch
    table = batch.table.rename_columns([names.get(name, name) for name in batch.table.schema.names])
    return replace(batch, table=table)


def _with_partitions(batch: Batch, file: SourceFile) -> Batch:
    """With the columns that folders' names give; a file's own of the same name counts."""
    table = batch.table
    for name, value in file.partitions.items():
        if name not in table.schema.names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    return replace(batch, table=table, source=file.name, path=file.path)
