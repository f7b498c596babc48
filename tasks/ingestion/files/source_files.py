"""Which files of a folder are read, and what their names say: a split, a partition, or that they hold no samples.

Nothing is left out in silence: whatever is, stands in the notes with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from tasks.ingestion.files.compression import inner_name
from tasks.ingestion.files.plain_files import NO_FILE, check_names, is_dir, is_file
from tasks.pipeline.schemas import SPLIT_NAMES

_PARTITION = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# Kaggle's trainLabels.csv and sampleSubmission.csv are two words as well.
_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")
# What stands beside a split where two words are written as one.
_PLAIN = {
    *("data", "set", "labels", "label", "images", "image", "features", "targets", "samples", "split", "df", "x", "y")
}
_SUBMISSION = re.compile(r"(?:^|[^a-z])submission(?:[^a-z]|$)")
_SHOWN = 5

UNSEEN = (".", "_", "~$")
"""What names of files begin with that are not there to be read; Excel locks a workbook by one with ~$."""
HIDDEN = "hidden, or of a name that begins with _"
SUBMISSION = "a form for answers, no samples"


@dataclass(frozen=True)
class SourceFile:
    """One file of a source."""

    path: Path
    name: str
    """As rows are known by: relative to the folder, where it lies in one below."""
    split: str | None = None
    partitions: dict[str, pa.Scalar] = field(default_factory=dict)
    """Columns that its folders' names give: ``year=2020``."""


class FileKind(NamedTuple):
    """Which files a reader takes out of a folder."""

    suffixes: tuple[str, ...]
    packed: bool
    """Whether it reads compressed ones."""
    beside: tuple[str, ...] = ()
    """Suffixes of files that rows name: they are read with their rows, and not left out."""

    def takes(self, path: Path) -> bool:
        """Whether a file is one of them by its name."""
        return Path(inner_name(path) if self.packed else path.name).suffix.lower() in self.suffixes


