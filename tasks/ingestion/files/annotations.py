"""COCO's and VOC's annotations: boxes of many objects a picture, which are no labels of pictures yet.

Nothing here guesses which of them is the label; the way to a table that says so is told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from tasks.core.errors import BadInput

_COCO = re.compile(r"(?:^|/)(?:instances|person_keypoints|panoptic|_annotations\.coco)[^/]*\.json$")
_COCO_KEYS = {"images", "annotations", "categories"}
_VOC = re.compile(r"(?:^|/)Annotations/[^/]+\.xml$", re.IGNORECASE)

_FROM_COCO = """import csv, json, sys
a = json.load(open(sys.argv[1]))
names = {c["id"]: c["name"] for c in a["categories"]}
labels = {i["id"]: set() for i in a["images"]}
for one in a["annotations"]: labels[one["image_id"]].add(names[one["category_id"]])
w = csv.writer(sys.stdout)
w.writerows([("path", "label"), *((i["file_name"], "|".join(sorted(labels[i["id"]]))) for i in a["images"])])"""
_FROM_VOC = """import csv, glob, sys, xml.etree.ElementTree as e
w = csv.writer(sys.stdout)
w.writerow(("path", "label"))
for file in sorted(glob.glob(sys.argv[1] + "/*.xml")):
    a = e.parse(file)
    w.writerow((a.findtext("filename"), "|".join(sorted({o.findtext("name") for o in a.iter("object")}))))"""


def refuse_annotations(root: Path, names: Iterable[str]) -> None:
    """Refuse a set of pictures whose labels stand in one of those formats.

    Args:
        root: its folder.
        names: of the files in it that are no pictures.

    Raises:
        BadInput: they do.
    """
    for name in names:
        if _VOC.search(name):
            _refuse(root, "VOC", (root / name).parent, _FROM_VOC)
        if _COCO.search(name):
            refuse_coco(root / name)


def refuse_coco(file: Path) -> NoReturn:
    """Refuse a file of COCO's annotations.

    Raises:
        BadInput: always.
    """
    _refuse(file, "COCO", file, _FROM_COCO)


def is_coco(keys: Iterable[str]) -> bool:
    """Whether an object with these keys holds COCO's annotations."""
    return set(keys) >= _COCO_KEYS


def _refuse(where: Path, form: str, source: Path, script: str) -> NoReturn:
    raise BadInput(
        where=str(where),
        expected="one label, or one set of them, for each picture",
        got=f"{form}'s annotations of objects in pictures",
        do="Write a table of paths and labels beside the pictures: "
        f"python -c {shlex.quote(script)} {shlex.quote(str(source))} > labels.csv; then --reader.path labels.csv "
        "--reader.image path --reader.target labels, or with one label a picture without the last.",
    )
