"""Fine-tuning data as people keep it becomes prompts and responses, and what cannot is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadInput
from tasks.dataset.chat_template import ANSWER_SEPARATOR
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load
from tasks.dataset.tokenizer import Tokens
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet

N = 20


def user(i: int) -> dict[str, str]:
    return {"role": "user", "content": f"How many legs has a spider? ({i})"}


EIGHT = {"role": "assistant", "content": "Eight."}
BRIEF = {"role": "system", "content": "Be brief."}


def jsonl(path: Path, rows: list[dict[str, Any]], **options: Any) -> Jsonl:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(**{"path": path, "target": "response", "test_share": 0} | options)


def rendered(ingested: Any) -> list[str]:
    """What is read of each sample, what is learned between angle quotes."""
    tokens = payload_of(ingested.artefact).tokens
    assert tokens is not None
    columns = [ingested.column(name) for name in payload_of(ingested.artefact).columns]
    return [
        "".join(f"«{part.text}»" if part.is_response else part.text for part in segments)
        for segments in tokens._segments(tokens._as_one(columns))
    ]


FORMATS = {
    "OpenAI": lambda i: {"messages": [user(i), EIGHT]},
    "ShareGPT": lambda i: {
        "conversations": [{"from": "human", "value": user(i)["content"]}, {"from": "gpt", "value": "Eight."}]
    },
    "TRL": lambda i: {"prompt": [user(i)], "completion": [EIGHT]},
    "TRL, text and turns": lambda i: {"prompt": user(i)["content"], "completion": [EIGHT]},
    "DPO": lambda i: {"prompt": [user(i)], "chosen": [EIGHT], "rejected": [EIGHT | {"content": "Six."}]},
    "DPO, whole": lambda i: {"chosen": [user(i), EIGHT], "rejected": [user(i), EIGHT | {"content": "Six."}]},
    "Alpaca": lambda i: {"instruction": user(i)["content"], "input": "", "output": "Eight."},
    "Dolly": lambda i: {"instruction": user(i)["content"], "context": "", "response": "Eight.", "category": "qa"},
    "parts": lambda i: {
        "messages": [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in (user(i), EIGHT)]
    },
}


@pytest.mark.parametrize("case", FORMATS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_every_format_is_recognised_and_says_the_same(read, tmp_path, case, kind):
    rows = [FORMATS[case](i) for i in range(N)]
    reader = jsonl(tmp_path / "a.jsonl", rows)
    if kind == "parquet":
        if case == "TRL, text and turns":
            pytest.skip("one column of Parquet has one type, so it is as the others")
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        reader = Parquet(path=tmp_path / "a.parquet", target="response", test_share=0)
    ingested = read(reader)
    assert rendered(ingested) == [f"user: {user(i)['content']}\nassistant: «Eight.»" for i in range(N)]
    assert ingested.column("label") == ["Eight."] * N
    assert set(rows[0]) <= {*ingested.samples.schema.names}  # a version keeps the columns as they came
    plain = read(jsonl(tmp_path / "b.jsonl", [FORMATS["OpenAI"](i) for i in range(N)]))
    assert ingested.column("sample_id") == plain.column("sample_id")
    unused = {row["column"] for row in ingested.artefact.facts["unused"]}
    assert unused == {"rejected", "category"} & set(rows[0])


def test_the_loss_is_over_every_turn_of_the_assistant(read, tmp_path):
    rows = [{"messages": [BRIEF, user(i), EIGHT, {"role": "user", "content": "Sure?"}, EIGHT]} for i in range(N)]
    ingested = read(jsonl(tmp_path / "a.jsonl", rows))
    head = "system: Be brief.\nuser: How many legs has a spider? (0)\nassistant: "
    assert rendered(ingested)[0] == head + "«Eight.»\nuser: Sure?\nassistant: «Eight.»"
    assert set(ingested.column("label")) == {f"Eight.{ANSWER_SEPARATOR}Eight."}
    inputs = load(ingested.run, ingested.artefact, "train")
    answer = 2 * [*Tokens.of("words", 32_768, between="")._plain(["Eight."])[0], 2]
    assert [int(i) for i, on in zip(*inputs.x[0].tolist(), strict=True) if on] == answer


def test_a_source_of_tests_and_later_batches_are_read_alike(read, tmp_path, monkeypatch):
    rows = [{"messages": [user(i), EIGHT]} for i in range(N)]
    monkeypatch.setattr("tasks.ingestion.readers.jsonl.CHUNK_ROWS", 7)
    jsonl(tmp_path / "test.jsonl", [{"messages": [user(-1), EIGHT]}, {"messages": [user(-2)]}])
    ingested = read(jsonl(tmp_path / "a.jsonl", rows, test_path=tmp_path / "test.jsonl"))
    assert sorted(rendered(ingested)) == sorted(
        f"user: {user(i)['content']}\nassistant: «Eight.»" for i in (-1, *range(N))
    )
    assert ingested.column("split").count("test") == 1
    assert ingested.reasons == {1: "no assistant turn"}
    (tmp_path / "test.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(BadInput, match="expected columns messages, as the first file has"):
        read(jsonl(tmp_path / "a.jsonl", rows, test_path=tmp_path / "test.jsonl"))


def test_answers_of_a_prompt_and_of_no_weight_are_read_and_not_learned(read, tmp_path):
    turns = [user(0), EIGHT | {"weight": 0}, {"role": "user", "content": "Sure?"}, EIGHT]
    asked = read(jsonl(tmp_path / "a.jsonl", [{"messages": turns}] * N))
    given = read(jsonl(tmp_path / "b.jsonl", [{"prompt": turns[:3], "completion": turns[3:]}] * N))
    assert rendered(asked) == rendered(given)
    assert rendered(asked)[0].count("«Eight.»") == 1
    chosen = {"chosen": turns, "rejected": [*turns[:3], EIGHT | {"content": "No."}]}
    assert rendered(read(jsonl(tmp_path / "c.jsonl", [chosen] * N))) == rendered(asked)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([user(0)], "no assistant turn"),
        ([], "no assistant turn"),
        (None, "no assistant turn"),
        ([user(0), EIGHT | {"role": "wizard"}], "unknown role"),
        ([user(0), {"role": "assistant", "content": None, "tool_calls": []}], "turn without text"),
        ([user(0), {"role": "assistant", "content": [{"type": "image_url"}]}], "turn without text"),
        ([user(0), EIGHT | {"content": f"a{ANSWER_SEPARATOR}b"}], "separator within an answer"),
        (["hello", "there"], "malformed conversation"),
        ({"role": "user"}, "malformed conversation"),
    ],
)
def test_a_row_that_is_no_conversation_is_rejected_with_its_reason(read, tmp_path, turns, reason):
    rows = [{"messages": [user(i), EIGHT]} for i in range(N)]
    rows[3]["messages"] = turns
    ingested = read(jsonl(tmp_path / "a.jsonl", rows))
    assert ingested.reasons == {3: reason}
    assert len(ingested.column("label")) == N - 1


def test_prompts_and_completions_of_text_are_read_as_they_stand(read, tmp_path):
    rows = [{"prompt": f"[INST] {i} [/INST]", "completion": " yes\n"} for i in range(N)]
    ingested = read(jsonl(tmp_path / "a.jsonl", rows))
    assert rendered(ingested)[0] == "[INST] 0 [/INST]\n« yes\n»"
    named = read(jsonl(tmp_path / "a.jsonl", rows, text="prompt", label="completion"))
    assert named.column("sample_id") == ingested.column("sample_id")
    pairs = [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no"} for i in range(N)]
    preferred = read(jsonl(tmp_path / "b.jsonl", pairs))
    assert set(preferred.column("label")) == {"yes"}
    assert preferred.artefact.facts["unused"] == [{"column": "rejected", "reason": "not the answer that is learned"}]


def test_columns_that_are_named_are_read_as_conversations_where_they_are(read, tmp_path):
    rows = [{"talk": [user(i), EIGHT], "ask": [user(i)], "say": [EIGHT]} for i in range(N)]
    whole = read(jsonl(tmp_path / "a.jsonl", rows, text="talk"))
    parts = read(jsonl(tmp_path / "a.jsonl", rows, text="ask", label="say"))
    assert rendered(whole) == rendered(parts)


def test_several_columns_are_read_as_one_text_and_empty_ones_leave_no_trace(read, tmp_path):
    rows = [{"a": f"sum {i}", "b": "" if i % 2 else "shortly", "label": "x" if i % 3 else "y"} for i in range(N)]
    rows[4] |= {"a": " ", "b": None}
    ingested = read(jsonl(tmp_path / "a.jsonl", rows, text=["a", "b"], target="class"))
    assert ingested.reasons == {4: "missing value"}
    payload = payload_of(ingested.artefact)
    assert payload.columns == ("a", "b")
    assert payload.tokens is not None
    one = payload.tokens.encode([["sum 0"], ["shortly"]], (128,))
    assert (load(ingested.run, ingested.artefact, "train").x[0].numpy() == one[0]).all()
    assert (one == Tokens.of("words", 32_768).encode([["sum 0\n\nshortly"]], (128,))).all()
    answered = read(jsonl(tmp_path / "b.jsonl", rows, text=["a", "b"], label="label"))
    assert rendered(answered)[:2] == ["sum 0\n\nshortly\n«y»", "sum 1\n«x»"]


def test_a_column_whose_name_has_commas_is_one_however_the_command_line_parts_it(read, tmp_path):
    rows = [{"What, if any?": f"none {i}", "label": "ab"[i % 2]} for i in range(N)]
    for name in ("What, if any?", ["What", "if any?"], ["What", " if any?"]):
        ingested = read(jsonl(tmp_path / "a.jsonl", rows, text=name, target="class"))
        assert payload_of(ingested.artefact).columns == ("What, if any?",)
        assert rendered(read(jsonl(tmp_path / "a.jsonl", rows, text=name, label="label")))[0] == "none 0\n«a»"


def test_a_csv_of_instructions_is_read_alike(read, tmp_path):
    lines = ["instruction,input,output", *(f"add {i},,{i}" for i in range(N))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    ingested = read(Csv(path=tmp_path / "a.csv", target="response", test_share=0))
    assert rendered(ingested)[1] == "user: add 1\nassistant: «1»"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "expected prompts, or columns of one of the formats messages or conversations"),
        (
            {"text": "talk", "target": "class", "label": "kind"},
            "column 'talk': expected one value a row",
        ),
        (
            {"text": "meta", "target": "class", "label": "kind"},
            "column 'meta': expected one value a row",
        ),
        ({"text": ["kind", "talk"], "label": "kind2"}, "column 'talk': expected text, got lists or mappings"),
        ({"text": "kind"}, "expected a column 'label'"),
        ({"text": "tlak"}, "Did you mean --reader.text talk"),
    ],
)
def test_what_is_no_text_is_refused_and_never_read_as_json(read, tmp_path, options, words):
    rows = [{"talk": [user(i), EIGHT], "meta": {"n": i}, "kind": "ab"[i % 2], "kind2": "c"} for i in range(N)]
    with pytest.raises(BadInput, match=words):
        read(jsonl(tmp_path / "a.jsonl", rows, **options))


def test_a_label_that_is_no_part_of_the_format_is_refused(read, tmp_path):
    rows = [{"messages": [user(i), EIGHT], "answer": "x"} for i in range(N)]
    with pytest.raises(BadInput, match=r"and --reader\.label answer"):
        read(jsonl(tmp_path / "a.jsonl", rows, label="answer"))
    assert read(jsonl(tmp_path / "a.jsonl", rows)).column("label") == ["Eight."] * N


@pytest.mark.parametrize("options", [{"text": ["a", "b"], "text_b": "c"}, {"features": ["a"]}, {"text_b": "b"}])
def test_options_that_do_not_go_together_are_refused(tmp_path, options):
    with pytest.raises(ValidationError, match="expected"):
        Jsonl(**{"path": tmp_path, "target": "response"} | options)
