"""What a summary says of text: how it is read, and what serves a target that has no classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def reading_lines(payload: dict[str, Any]) -> list[str]:
    """How columns become the text that a network reads, where there is more to it than one column."""
    tokens = payload.get("tokens") or {}
    chat, joined = tokens.get("chat"), tokens.get("joined")
    if joined:
        return [f"{', '.join(payload['columns'][:joined])} are read as one text, with an empty line between"]
    if not chat:
        return []
    template = "a plain template (role: content)" if chat["template"] == "plain" else "the tokenizer's chat template"
    return [
        f"conversations from {', '.join(chat['columns'])} (format {chat['format']}), by {template}; the loss is over "
        "the assistant's answers"
    ]


def serving_lines(target: dict[str, Any] | None, config: Path) -> list[str]:
    """What answers and judges responses: most defaults cannot.

    Args:
        target: of the samples; None is of classes.
        config: the run's own, as it is recorded.
    """
    if (target or {}).get("kind") != "response" or not config.is_file():
        return []
    said = yaml.safe_load(config.read_text(encoding="utf-8"))
    detectors = " and ".join(each["kind"] for each in said["detectors"])
    return [
        f"target response is served by model {said['model']['kind']}, gradient {said['gradient']['kind']}, detectors "
        f"{detectors}, budget {said['budget']['kind']}; where none is named, these are chosen for it"
    ]
