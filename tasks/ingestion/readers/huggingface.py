"""Hugging Face ``datasets``: a dataset saved with ``save_to_disk``, or one from the hub where there is a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadInput, require_package
from tasks.dataset.payload import Payload
from tasks.ingestion.files.hub_features import with_names
from tasks.ingestion.files.plain_files import is_dir
from tasks.ingestion.readers import CHUNK_BYTES, Chunk, chunk_rows, files_below
from tasks.ingestion.readers.picture_tables import found_note, parts_of, with_note
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.split_column import VALIDATION_TESTS, SplitColumn, look_at_splits, split_column
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.table_rows import Batch, chunk_of
from tasks.pipeline.schemas import SPLIT_NAMES

_ORDER = ("train", "validation", "test")


class HuggingFace(Tabular, kind="huggingface"):
    """A ``Dataset`` or ``DatasetDict``; its splits are ours, and ``ClassLabel`` numbers become their names."""

    path: Path = Field(description="Folder written by save_to_disk, or a dataset's name on the hub.")
    name: str | None = Field(
        default=None, description="Configuration of a hub dataset; of iceberg the table, namespace.table."
    )
    revision: str | None = Field(default=None, description="Hub commit; name one, or the source may change unseen.")
    splits: list[str] | None = Field(
        default=None,
        description="Splits to read, others are left out. Default: all of the usual names (train, val, test …). Of "
        "folders: [] where none is a split, and folders called train or test are classes.",
    )

    def open(self) -> tuple[Payload | TableOptions, Iterator[Chunk]]:
        """Open every split and map the columns by the first."""
        splits, notes = _chosen(self._load(self.path), self.splits, str(self.path))
        if self.test_path is not None:
            splits += [("test", part) for _, part in self._load(self.test_path)]
        if self.reference_path is not None:
            splits += [("validation", part) for _, part in self._load(self.reference_path)]
        if "test" not in dict(splits) and "validation" in dict(splits) and self.reference_path is None:
            splits = [("test" if name == "validation" else name, part) for name, part in splits]
            notes.append(VALIDATION_TESTS)
        first = next(self._batches(*splits[0]), None)
        if first is None:
            raise BadInput(where=str(self.path), expected="rows", got="none", do="The dataset is empty.")
        if (image := self.with_pictures_found(first)) is not None:
            inputs, chunks = self.model_copy(update={"image": image}).open()
            return inputs, with_note(chunks, found_note(image))
        found = self._splits_of(*splits[0]) if len(splits) == 1 else None
        if found is not None and found.is_taken:
            return found.given(self.model_copy(update={"split": found.name}).open())
        notes += [found.note] if found else []
        mapping = self.map_columns(first.table, str(self.path), beside=first.beside)
        mapping = replace(mapping, notes=(*notes, *mapping.notes))

        def chunks_of_all() -> Iterator[Chunk]:
            for name, dataset in splits:
                # A single unnamed dataset has no split of its own.
                split = name if len(splits) > 1 else None
                for batch in self._batches(name, dataset):
                    for part in parts_of(batch, self.image):
                        yield chunk_of(part, mapping, self.roles, split)

        return mapping.payload or self.table_options(first, str(self.path)), chunks_of_all()

    def _splits_of(self, name: str, dataset: Any) -> SplitColumn | None:
        """What a column called split of the only split says, where nobody named another."""
        column = split_column(dataset.column_names)
        if column is None or self.split is not None or column in {named for _, named in self.named}:
            return None
        return look_at_splits(column, self._batches(name, dataset), self.limit, self._most_bytes)

    def files(self) -> list[Path]:
        """The saved dataset's files; for a hub dataset none: its name and revision are the options."""
        return [
            file
            for path in (self.path, self.test_path, self.reference_path)
            if path and is_dir(path.expanduser())
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
        return [(str(name), split_dataset) for name, split_dataset in dataset.items()]

    def _batches(self, name: str, dataset: Any) -> Iterator[Batch]:
        names = {
            column: pa.array(feature.names, pa.string())
            for column, feature in dataset.features.items()
            if type(feature).__name__ == "ClassLabel"
        }
        path, first = self.path.expanduser(), 0
        for table in _tables(name, dataset):
            batch = with_names(table.combine_chunks().to_batches()[0], names)
            rows = np.arange(first, first + batch.num_rows)
            yield Batch(name, batch, rows, path=path / name if path.is_dir() else None)
            first += batch.num_rows


def _tables(name: str, dataset: Any) -> Iterator[pa.Table]:
    """A split's rows, as many as one chunk takes, never none.

    As many are asked for as would fit if all were alike, for a split that was shuffled copies what it is asked for;
    where these are heavier than most, they are halved until they fit.
    """
    alike = chunk_rows(name, dataset.data.nbytes / max(1, dataset.data.num_rows))
    for table in dataset.with_format("arrow").iter(batch_size=alike):
        yield from _light(name, table)


def _light(name: str, table: pa.Table) -> Iterator[pa.Table]:
    rows = table.num_rows
    if table.nbytes > CHUNK_BYTES and rows > 1:
        yield from _light(name, table.slice(0, rows // 2))
        yield from _light(name, table.slice(rows // 2))
    elif rows and chunk_rows(name, table.nbytes / rows):
        yield table


def _chosen(
    splits: list[tuple[str, Any]], named: list[str] | None, where: str
) -> tuple[list[tuple[str, Any]], list[str]]:
    """The splits that are read, under our names and in our order, and what is to be told about the others.

    Raises:
        BadInput: there is none of them.
    """
    ours = {name: SPLIT_NAMES.get(name.lower()) for name, _ in splits}
    wanted = [name for name, our in ours.items() if our is not None and (named is None or name in named)]
    if not wanted or (named and set(named) - set(wanted)):
        raise BadInput(
            where=where,
            expected=f"splits named {', '.join(SPLIT_NAMES)}",
            got=", ".join(ours),
            do="Choose those of such names: --reader.splits train,test; rename others before saving.",
        )
    others = [name for name in ours if name not in wanted]
    notes = [f"left out the splits {', '.join(others)} (--reader.splits says which are read)"] if others else []
    chosen = [(ours[name] or name, dataset) for name, dataset in splits if name in wanted]
    return sorted(chosen, key=lambda item: _ORDER.index(item[0])), notes
