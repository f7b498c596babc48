"""A version as a dataset of another kind: written aside, and renamed when it is whole."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import pyarrow.parquet as pq

from tasks.core.errors import BadConfig, require_package
from tasks.dataset.payload import Payload, to_array
from tasks.ingestion.files.picture_files import PICTURES
from tasks.pipeline.durable_files import partial_folder, rename_folder, write_durably
from tasks.pipeline.stored_names import inside
from tasks.versions.contents import Rows, rows_of
from tasks.versions.history import History
from tasks.versions.live import tensors_of
from tasks.versions.manifest import Manifest

Form = Literal["parquet", "image_folder", "huggingface", "torch"]
FORMS: tuple[Form, ...] = get_args(Form)


def export(history: History, manifest: Manifest, form: Form, target: Path) -> int:
    """Write a version's rows into the new folder ``target``; how many.

    parquet         <split>/<part>.parquet, all columns
    image_folder    <split>/<class>/<file>, the encoded image as it came, under its name in the source; of arrays and of
                    images without a name <sample_id>.png
    huggingface     a DatasetDict that ``datasets.load_from_disk`` reads
    torch           <split>.pt, a mapping of x, y, classes and sample_ids that ``torch.load(weights_only=True)`` reads

    Each with ``version.json``, the manifest.

    Raises:
        BadConfig: the target is there already, the version has no images, or a library is not installed.
    """
    target = target.expanduser().absolute()
    if target.exists():
        raise BadConfig(
            where=f"option to {target}",
            expected="a folder that is not there yet",
            got="one that is",
            do="Name another.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with rows_of(history, manifest.rows_of) as rows, partial_folder(target.parent) as aside:
        count = _WRITERS[form](rows, aside)
        write_durably(aside / "version.json", manifest.model_dump_json(indent=1))
        if not rename_folder(aside, target):
            raise BadConfig(where=str(target), expected="room for the export", got="a folder", do="Name another.")
    return count


def _parquet(rows: Rows, aside: Path) -> int:
    count = 0
    for part, batches in groupby(rows.batches(), key=itemgetter(0)):
        path = inside(aside, f"{part.split}/{part.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, rows.schema(), compression="zstd") as writer:
            for _, batch in batches:
                writer.write_batch(batch)
                count += batch.num_rows
    return count


def _image_folder(rows: Rows, aside: Path) -> int:
    from tasks.dataset import images

    payload = Payload.model_validate(rows.content.payload)
    if rows.content.target is not None:
        raise BadConfig(
            where="option as image_folder",
            expected="classes, a folder for each",
            got=f"labels of the kind {rows.content.target['kind']}",
            do="Export parquet, huggingface or torch.",
        )
    if payload.kind != "image" and not (payload.is_image and payload.dtype == "uint8" and payload.shape[0] in (1, 3)):
        raise BadConfig(
            where="option as image_folder",
            expected="images: encoded ones, or 1 or 3 channels of bytes",
            got=f"{payload.kind} {' × '.join(map(str, payload.shape))} {payload.dtype}",
            do="Export parquet, huggingface or torch.",
        )
    names = _FileNames(aside, _folder_names(list(rows.content.classes)))
    count = 0
    for part, batch in rows.batches(["sample_id", "label", "source_id", *payload.columns]):
        is_encoded = payload.kind == "image"
        pictures = (
            batch[payload.columns[0]].to_pylist()
            if is_encoded
            else to_array(batch.select(list(payload.columns)), payload)
        )
        columns = (batch[name].to_pylist() for name in ("sample_id", "label", "source_id"))
        for picture, sample, label, source in zip(pictures, *columns, strict=True):
            if is_encoded:
                name = _name_in_source(source) or f"{sample}{_suffix(picture)}"
                names.of(part.split, label, name, sample).write_bytes(picture)
            else:
                images.from_pixels(picture).save(names.of(part.split, label, f"{sample}.png", sample))
        count += batch.num_rows
    return count


def _suffix(data: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return f".{(image.format or 'img').lower().replace('jpeg', 'jpg')}"


def _name_in_source(source_id: str | None) -> str | None:
    """What a picture's file is called where it came from; None where it was in none."""
    path = PurePosixPath(source_id or "")
    return f"{_as_name(path.stem)}{path.suffix}" if path.suffix.lower() in PICTURES else None


class _FileNames:
    """Places of the files of an export, no two alike in any case.

    Args:
        root: of the export.
        folders: of each class.
    """

    def __init__(self, root: Path, folders: dict[str, str]) -> None:
        self.root, self.folders = root, folders
        self._taken: set[str] = set()

    def of(self, split: str, label: str, name: str, sample: str) -> Path:
        """Where a picture goes; its folder is there.

        Args:
            split: of the sample.
            label: of the sample.
            name: of the file, if there is no other of this name.
            sample: its id.
        """
        folder = inside(self.root, f"{split}/{self.folders[label]}")
        folder.mkdir(parents=True, exist_ok=True)
        path = inside(folder, name, single=True)
        if str(path).lower() in self._taken:
            path = inside(folder, f"{path.stem}-{sample}{path.suffix}", single=True)
        self._taken.add(str(path).lower())
        return path


def _as_name(text: str) -> str:
    """A text as the name of a file or a folder, never a path."""
    return re.sub(r"[^\w .+-]", "_", text).strip(" .")[:100] or "_"


def _folder_names(classes: list[str]) -> dict[str, str]:
    """Class → a folder's name: the class itself where that is one, never a path, no two alike in any case."""
    names: dict[str, str] = {}
    for label in classes:
        name = _as_name(label)
        names_in_use = {other.lower() for other in names.values()}
        names[label] = (
            name if name.lower() not in names_in_use else f"{name}-{uuid.uuid5(uuid.NAMESPACE_OID, label).hex[:8]}"
        )
    return names


def _huggingface(rows: Rows, aside: Path) -> int:
    with require_package("datasets", "option as huggingface", "pip install -e '.[hf]'"):
        from datasets import Dataset, DatasetDict
    between = rows.scratch / "parquet"
    count = _parquet(rows, between)
    splits: Any = {
        folder.name: Dataset.from_parquet(
            [str(path) for path in sorted(folder.iterdir())], cache_dir=str(rows.scratch / "cache")
        )
        for folder in sorted(between.iterdir())
    }
    DatasetDict(splits).save_to_disk(str(aside))
    return count


def _torch(rows: Rows, aside: Path) -> int:
    import torch

    splits = sorted({part.split for part in rows.content.parts})
    count = 0
    for split in splits:
        tensors = tensors_of(rows, split)
        content = {"x": tensors.x, "y": tensors.y, "classes": list(tensors.classes), "sample_ids": list(tensors.ids)}
        torch.save(content, inside(aside, f"{split}.pt", single=True))
        count += len(tensors.ids)
    return count


_WRITERS: dict[Form, Callable[[Rows, Path], int]] = {
    "parquet": _parquet,
    "image_folder": _image_folder,
    "huggingface": _huggingface,
    "torch": _torch,
}
