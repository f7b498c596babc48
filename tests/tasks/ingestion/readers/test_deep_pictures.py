"""Readers of pictures tell all of their samples by how many bits they are read."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tasks.dataset.payload import payload_of
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.image_folder import ImageFolder


def test_a_folder_and_a_table_of_deep_pictures_keep_their_bits(read, tmp_path):
    for index, largest in enumerate([200, 300, 4000, 250] * 2):
        path = tmp_path / "data" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 7), largest + index, np.uint16)).save(path)
    rows = [f"{path.relative_to(tmp_path / 'data')},{path.parent.name}" for path in (tmp_path / "data").rglob("*.png")]
    (tmp_path / "data" / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    for reader in (ImageFolder(path=tmp_path / "data"), Csv(path=tmp_path / "data" / "t.csv", image="path")):
        samples = read(reader).artefact
        assert payload_of(samples).bits == 12
        assert any("pictures of 16 bits are read as of 12" in note for note in samples.facts["notes"])
