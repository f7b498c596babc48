"""Columns of text become token ids, and the text itself stays in the samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadConfig, BadInput
from tasks.dataset.payload import Payload, payload_of
from tasks.dataset.samples import load
from tasks.dataset.tokenizer import Tokens
from tasks.ingestion.readers import Noise, Reader
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.text.text_tokens import TextTokens

N = 24
TEXTS = [f"Sentence {i}, with “quotes” and\nümlauts" for i in range(N)]
PAIRS = [f"the answer to {i}" for i in range(N)]
LABELS = ["yes", "no"] * (N // 2)


def _csv(path: Path, **options: object) -> Reader:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("said", "reply", "label"), *zip(TEXTS, PAIRS, LABELS, strict=True)])
    return Csv(path=path, text="said", test_share=0, **options)


def _jsonl(path: Path, **options: object) -> Reader:
    rows = [{"said": a, "reply": b, "label": c} for a, b, c in zip(TEXTS, PAIRS, LABELS, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(path=path, text="said", test_share=0, **options)


def _parquet(path: Path, **options: object) -> Reader:
    pq.write_table(pa.table({"said": pa.array(TEXTS, pa.large_string()), "reply": PAIRS, "label": LABELS}), path)
    return Parquet(path=path, text="said", test_share=0, **options)


def _huggingface(path: Path, **options: object) -> Reader:
    datasets = pytest.importorskip("datasets")
    from tasks.ingestion.readers.huggingface import HuggingFace

    datasets.Dataset.from_dict({"said": TEXTS, "reply": PAIRS, "label": LABELS}).save_to_disk(str(path))
    return HuggingFace(path=path, text="said", test_share=0, **options)


CASES = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "huggingface": _huggingface}


@pytest.fixture
def tokenizer(tmp_path) -> Path:
    """A folder with the tokenizer of another's model: whole words, [CLS] a [SEP] b [SEP]."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.processors import TemplateProcessing

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "sentence", "the", "answer", "to", "with", "and"]
    unknown = {"unk_token": "[UNK]"}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: 5 + i for i, w in enumerate(words)}, **unknown))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 7), ("[SEP]", 8)]
    )
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("case", CASES)
def test_every_table_gives_the_same_samples_with_their_text(case, read, tmp_path):
    ingested = read(CASES[case](tmp_path / "source", tokens={"max_length": 16}))
    other = read(_csv(tmp_path / "other.csv", tokens={"max_length": 16}))
    assert dict(zip(ingested.column("sample_id"), ingested.column("said"), strict=True)) == dict(
        zip(other.column("sample_id"), TEXTS, strict=True)
    )
    assert ingested.column("reply") == PAIRS  # carried along
    inputs = load(ingested.run, ingested.artefact, "train")
    assert inputs.x.shape == (N, 16)
    assert str(inputs.x.dtype) == "torch.int32"
    assert ingested.samples.schema.field("said").type == pa.string()


def test_the_id_is_that_of_the_text_and_not_of_its_tokens(read, tmp_path, tokenizer):
    words = read(_csv(tmp_path / "a.csv"))
    others = read(_csv(tmp_path / "b.csv", tokens={"tokenizer": str(tokenizer), "max_length": 9}))
    pairs = read(_csv(tmp_path / "c.csv", text_b="reply"))
    assert words.column("sample_id") == others.column("sample_id")
    assert not set(words.column("sample_id")) & set(pairs.column("sample_id"))
    assert words.artefact.digest != others.artefact.digest


def test_pairs_are_told_apart_by_where_they_part(read, tmp_path):
    pq.write_table(
        pa.table({"a": ["ab", "a", "x", "y"], "b": ["c", "bc", "p", "q"], "label": ["0", "1"] * 2}), tmp_path / "p"
    )
    ingested = read(Parquet(path=tmp_path / "p", text="a", text_b="b", test_share=0))
    assert len(set(ingested.column("sample_id"))) == 4
    assert not any("-" in name for name in ingested.column("sample_id"))


def test_a_tokenizer_from_a_file_cuts_pads_and_pairs(read, tmp_path, tokenizer):
    ingested = read(_jsonl(tmp_path / "a", text_b="reply", tokens={"tokenizer": str(tokenizer), "max_length": 24}))
    payload = payload_of(ingested.artefact)
    assert payload.tokens is not None
    assert (payload.tokens.vocabulary, payload.tokens.pad) == (15, 5)
    x = load(ingested.run, ingested.artefact, "train").x[0].tolist()
    parting = x[0].index(8)
    assert x[0][:2] == [7, 9]
    assert x[0][parting + 1 : parting + 5] == [10, 11, 12, 6]
    assert x[1][: parting + 1] == [0] * (parting + 1)
    assert x[1][parting + 1 : parting + 6] == [1] * 5
    assert x[0][-1] == 5
    short = payload.tokens.encode([["the answer to the answer"]], (4,))
    assert short.tolist() == [[7, 10, 11, 8]]


