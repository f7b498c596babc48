"""What the folders of a set of pictures say: which are splits, which are classes, and what belongs to neither."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import BadInput
from tasks.ingestion.files.source_files import left_out_notes
from tasks.pipeline.schemas import SPLIT_NAMES

_ORDER = {"train": 0, None: 0, "validation": 1, "test": 2}
_SHOWN = 8
# Folders of pictures and of what is known of each of their pixels, as sets for segmentation have them side by side.
_OF_PICTURES = {"images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "photos", "pictures", "imagestr"}
_OF_PIXELS = {
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "segmentation", "segmentations"),
    *("segmentationclass", "segmentationobject", "gtfine", "gt", "groundtruth", "ground_truth", "labelstr", "trimaps"),
}
NO_CLASS = "in no folder of a class, so without a label"
OTHER_SPLIT = "in folders that are none of --reader.splits"
NAMED_OTHERWISE = "of names in which --reader.class-pattern finds no label"


class Picture(NamedTuple):
    """One picture of a set."""

    name: str
    split: str | None
    label: str


@dataclass(frozen=True)
class Layout:
    """The pictures of a set, those of training first, and what there is to tell about them."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


class _Place(NamedTuple):
    """Where a picture lies: below the root, or the folder of its split."""

    name: str
    split: str | None
    parts: tuple[str, ...]


def layout_of(
    names: Sequence[str], root: Path, splits: Sequence[str] | None = None, pattern: str | None = None
) -> Layout:
    """The split and the label of every picture.

    Args:
        names: of the pictures, relative to the root.
        root: the source, for messages.
        splits: names of folders that are splits, others being left out; none where the list is empty. By default those
            of the usual names are, where all folders have one.
        pattern: a regular expression that finds the label in what follows the root, or the split; by default the label
            is the name of the folder there.

    Raises:
        BadInput: folders of splits lie beside others, or no picture has a label.
    """
    wrapper = _wrapper(names)
    places, other_splits = _places(names, len(wrapper), root, splits)
    labels = [_label(place.parts, pattern) for place in places]
    without = [place.name for place, label in zip(places, labels, strict=True) if label is None]
    pictures = [
        Picture(place.name, place.split, label)
        for place, label in zip(places, labels, strict=True)
        if label is not None
    ]
    if not pictures:
        raise _no_labels(names, root, pattern)
    if pattern is None:
        _refuse_masks({picture.label for picture in pictures}, root)
    pictures, split_notes = _with_test(pictures)
    left_out = {OTHER_SPLIT: other_splits, (NAMED_OTHERWISE if pattern else NO_CLASS): without}
    notes = (*left_out_notes(left_out, root), *split_notes)
    if pattern is None:
        notes += tuple(_level_notes(places, wrapper, root))
    return Layout(tuple(sorted(pictures, key=lambda picture: _ORDER[picture.split])), notes)


def _refuse_masks(labels: set[str], root: Path) -> None:
    """Refuse a set whose only folders are of pictures and of their masks: those are no classes."""
    lower = {label.lower() for label in labels}
    if not (lower <= _OF_PICTURES | _OF_PIXELS and lower & _OF_PICTURES and lower & _OF_PIXELS):
        return
    raise BadInput(
        where=str(root),
        expected="class folders with image files",
        got=f"the folders {' and '.join(sorted(labels))}: pictures and their masks, it seems, which label pixels",
        do="Labels of whole pictures stand in a table: --reader.path labels.csv --reader.image COLUMN_OF_PATHS. Where "
        "the folders are classes after all: --reader.class-pattern '(?P<label>[^/]+)/'.",
    )


def _wrapper(names: Sequence[str]) -> tuple[str, ...]:
    """The folders that all others lie in, as where an archive was unpacked."""
    parts = [name.split("/") for name in names]
    depth = 0
    while (
        parts
        and all(len(one) > depth + 2 for one in parts)
        and len({one[depth] for one in parts}) == 1
        and parts[0][depth].lower() not in SPLIT_NAMES
    ):
        depth += 1
    return tuple(parts[0][:depth]) if parts else ()


