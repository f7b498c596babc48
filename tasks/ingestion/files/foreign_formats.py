"""Formats that no reader reads: what each of them is, and the command that makes of it one that is read."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.ingestion.files.picture_files import PICTURES

_PANDAS = (
    """python -c "import pandas; pandas.read_{reader}('{name}').to_csv('{stem}.csv', index=False)"; """
    "then name {stem}.csv"
)
_ARRAYS = "numpy.savez('{stem}.npz', x=x, y=y)"
_ARFF = (
    """python -c "import pandas; from scipy.io.arff import loadarff; pandas.DataFrame(loadarff('{name}')[0])"""
    """.map(lambda cell: cell.decode() if isinstance(cell, bytes) else cell).to_csv('{stem}.csv', index=False)"; """
    "then name {stem}.csv"
)
_SVMLIGHT = (
    """python -c "import numpy; from sklearn.datasets import load_svmlight_file as load; x, y = load('{name}'); """
    """numpy.savez('{stem}.npz', x=x.toarray(), y=y.astype(int))"; then name {stem}.npz"""
)
_FASTTEXT = (
    """python -c "import json; [print(json.dumps(dict(label=label.removeprefix('__label__'), text=text.strip()))) """
    """for label, _, text in (line.partition(' ') for line in open('{name}'))]" > {stem}.jsonl; """
    "then name {stem}.jsonl, with --reader.text text"
)
_WAYS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "a pickle, which is code that runs when it is read",
        (".pkl", ".pickle", ".p", ".joblib", ".pt", ".pth", ".ckpt", ".pck"),
        f"Open it where you trust it, and write what is in it: a table by table.to_parquet('{{stem}}.parquet'), "
        f"arrays by {_ARRAYS}.",
    ),
    ("one NumPy array", (".npy",), f"Write inputs and labels together: {_ARRAYS}."),
    ("a MATLAB file", (".mat",), f"arrays = scipy.io.loadmat('{{name}}') has its arrays; write them by {_ARRAYS}."),
    (
        "an HDF5 file",
        (".h5", ".hdf5", ".hdf", ".he5", ".nc"),
        f"file = h5py.File('{{name}}') has its arrays, file['…'][:] one of them; write them by {_ARRAYS}.",
    ),
    (
        "TensorFlow's records",
        (".tfrecord", ".tfrecords", ".record"),
        "Write the pictures into a folder for each class, or rows as Parquet, where TensorFlow is installed.",
    ),
    ("Weka's ARFF", (".arff",), _ARFF),
    ("the format of LIBSVM", (".svm", ".libsvm", ".svmlight"), _SVMLIGHT),
    ("Stata's", (".dta",), _PANDAS.replace("{reader}", "stata")),
    ("SPSS's", (".sav", ".zsav"), _PANDAS.replace("{reader}", "spss")),
    ("SAS's", (".sas7bdat", ".xpt"), _PANDAS.replace("{reader}", "sas")),
    ("ORC", (".orc",), _PANDAS.replace("{reader}", "orc")),
    ("Avro", (".avro",), "Write it as Parquet, by what has written it."),
    ("XML", (".xml",), _PANDAS.replace("{reader}", "xml")),
    (
        "R's",
        (".rds",),
        """Rscript -e "write.csv(readRDS('{name}'), '{stem}.csv', row.names=FALSE)"; then name {stem}.csv""",
    ),
    ("R's", (".rda", ".rdata"), "load('{name}') in R, and write.csv(TABLE, '{stem}.csv', row.names=FALSE)."),
    (
        "a SQLite database",
        (".db", ".sqlite", ".sqlite3"),
        "sqlite3 -header -csv {name} 'SELECT * FROM TABLE' > {stem}.csv; then name {stem}.csv",
    ),
    (
        "a DuckDB database",
        (".duckdb",),
        "duckdb {name} \"COPY (FROM TABLE) TO '{stem}.parquet'\"; then name {stem}.parquet",
    ),
    (
        "an archive",
        (".tar", ".tgz", ".tbz2", ".txz"),
        "Unpack it and name the folder: mkdir {stem} && tar -xf {name} -C {stem}; then name {stem}. Of a WebDataset "
        "write a table of the pictures' paths and what their .cls or .json say.",
    ),
    ("an archive", (".7z", ".rar"), "Unpack it, and name the folder."),
    (
        "a zip archive of several files",
        (".zip",),
        "Unpack it and name the folder: unzip {name} -d {stem}; then name {stem}",
    ),
    (
        "labels of words, as taggers have them",
        (".conll", ".conllu", ".iob", ".bio", ".ann"),
        "A sample has one label here, or a set: write a row for each sentence, or for each word with the words around.",
    ),
    ("a document", (".pdf", ".docx", ".doc", ".rtf", ".odt", ".html", ".md"), "Write its table as CSV."),
    ("a sheet of another program", (".numbers", ".gsheet"), "Save it as CSV or .xlsx."),
    ("one picture", PICTURES, "Name the folder of pictures, or the table that says what they are."),
)
_TEXT_FOLDERS = (
    """python -c "import json, pathlib, sys; [print(json.dumps(dict(text=p.read_text(errors='replace'), """
    """label=p.parent.name, path=str(p)))) for p in pathlib.Path(sys.argv[1]).rglob('*{suffix}') if p.is_file()]" """
    "{root} > rows.jsonl; then name rows.jsonl, with --reader.text text. Where train/ and test/ stand above the "
    "classes, write one file of each: train.jsonl and test.jsonl in a folder."
)
_SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".mp4", ".avi", ".mov", ".mkv", ".webm")
_TEXTS = (".txt", ".text", ".md")
_PLAIN = (".txt", ".data", ".dat", ".text", ".asc", ".out", "")
_HEAD = 4096
_TYPED = re.compile(r"\w[\w.-]*")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_IDX = re.compile(rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x04]")
_TAGGED = re.compile(r"\S+([ \t]\S+){0,8}[ \t](O|[BIES]-\S+)")


