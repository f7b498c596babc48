"""What no reader reads is refused by what it is, with a command that makes of it what one reads."""

from __future__ import annotations

import json
import pickle
import re
import struct

import numpy as np
import pytest

from tasks.core.errors import BadConfig
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv

ARFF = "@relation r\n@attribute size numeric\n@attribute label {a,b}\n@data\n" + "1.5,a\n2.5,b\n" * 9
FASTTEXT = "__label__a good day\n__label__b bad night\n" * 9
CONLL = "EU B-ORG\nrejects O\nGerman B-MISC\ncall O\n\n"


def _refusal(path, content=b""):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadConfig) as error:
        kind_of_source(path)
    return error.value


@pytest.mark.parametrize(
    ("name", "what", "way"),
    [
        ("a.h5", "HDF5", "numpy.savez('a.npz', x=x, y=y)"),
        ("a.mat", "MATLAB", "scipy.io.loadmat('a.mat')"),
        ("a.pkl", "pickle", "a.parquet"),
        ("a.npy", "one NumPy array", "numpy.savez"),
        ("a.svm", "LIBSVM", "load_svmlight_file"),
        ("a.sav", "SPSS", "read_spss('a.sav')"),
        ("a.dta", "Stata", "then name a.csv"),
        ("a.rds", "R's", "readRDS('a.rds')"),
        ("a.tar.gz", "an archive", "tar -xf a.tar.gz -C a"),
        ("a.tfrecord", "TensorFlow", "a folder for each class"),
        ("a.sqlite", "SQLite", "sqlite3 -header -csv a.sqlite"),
        ("a.JPG", "one picture", "Name the folder"),
    ],
)
def test_a_known_suffix_is_refused_by_its_name_and_with_a_way(tmp_path, name, what, way):
    refusal = _refusal(tmp_path / name)
    assert what in refusal.got
    assert way in refusal.do


@pytest.mark.parametrize(
    ("content", "what", "way"),
    [
        (CONLL, "labels of words", "a row for each sentence"),
        (FASTTEXT, "fastText", "a.jsonl"),
        ("x\ty\tlabel\n1\t2\ta\n", "text", "--reader.kind csv;"),
        ("5.1 3.5 a\n4.9 3 b\n", "text", "--reader.kind csv --reader.delimiter ' ';"),
        (pickle.dumps([1]), "a pickle", "where you trust it"),
    ],
)
def test_plain_text_is_told_apart_by_its_first_lines(tmp_path, content, what, way):
    refusal = _refusal(tmp_path / "a.txt", content)
    assert what in refusal.got
    assert way in refusal.do


@pytest.mark.parametrize(
    ("name", "content", "reader"),
    [("a.arff", ARFF, Csv), ("a.txt", FASTTEXT, None)],
)
def test_the_commands_do_what_they_promise(tmp_path, monkeypatch, capsys, name, content, reader):
    (code,) = re.findall(r'python -c "(.*)"', _refusal(tmp_path / name, content).do)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - the message's own command, as its reader types it
    if reader is None:
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert rows[:2] == [{"label": "a", "text": "good day"}, {"label": "b", "text": "bad night"}]
    else:
        seen = inspect(reader(path="a.csv"))
        assert (sorted(seen.labels.values()), seen.refusal) == ([9, 9], None)


def test_a_folder_of_digits_is_refused_with_every_option_as_it_is_typed(tmp_path):
    for start in ("train", "t10k"):
        for kind, array in (("images-idx3", np.zeros((4, 2, 2), np.uint8)), ("labels-idx1", np.zeros(4, np.uint8))):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (tmp_path / f"{start}-{kind}-ubyte").write_bytes(header + array.tobytes())
    with pytest.raises(BadConfig) as error:
        kind_of_source(tmp_path)
    for option, name in (("images", "train-images-idx3"), ("test-labels", "t10k-labels-idx1")):
        assert f"--reader.{option} {tmp_path / name}-ubyte" in error.value.do
    assert error.value.do.startswith("--reader.kind idx --reader.images")


@pytest.mark.parametrize("name", ["a b.h5", "a'); print('x.sav", "$(reboot).tar", "-rf.tar", "a;ls.sqlite"])
def test_a_name_that_a_shell_would_read_stands_in_no_command(tmp_path, name):
    """What is told to be typed is copied; a file's name may be somebody else's."""
    do = _refusal(tmp_path / name).do
    assert "FILE" in do
    assert name.split(".")[0] not in do