@pytest.mark.parametrize("said", [{}, {"pad_token": None}, {"pad_token": "", "eos_token": None}])
def test_a_mark_that_is_not_named_is_looked_for_by_its_usual_name_and_is_not_the_word_none(tokenizer, said):
    file = tokenizer / "tokenizer.json"
    file.write_text(file.read_text().replace('"sentence"', '"None"'))
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(said))
    tokens = Tokens.of(str(tokenizer), 0, between=" ")
    assert (tokens.pad, tokens.end, tokens.start) == (5, 8, 7)


def test_what_is_cut_of_texts_and_pairs_is_counted(tokenizer):
    long, short = "the answer to the answer", "the answer"
    for tokens in (Tokens.of("words", 1000), Tokens.of(str(tokenizer), 0)):
        assert tokens.cut([[long, short]], (6,)) == 1
        assert tokens.cut([[long, short]], (7,)) == 0
        assert tokens.cut([[long, short], [short, short]], (2, 9)) == 1
        assert tokens.cut([[long, short], [short, short]], (2, 10)) == 0


def test_a_changed_tokenizer_is_noticed(read, tmp_path, tokenizer):
    reader = _csv(tmp_path / "a.csv", tokens={"tokenizer": str(tokenizer)})
    before, ingested = reader.fingerprint(), read(reader)
    path = tokenizer / "tokenizer.json"
    path.write_text(path.read_text().replace('"answer"', '"question"'))
    assert reader.fingerprint() != before
    with pytest.raises(BadConfig, match="the tokenizer the samples were ingested with"):
        load(ingested.run, ingested.artefact, "train")


def test_hashed_words_are_cut_from_the_longer_text_first():
    tokens = Tokens.of("words", 1000)
    ids, segments = tokens.encode([["a b c d e f g h"], ["x y"]], (2, 9))[0].tolist()
    assert segments == [0] * 6 + [1] * 3
    assert ids.count(2) == 2
    assert ids[1:5] == tokens.encode([["A B C D"]], (6,))[0].tolist()[1:5]
    assert tokens.encode([[""]], (4,)).tolist() == [[1, 2, 0, 0]]
    assert tokens.encode([[], []], (2, 4)).shape == (0, 2, 4)
    assert tokens.encode([[" ".join(map(str, range(500)))]], (400,))[0, 1:399].min() >= 3


def test_a_row_without_a_word_is_rejected(read, tmp_path):
    texts = ["  ", None, *TEXTS[2:]]
    pq.write_table(pa.table({"said": texts, "label": LABELS}), tmp_path / "a")
    ingested = read(Parquet(path=tmp_path / "a", text="said", test_share=0))
    assert ingested.reasons == {0: "missing value", 1: "missing value"}


def test_noise_by_instance_is_planted_on_text(read, tmp_path):
    reader = _csv(tmp_path / "a.csv", noise=Noise(share=0.25, kind="instance", exact=True))
    ingested = read(reader)
    assert ingested.artefact.facts["planted"] == N // 4
    assert read(reader).artefact.digest == ingested.artefact.digest


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text": "siad"}, "Did you mean --reader.text said?"),
        ({"text": "label"}, "option text: expected each column once, and none that has another role"),
        ({"tokens": TextTokens(tokenizer="no-such-tokenizer")}, "nothing is fetched from a hub"),
    ],
)
def test_what_cannot_be_read_is_refused(read, tmp_path, options, words):
    reader = _csv(tmp_path / "a.csv").model_copy(update=options)
    with pytest.raises((BadInput, BadConfig), match=words):
        read(reader)


@pytest.mark.parametrize(
    "options", [{"features": ["a"]}, {"image": "a"}, {"text_b": "said"}, {"text": None, "text_b": "b"}]
)
def test_one_kind_of_input_is_named(tmp_path, options):
    with pytest.raises(ValidationError, match="expected"):
        Csv(**{"path": tmp_path, "text": "said"} | options)


def test_payloads_without_text_read_as_they_did_before():
    payload = Payload(kind="array", columns=("x",), shape=(2,), dtype="float32")
    assert set(payload.model_dump(mode="json")) == {"kind", "columns", "shape", "dtype", "resize"}
    tokens = Tokens.of("words", 99)
    text = Payload(kind="tokens", columns=("t",), shape=(4,), dtype="int32", tokens=tokens)
    assert Payload.model_validate(json.loads(text.model_dump_json())) == text
    assert np.dtype(text.dtype) == text.blank(2).numpy().dtype
