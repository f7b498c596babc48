"""Hugging Face ``datasets``: a dataset saved with ``save_to_disk``, or one from the hub where there is a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.core.errors import BadInput, require_package
from tasks.dataset.payload import Payload
from tasks.ingestion.readers import CHUNK_ROWS, Chunk, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.table_rows import Batch, chunk_of

# Hub names of splits to ours.
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


class HuggingFace(Tabular, kind="huggingface"):
    """A ``Dataset`` or ``DatasetDict``; its splits are ours, and ``ClassLabel`` numbers become their names."""

    path: Path = Field(description="Folder written by save_to_disk, or a dataset's name on the hub.")
    name: str | None = Field(default=None, description="Configuration of a hub dataset.")
    revision: str | None = Field(default=None, description="Hub commit; name one, or the source may change unseen.")

    def open(self) -> tuple[Payload | TableOptions, Iterator[Chunk]]:
        """Open every split and map the columns by the first."""
        splits = self._load(self.path)
        if self.test_path is not None:
            splits += [("test", part) for _, part in self._load(self.test_path)]
        if self.reference_path is not None:
            splits += [("validation", part) for _, part in self._load(self.reference_path)]
        first = next(_batches(*splits[0]), None)
        if first is None:
            raise BadInput(where=str(self.path), expected="rows", got="none", do="The dataset is empty.")
        mapping = self.map_columns(first.table, str(self.path))

        def chunks() -> Iterator[Chunk]:
            for name, dataset in splits:
                # A single unnamed dataset has no split of its own.
                split = _SPLITS[name] if len(splits) > 1 else None
                for batch in _batches(name, dataset):
                    yield chunk_of(batch, mapping, self.roles, split)

        return mapping.payload or self.table_options(first, str(self.path)), chunks()

    def files(self) -> list[Path]:
        """The saved dataset's files; for a hub dataset none: its name and revision are the options."""
        return [
            file
            for path in (self.path, self.test_path, self.reference_path)
            if path and path.expanduser().is_dir()
            for file in files_below(path)
        ]

    def _load(self, source: Path) -> list[tuple[str, Any]]:
        with require_package("datasets", "reader huggingface", "pip install -e '.[hf]'"):
            import datasets
            from datasets.exceptions import DatasetNotFoundError
        path = source.expanduser()
        try:
            if path.is_dir():
                dataset = datasets.load_from_disk(str(path))
            else:
                dataset = datasets.load_dataset(str(source), self.name, revision=self.revision)
        except (FileNotFoundError, ConnectionError, ValueError, DatasetNotFoundError) as error:
            raise BadInput(
                where=str(self.path),
                expected="a folder written by save_to_disk, or a dataset the hub knows",
                got=str(error).partition("\n")[0],
                do="Save it with dataset.save_to_disk(folder) and name the folder.",
            ) from error
        if not isinstance(dataset, dict):
            return [("train", dataset)]
        splits = {str(name): split_dataset for name, split_dataset in dataset.items()}
        unknown = [name for name in splits if name not in _SPLITS]
        if unknown:
            raise BadInput(
                where=str(self.path),
                expected=f"splits named {', '.join(_SPLITS)}",
                got=", ".join(unknown),
                do="Rename or drop the other splits before saving.",
            )
        return sorted(splits.items(), key=lambda item: list(_SPLITS).index(item[0]))


def _batches(name: str, dataset: Any) -> Iterator[Batch]:
    names = {
        column: pa.array(feature.names, pa.string())
        for column, feature in dataset.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    first = 0
    for table in dataset.with_format("arrow").iter(batch_size=CHUNK_ROWS):
        batch = table.combine_chunks().to_batches()[0] if table.num_rows else None
        if batch is None:
            continue
        columns = []
        for column_name, column in zip(batch.schema.names, batch.columns, strict=True):
            # Class −1 is the hub's "no label".
            names_of_classes = names.get(column_name)
            columns.append(column if names_of_classes is None else names_of_classes.take(_no_label_as_null(column)))
        record_batch = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        yield Batch(name, record_batch, np.arange(first, first + record_batch.num_rows))
        first += record_batch.num_rows


def _no_label_as_null(column: pa.Array) -> pa.Array:
    values = pc.fill_null(column.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return pa.array(values, mask=values < 0)