@dataclass(frozen=True)
class Source:
    """The files of one path, in a fixed order, and what there is to tell about the others."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...] = ()

    def of_split(self, *splits: str | None) -> tuple[SourceFile, ...]:
        """Those whose names say one of these splits."""
        return tuple(file for file in self.files if file.split in splits)


def source_of(path: Path, kind: FileKind, *, splits: bool = False, but: Iterable[Path] = ()) -> Source:
    """The files of a path.

    Args:
        path: a file, or a folder.
        kind: of the files that are read. Where a folder has none of them, all are: whoever named the reader knows.
        splits: whether names like ``train.csv`` and ``test.csv`` say which split a file is.
        but: what is read elsewhere, and therefore not here.
    """
    path = path.expanduser()
    if not is_dir(path):
        return Source((SourceFile(path, path.name),))
    elsewhere = [other.expanduser().resolve() for other in but]
    visible, hidden, odd_files = _visible(path, elsewhere)
    check_names((_name(file, path) for file in visible), str(path))
    taken = [file for file in visible if kind.takes(file)] or visible
    others = sorted({*visible} - {*taken, *(file for file in visible if file.suffix.lower() in kind.beside)})
    left_out = {HIDDEN: hidden, f"no {' or '.join(kind.suffixes)} file": others, NO_FILE: odd_files}
    forms = [file for file in taken if _SUBMISSION.search(_in_words(file.stem))]
    if len(forms) < len(taken):
        left_out[SUBMISSION] = forms
        taken = [file for file in taken if file not in forms]
    files = [SourceFile(file, _name(file, path)) for file in taken]
    odd: list[str] = []
    if splits:
        files, unnamed, odd = _by_split(files, path)
        left_out["a name that says no split, beside files that do"] = unnamed
    return Source(tuple(_with_partitions(files, path)), (*_told(left_out, path), *odd))


def split_of(name: PurePath) -> str | None:
    """The split that a file's relative path says: a folder's name, or the first or last word of its own.

    ``train.csv``, ``test-00000-of-00001.parquet``, ``fruit_val.csv``, ``trainLabels.csv``, ``dev/part-0.jsonl``.
    """
    stem = name.name.split(".")[0]
    words = _words_of(_in_words(stem))
    if {*words} - _PLAIN - SPLIT_NAMES.keys():
        words = _words_of(stem.lower())  # BloodTest and DevTools say something else
    for word in (words[0], words[-1], *(part.lower() for part in reversed(name.parts[:-1]))):
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return None


def _words_of(stem: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", stem) or [""]


def _in_words(stem: str) -> str:
    return _WORD_BEGINS.sub("_", stem).lower()


def _visible(root: Path, elsewhere: list[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """The files below a folder in a fixed order, those that are not meant to be read, and what is no file."""
    entries = sorted(p for p in root.rglob("*") if not is_dir(p))
    files = [p for p in entries if is_file(p)]
    if elsewhere:
        files = [p for p in files if not any(p.resolve().is_relative_to(other) for other in elsewhere)]
    hidden = {p for p in files if any(part.startswith(UNSEEN) for part in p.relative_to(root).parts)}
    return [p for p in files if p not in hidden], sorted(hidden), [p for p in entries if not is_file(p)]


def _by_split(files: list[SourceFile], root: Path) -> tuple[list[SourceFile], list[Path], list[str]]:
    """The files with the splits that their names say, those left out, and what there is to tell.

    Files of no such name are training files where no name says train, and left out where one does.
    """
    named = [replace(file, split=split_of(file.path.relative_to(root))) for file in files]
    splits = {file.split for file in named}
    if not splits - {None}:
        return files, [], []
    if "train" not in splits and None not in splits:
        note = f"{root.name}: every file is read as training samples, for no name says train: {_names(files)}"
        return files, [], [note]
    others = [file for file in named if file.split is None] if "train" in splits else []
    rest = [replace(file, split=file.split or "train") for file in named if file not in others]
    told = [
        f"{split}: {_names([file for file in rest if file.split == split])}"
        for split in ("train", "validation", "test")
        if split in {file.split for file in rest}
    ]
    return (
        rest,
        [file.path for file in others],
        [f"splits by the names of the files in {root.absolute().name}: {'; '.join(told)}"],
    )


def _with_partitions(files: Sequence[SourceFile], root: Path) -> list[SourceFile]:
    """The files with the columns that their folders' names give: integers where all are, else text."""
    values = [
        {match[1]: unquote(match[2]) for part in parts[:-1] if (match := _PARTITION.fullmatch(part))}
        for parts in (file.path.relative_to(root).parts for file in files)
    ]
    text = {
        key
        for one in values
        for key, value in one.items()
        if value != _NO_VALUE and not re.fullmatch(r"0|-?[1-9]\d{0,17}", value)
    }

    def scalar(key: str, value: str) -> pa.Scalar:
        kind = pa.string() if key in text else pa.int64()
        return pa.scalar(None if value == _NO_VALUE else value if key in text else int(value), kind)

    return [
        replace(file, partitions={key: scalar(key, value) for key, value in one.items()})
        for file, one in zip(files, values, strict=True)
    ]


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _names(files: Sequence[SourceFile]) -> str:
    return _list([file.name for file in files])


def _list(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _told(left_out: dict[str, list[Path]], root: Path) -> list[str]:
    return left_out_notes({reason: [_name(file, root) for file in files] for reason, files in left_out.items()}, root)


def left_out_notes(left_out: Mapping[str, Sequence[str]], root: Path) -> list[str]:
    """What there is to tell about files that are not read: names by reason, as one line."""
    by_reason = [f"{_list(names)} ({reason})" for reason, names in left_out.items() if names]
    count = sum(map(len, left_out.values()))
    return [f"left out {count:,} of the files in {root.absolute().name}: {'; '.join(by_reason)}"] if by_reason else []
