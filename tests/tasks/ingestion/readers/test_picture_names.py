"""Tables that name pictures by ids, or as another machine does: the pictures are read where there is no doubt."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tasks.core.errors import BadInput
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv

N = 8


def _pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), 9 * i, np.uint8)).save(folder / name)


def _table(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("table", "folder"), [("train.csv", "train"), ("trainLabels.csv", "train"), ("labels.csv", "images")]
)
def test_ids_without_a_suffix_are_the_pictures_of_a_table_of_nothing_else(tmp_path, table, folder):
    _pictures(tmp_path / folder, [f"{i}.png" for i in range(N)])
    path = _table(tmp_path / table, "id,label", [f"{i},{'ab'[i % 2]}" for i in range(N)])
    seen = inspect(Csv(path=path))
    assert "inputs are the pictures of the column 'id' (--reader.features names others)" in seen.notes
    assert (seen.refusal, seen.rejects, sum(seen.labels.values())) == (None, {}, N)


def test_ids_beside_other_columns_leave_those_the_inputs_and_are_told(tmp_path):
    _pictures(tmp_path / "images", [f"{i}.png" for i in range(N)])
    path = _table(tmp_path / "leaves.csv", "id,width,label", [f"{i},{i * i},{'ab'[i % 2]}" for i in range(N)])
    seen = inspect(Csv(path=path))
    assert {column.name for column in seen.columns if column.is_input} == {"width"}
    assert any(note.endswith("--reader.image id reads them") for note in seen.notes)


def test_numbers_that_are_no_ids_are_no_pictures(tmp_path):
    _pictures(tmp_path / "images", [f"{i}.png" for i in range(N)])
    path = _table(tmp_path / "ages.csv", "age,label", [f"{i % 5},{'ab'[i % 2]}" for i in range(N)])
    assert [column.name for column in inspect(Csv(path=path)).columns if column.is_input] == ["age"]


@pytest.mark.parametrize("start", ["C:\\Users\\ann\\photos\\", "/home/ann/photos/", "D:/"])
def test_paths_of_another_machine_are_read_by_their_ends_and_it_is_told(read, tmp_path, start):
    _pictures(tmp_path / "set" / "img", [f"{i}.png" for i in range(N)])
    slash = "\\" if "\\" in start else "/"
    rows = [f"{start}img{slash}{i}.png,{'ab'[i % 2]}" for i in range(N)]
    reader = Csv(path=_table(tmp_path / "set" / "labels.csv", "path,label", rows), test_share=0)
    (note,) = [note for note in inspect(reader).notes if "another place" in note]
    assert note.endswith("img/0.png")
    data = read(reader)
    assert data.column("image") == [(tmp_path / "set" / "img" / f"{i}.png").read_bytes() for i in range(N)]


def test_a_picture_of_a_folder_that_is_not_here_is_no_other_one_of_its_name(read, tmp_path):
    """Half of the rows carried another sample's picture."""
    _pictures(tmp_path / "train", [f"{i}.png" for i in range(N)])
    rows = [f"/home/ann/data/{split}/{i}.png,{'ab'[i % 2]}" for i in range(N) for split in ("train", "test")]
    path = _table(tmp_path / "labels.csv", "path,label", rows)
    data = read(Csv(path=path, test_share=0, image="path"), max_rejects=1.0)
    assert data.column("image") == [(tmp_path / "train" / f"{i}.png").read_bytes() for i in range(N)]


def test_no_end_of_a_path_leads_out_of_the_folder(tmp_path):
    _pictures(tmp_path, [f"{i}.png" for i in range(N)])
    (tmp_path / "set").mkdir()
    rows = [f"/home/ann/set/../{i}.png,{'ab'[i % 2]}" for i in range(N)]
    seen = inspect(Csv(path=_table(tmp_path / "set" / "labels.csv", "path,label", rows)))
    assert not any(column.is_input for column in seen.columns)


def test_what_to_type_is_told_where_labels_or_a_header_are_otherwise(tmp_path):
    rows = [f"{i / 7},{i % 2},{1 - i % 2}" for i in range(N)]
    path = _table(tmp_path / "a.csv", "x,rain,sun", rows)
    with pytest.raises(BadInput, match=r"--reader\.target labels"):
        inspect(Csv(path=path, label="rain,sun"))
    bare = _table(tmp_path / "b.csv", rows[1], rows[2:])
    with pytest.raises(BadInput, match=r"--reader\.header false"):
        inspect(Csv(path=bare, label="sun"))
