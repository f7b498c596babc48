"""The files of a table: which are trained on, which are held out, and their rows with every column under its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, PrivateAttr

from tasks.core.errors import BadInput
from tasks.ingestion.files.plain_files import check_width
from tasks.ingestion.files.source_files import FileKind, Source, SourceFile, source_of
from tasks.ingestion.readers import Reader, existing_path
from tasks.ingestion.tables.annotators import refusals_note
from tasks.ingestion.tables.column_names import check_named, distinct_names, renames_note, side_by_side
from tasks.ingestion.tables.split_column import SplitColumn, look_at_splits, split_column
from tasks.ingestion.tables.table_columns import TableColumns, renamed
from tasks.ingestion.tables.table_rows import RESERVED_NAMES, Batch

_FILES_LOOKED_AT = 8


class OpenTable(NamedTuple):
    """A table whose files are open."""

    where: str
    first: Batch
    """The first batch that has anything in it: it settles the columns."""
    rest: Iterator[Batch]
    split: str | None
    """Of these; None where they are split by content."""
    held_out: Iterator[tuple[str, Batch]]
    """Batches of other files, each with its split."""
    source_names: tuple[str, ...]
    """The columns as the source calls them."""


class _Files(NamedTuple):
    """The files of each split, and what is to be told about them."""

    train: tuple[SourceFile, ...]
    test: tuple[SourceFile, ...]
    validation: tuple[SourceFile, ...]
    notes: tuple[str, ...]


class TableFiles(Reader):
    """Base of what reads files of tables."""

    kind: Any = None
    path: Path = Field(
        description="The file, or a folder of files. In a folder, names like train.csv and test.csv, or train/ and "
        "test/, say the split; names of folders like year=2020 are columns."
    )
    test_path: Path | None = Field(default=None, description="File or folder of test samples.")
    reference_path: Path | None = Field(
        default=None,
        description="File or folder of samples to refer to, as split validation: trusted ones, or of the domain that "
        "the model is meant for. Nothing is trained on them; detectors ocsvm and of influence compare with them.",
    )
    label: str = Field(
        default="label",
        description="Column of labels. Of classes: text, integers or booleans. A field within objects is named by its "
        "path, here and in every option that names a column: annotations[0].label. Of target labels also columns of "
        "yes and no, one for each label: rain,wind,sun.",
    )
    test_label: str | None = Field(
        default=None,
        description="What the column of labels is called in test files, if otherwise. Of npz: the array of them, "
        "y_test by default.",
    )
    _most_bytes: int | None = PrivateAttr(default=None)

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Every option that names a column, with the column."""
        return (("label", self.label),)

    @property
    def label_column(self) -> str | None:
        """The column of labels; None where the source's format says which it is."""
        return self.label

    def named_in(self, names: list[str]) -> tuple[tuple[str, str], ...]:
        """The same of a source with columns of these names: a command line parts a name with commas in it."""
        return self.named

    def may_be_objects(self, name: str) -> bool:
        """Whether an object is one value of a column."""
        return False

    @property
    def names_say_splits(self) -> bool:
        """Whether the names of a folder's files say which split they are."""
        return True

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows of a file, in order. At least one batch, with the file's columns, even when it has no rows."""
        raise TypeError(f"{type(self).__name__} must define batches()")

    def batches_of(self, files: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, Batch]]:
        """The rows of files that belong together, in order."""
        return ((file, batch) for file in files for batch in self.batches(file.path))

    def open_table(self) -> OpenTable:
        """Look at the first rows and stream the rest.

        Raises:
            BadInput: there is no row, or an option names no column of the first one.
        """
        path = self.existing(self.path)
        files = self._files()
        columns = TableColumns(tuple(name for _, name in self.named), {}, self.label, self.test_label)
        batches = (columns.of(batch, file) for file, batch in self.batches_of(files.train))
        first = next((batch for batch in batches if batch.table.num_rows or batch.rejects), None)
        if first is None:
            raise BadInput(where=str(path), expected="rows", got="none", do="The source is empty; check the path.")
        names = first.table.schema.names
        check_width(len(names), str(path))
        self._check_one_table(files.train, first, str(path))
        objects = {name: fields for name, fields in first.objects.items() if not self.may_be_objects(name)}
        check_named(self.named_in(names), names, objects, str(path))
        renames = distinct_names(names, columns.named, RESERVED_NAMES, str(path))
        notes = (*files.notes, *first.notes, *([renames_note(renames)] if renames else []))
        notes += refusals_note(first.table, columns.named)
        return OpenTable(
            where=str(path),
            first=replace(renamed(first, renames), notes=notes),
            rest=(renamed(batch, renames) for batch in batches),
            split="train" if files.test else None,
            held_out=self._held_out(files, replace(columns, renamed=renames)),
            source_names=tuple(names),
        )

    def glance(self, most_bytes: int, most_rows: int) -> Self:
        """What looks for something in all rows looks at no more either."""
        reader = super().glance(most_bytes, most_rows)
        reader._most_bytes = most_bytes
        return reader

    def splits_in(self, table: OpenTable) -> SplitColumn | None:
        """What a column called split says, where nothing else says the splits: no option, no name of a file."""
        name = split_column(table.source_names)
        named = {column for _, column in self.named}
        if name is None or name in named or not self.names_say_splits or table.split is not None:
            return None
        if any(file.split for file in self._training().files):
            return None
        if name in table.first.table.schema.names:
            first = look_at_splits(name, [table.first], self.limit, self._most_bytes)
            if first.odd is not None:
                return first
        told = self.model_copy(update={"split": name}).open_table()
        return look_at_splits(name, chain((told.first,), told.rest), self.limit, self._most_bytes)

    def files(self) -> list[Path]:
        """Every source file, training first."""
        held_out = [self.source(path) for path in (self.test_path, self.reference_path) if path]
        return [file.path for source in (self._training(), *held_out) for file in source.files]

    def file_name(self, path: Path) -> str:
        """Relative to the folder: the names of folders within it say splits and columns."""
        roots = [root.expanduser() for root in (self.path, self.test_path, self.reference_path) if root]
        return next((path.relative_to(root).as_posix() for root in roots if root in path.parents), path.name)

    def existing(self, path: Path) -> Path:
        """The path itself.

        Raises:
            BadInput: there is nothing, or nothing in it.
        """
        what = f"a file or folder of kind {self.kind}"
        path = existing_path(path, what)
        # Of the system's own files that are waited for without end it says the same.
        if path.is_file() and not path.stat().st_size:
            raise BadInput(where=str(path), expected=what, got="an empty file", do="Check the path.")
        return path

    def source(self, path: Path, *, splits: bool = False, but: Iterable[Path] = ()) -> Source:
        """The files of a path; whether their names say splits, and what is read elsewhere."""
        return source_of(path, self._file_kind, splits=splits, but=but)

    @property
    def _file_kind(self) -> FileKind:
        return FileKind(self.suffixes, self.packed)

    def _training(self) -> Source:
        held_out = [path for path in (self.test_path, self.reference_path) if path]
        return self.source(self.path, splits=self.names_say_splits, but=held_out)

    def _files(self) -> _Files:
        """The files of each split; a folder's test file without labels is left out."""
        training = self._training()
        options = (self.test_path, self.reference_path)
        test, reference = (Source(()) if path is None else self.source(self.existing(path)) for path in options)
        has_label = {file.path: self._has_label(file) for file in training.of_split("test")}
        without = [file.name for file in training.of_split("test") if not has_label[file.path]]
        label = self.test_label or self.label
        note = f"left out {', '.join(without)}: no labels in a column {label!r} (--reader.test-label)"
        return _Files(
            training.of_split(None, "train"),
            (*(file for file in training.of_split("test") if has_label[file.path]), *test.files),
            (*training.of_split("validation"), *reference.files),
            (*training.notes, *([note] if without else []), *test.notes, *reference.notes),
        )

    def _check_one_table(self, files: Sequence[SourceFile], first: Batch, where: str) -> None:
        """Refuse files whose rows belong side by side: the label stands in another than the inputs.

        Raises:
            BadInput: it does.
        """
        names, label = first.table.schema.names, self.label_column
        if label is None or len(files) < 2 or label in {name for _, name in self.named_in(names)} & {*names}:
            return
        for file in files[1:_FILES_LOOKED_AT]:
            others = next(iter(self.batches(file.path))).table.schema.names
            if label in others and others != names:
                raise side_by_side(where, (first.source, names), (file.name, others), label)

    def _has_label(self, file: SourceFile) -> bool:
        """Whether a test file has labels in its first rows; the hub writes −1 where there are none."""
        if self.label_column is None:
            return True
        columns = TableColumns((self.label,), {}, self.label, self.test_label)
        table = columns.of_test(next(iter(self.batches(file.path))), file).table
        if self.label not in table.schema.names:
            return False
        labels = table.column(self.label).to_pylist()
        return not labels or any(label is not None and label not in ("", -1, "-1") for label in labels)

    def _held_out(self, files: _Files, columns: TableColumns) -> Iterator[tuple[str, Batch]]:
        for file, batch in self.batches_of(files.test):
            yield "test", columns.of_test(batch, file)
        for file, batch in self.batches_of(files.validation):
            yield "validation", columns.of(batch, file)