def _places(
    names: Sequence[str], depth: int, root: Path, splits: Sequence[str] | None
) -> tuple[list[_Place], list[str]]:
    """Where the pictures lie, and the names of those in folders that are no splits where some are named."""
    parts = [tuple(name.split("/")[depth:]) for name in names]
    tops = sorted({one[0] for one in parts if len(one) > 1})
    if splits is None:
        usual = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
        if usual and len(usual) < len(tops):
            raise _mixed(tops, list(usual), root)
    else:
        named = {split.lower() for split in splits}
        usual = {top: SPLIT_NAMES.get(top.lower(), top) for top in tops if top.lower() in named}
        _check_splits(named, tops, usual, root)
    if not usual:
        return [_Place(name, None, one) for name, one in zip(names, parts, strict=True)], []
    pairs = list(zip(names, parts, strict=True))
    places = [_Place(name, usual[one[0]], one[1:]) for name, one in pairs if len(one) > 1 and one[0] in usual]
    return places, [name for name, one in pairs if len(one) == 1 or one[0] not in usual]


def _check_splits(named: set[str], tops: list[str], usual: dict[str, str], root: Path) -> None:
    unknown = sorted(named - {top.lower() for top in usual}) + sorted(
        top for top, split in usual.items() if split not in _ORDER
    )
    if unknown:
        raise BadInput(
            where=f"{root}, option splits",
            expected=f"names of folders in it that say train, validation or test ({', '.join(SPLIT_NAMES)})",
            got=", ".join(unknown),
            do=f"The folders are {', '.join(tops[:_SHOWN]) or 'none'}; where they are classes: --reader.splits '[]'.",
        )


def _mixed(tops: list[str], splits: list[str], root: Path) -> BadInput:
    others = [top for top in tops if top not in splits]
    return BadInput(
        where=str(root),
        expected="either class folders or split folders (train, validation, test)",
        got=f"both: {', '.join(splits)} beside {', '.join(others[:_SHOWN])}{' …' * (len(others) > _SHOWN)}",
        do="Where all are classes: --reader.splits '[]'. Where the others are to be left out: "
        f"--reader.splits {','.join(splits)}. Else put every class under its split.",
    )


def _label(parts: tuple[str, ...], pattern: str | None) -> str | None:
    if pattern is None:
        return parts[0] if len(parts) > 1 else None
    match = re.search(pattern, "/".join(parts))
    return match[match.re.groupindex.get("label", 1)] if match else None


def _with_test(pictures: list[Picture]) -> tuple[list[Picture], list[str]]:
    """The pictures with a test split, where the folders name any split, and what is to be told about it."""
    splits = {picture.split for picture in pictures}
    if splits == {None} or "test" in splits:
        return pictures, []
    if "validation" in splits and len(splits) > 1:
        renamed = [picture._replace(split="test") if picture.split == "validation" else picture for picture in pictures]
        return renamed, ["no folder says test: the pictures of the split validation serve as the held-out test"]
    (only,) = splits
    return [picture._replace(split=None) for picture in pictures], [
        f"every labelled picture is in the split {only}: a share of them is held out as test (--reader.test-share)"
    ]


def _level_notes(places: Sequence[_Place], wrapper: tuple[str, ...], root: Path) -> list[str]:
    """Which level of folders is taken for classes, where there are several."""
    deeper = [place for place in places if len(place.parts) > 2]
    if not deeper and not wrapper:
        return []
    classes = sorted({place.parts[0] for place in places if len(place.parts) > 1})
    shown = f"{', '.join(classes[:_SHOWN])}{' …' * (len(classes) > _SHOWN)}"
    note = f"classes are the {len(classes):,} folders in {'/'.join((root.name, *wrapper))}: {shown}"
    below = f"; {len(deeper):,} pictures in folders below them are of their classes (--reader.class-pattern)"
    return [note + below * bool(deeper)]


def _no_labels(names: Sequence[str], root: Path, pattern: str | None) -> BadInput:
    """Why no picture has a label: pictures lie side by side, or there are none."""
    example = names[0] if names else ""
    flat = Counter(len(name.split("/")) for name in names)
    return BadInput(
        where=str(root),
        expected="names in which --reader.class-pattern finds a label"
        if pattern
        else "class folders with image files (root/class/file, or root/train/class/file)",
        got=f"{len(names):,} files and no {'such name' if pattern else 'class folder'}, such as {example}"
        if flat
        else "no picture file",
        do="Put each class's images into a folder named after the class; where their names say it, as cat.0.jpg does: "
        r"--reader.class-pattern '(?P<label>[a-z]+)\.'; where a table does: --reader.path labels.csv --reader.image "
        "COLUMN_OF_PATHS.",
    )
