"""A summary says how text is read, and what serves a target that has no classes."""

from __future__ import annotations

from tasks.config import CleanConfig
from tasks.report.text_lines import reading_lines, serving_lines


def test_conversations_and_joined_columns_are_told():
    chat = {"template": "plain", "format": "messages", "columns": ["messages"]}
    (line,) = reading_lines({"columns": ["dialogue", "label"], "tokens": {"chat": chat}})
    assert line.startswith("conversations from messages (format messages), by a plain template")
    (line,) = reading_lines({"columns": ["a", "b", "label"], "tokens": {"joined": 2}})
    assert line.startswith("a, b are read as one text")
    assert reading_lines({"columns": ["x"]}) == reading_lines({"columns": ["t"], "tokens": {}}) == []


def test_what_serves_a_response_is_told(tmp_path):
    config = CleanConfig.model_validate({"reader": {"kind": "jsonl", "path": "a.jsonl", "target": "response"}})
    (tmp_path / "config.yaml").write_text(config.yaml())
    (line,) = serving_lines({"kind": "response"}, tmp_path / "config.yaml")
    assert "model causal_lm, gradient lora, detectors l2 and iforest, budget share" in line
    assert serving_lines(None, tmp_path / "config.yaml") == serving_lines({"kind": "response"}, tmp_path / "none") == []