def typed_name(name: str) -> str:
    """A file's name as it may stand in a command that is copied: one that a shell or Python would read is left open."""
    return name if _TYPED.fullmatch(name) else "FILE"


def way_of(files: Sequence[Path]) -> tuple[str, str] | None:
    """What files are that no reader reads, and what to do; None where that is not known.

    Args:
        files: of one source.
    """
    suffixes = Counter(_suffix(file) for file in files)
    for suffix, _ in suffixes.most_common():
        file = min(file for file in files if _suffix(file) == suffix)
        if (way := _of_file(file, suffix, files)) is not None:
            what, do = way
            name = typed_name(file.name)
            return what, do.replace("{name}", name).replace("{stem}", name.split(".")[0])
    return None


def way_of_folders(root: Path, files: Sequence[Path]) -> tuple[str, str] | None:
    """The same of files in folders of classes that are no pictures; None where they may be."""
    inner = [file for file in files if file.parent != root]
    if not inner or 2 * len(inner) < len(files):
        return None
    suffix, _ = Counter(map(_suffix, inner)).most_common(1)[0]
    if suffix in _SOUNDS:
        return "sounds or films in folders", "Write a table of their embeddings, with a label and the path of each."
    if suffix not in _TEXTS or not _is_text(_head(min(file for file in inner if _suffix(file) == suffix))):
        return None
    return "texts in folders", _TEXT_FOLDERS.replace("{root}", shlex.quote(str(root))).replace("{suffix}", suffix)


def _is_text(head: bytes) -> bool:
    return bool(head) and b"\0" not in head and not _PICKLE.match(head)


def _of_file(file: Path, suffix: str, files: Sequence[Path]) -> tuple[str, str] | None:
    head = _head(file)
    if _IDX.match(head) or re.search(r"-idx\d-ubyte", file.name):
        return "IDX, the format of MNIST", " ".join(_idx_options(files))
    if suffix in _PLAIN:
        return _of_plain(head)
    return next(((what, do) for what, suffixes, do in _WAYS if suffix in suffixes), None)


def _of_plain(head: bytes) -> tuple[str, str] | None:
    """Of a file whose name says nothing."""
    if _PICKLE.match(head):
        return _WAYS[0][0], _WAYS[0][2]
    try:
        text = head.decode(errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all(line.startswith("__label__") for line in lines[:-1] or lines):
        return "fastText's", _FASTTEXT
    if lines and sum(bool(_TAGGED.fullmatch(line)) for line in lines) * 2 > len(lines):
        return next((what, do) for what, suffixes, do in _WAYS if ".conll" in suffixes)
    if not lines or "\0" in text:
        return None
    blanks = not any(mark in lines[0] for mark in ",;\t|") and len(lines[0].split()) > 1
    return "text", "If it is a table: --reader.kind csv" + blanks * " --reader.delimiter ' '" + (
        "; if its first line names no columns, --reader.header false as well."
    )


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""


def _suffix(file: Path) -> str:
    """In lower case; of a packed archive its own: what is in ``a.tar.gz`` is an archive."""
    inner = Path(file.stem).suffix.lower()
    return inner if inner == ".tar" else file.suffix.lower()


def _idx_options(files: Sequence[Path]) -> Iterator[str]:
    """The options that name the files of a set of digits, as far as their names tell."""
    yield "--reader.kind idx"
    names = sorted(files)
    test = [file for file in names if file.name.startswith(("t10k", "test"))]
    for option, group in (("", [file for file in names if file not in test]), ("test-", test)):
        for what in ("images", "labels"):
            file = next((file for file in group if what in file.name), None)
            if file is not None or not option:
                yield f"--reader.{option}{what} {shlex.quote(str(file)) if file else what.upper()}"
