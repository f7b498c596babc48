"""Fine-tuning data as people keep it, one row at a time: turns, and which of them are learned.

    messages          a list of role and content (OpenAI), or of from and value (ShareGPT)
    prompt, completion    text, or lists of such turns (TRL)
    chosen, rejected      the same with an answer that was preferred, which is learned, and one that was not (TRL's DPO)
    instruction, output   with or without an input between (Alpaca; Dolly calls them context and response)

A conversation becomes what tasks/dataset/chat_template.py renders: its turns without the answers, and the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.dataset.chat_template import ANSWER_SEPARATOR

_ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "chatgpt", "bard", "bing", "model"),
    "tool": ("tool", "function", "observation", "ipython"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}


class Unfit(Exception):
    """A row that is no conversation, with the reason to reject it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Turn(NamedTuple):
    """What one side says."""

    role: str
    content: str
    is_learned: bool = False


Row = dict[str, Any]


@dataclass(frozen=True)
class ChatFormat:
    """A way to keep conversations in columns."""

    name: str
    columns: dict[str, str]
    """The source's column for each part of the format."""
    turns_of: Callable[[Row], list[Turn]]
    """Turns of a row, by the names of the parts."""
    ignored: tuple[str, ...] = ()
    """Parts that are not learned."""

    @property
    def answer(self) -> str | None:
        """The column that holds answers alone, if there is one."""
        parts = ("completion", "chosen", "output")
        return next((self.columns[part] for part in parts if part in self.columns), None)

    def dialogue(self, row: Row) -> tuple[str, str]:
        """(the turns without what is learned, as JSON; what is learned, answer by answer).

        Raises:
            Unfit: the row is no conversation, or nothing in it is learned.
        """
        turns = self.turns_of({part: row[column] for part, column in self.columns.items()})
        answers = [turn.content for turn in turns if turn.is_learned]
        if not answers:
            raise Unfit("no assistant turn", f"roles {', '.join(turn.role for turn in turns) or 'none'}")
        if any(ANSWER_SEPARATOR in answer for answer in answers):
            raise Unfit("separator within an answer", f"{ANSWER_SEPARATOR} parts the answers of a conversation")
        said = [
            {"role": turn.role} | ({} if turn.is_learned else {"content": turn.content})  # in this order
            for turn in turns
        ]
        return json.dumps(said, ensure_ascii=False), ANSWER_SEPARATOR.join(answers)


def messages(column: str) -> ChatFormat:
    """Whole conversations in one column; every turn of the assistant is learned, but those of weight 0 (OpenAI)."""
    return ChatFormat("messages", {"messages": column}, lambda row: _turns(row["messages"], "assistant", learned=True))


def completions(prompt: str, completion: str) -> ChatFormat:
    """A prompt and what completes it; turns of the assistant in the prompt are not learned."""

    def turns(row: Row) -> list[Turn]:
        return _turns(row["prompt"], "user") + _turns(row["completion"], "assistant", learned=True)

    return ChatFormat("prompt and completion", {"prompt": prompt, "completion": completion}, turns)


def preferences(prompt: str | None, chosen: str, rejected: str | None) -> ChatFormat:
    """An answer that was preferred to another. Turns that both begin with are part of the prompt."""

    def turns(row: Row) -> list[Turn]:
        asked = _turns(row["prompt"], "user") if prompt else []
        learned = _turns(row["chosen"], "assistant", learned=True)
        other = _turns(row["rejected"], "assistant", learned=True) if rejected else []
        shared = next((i for i, (a, b) in enumerate(zip(learned, other, strict=False)) if a != b), len(other))
        shared = min(shared, max(0, len(learned) - 1))
        return asked + [turn._replace(is_learned=False) for turn in learned[:shared]] + learned[shared:]

    columns = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    there = {part: column for part, column in columns.items() if column is not None}
    return ChatFormat("chosen and rejected", there, turns, ignored=("rejected",))


def instructions(instruction: str, context: str | None, output: str) -> ChatFormat:
    """An instruction, what it is about, and the answer."""

    def turns(row: Row) -> list[Turn]:
        parts = [_text(row[part]) for part in ("instruction", "input") if row.get(part) is not None]
        question = "\n\n".join(part for part in parts if part.strip())
        answer = _turns(row["output"], "assistant", learned=True)
        return [Turn("user", question), *answer] if question else []

    columns = {"instruction": instruction, "input": context, "output": output}
    there = {part: column for part, column in columns.items() if column is not None}
    return ChatFormat("instruction and output", there, turns)


def recognise(names: Sequence[str], nested: Callable[[str], bool]) -> ChatFormat | None:
    """The format whose columns are there, by their usual names; None where there is none.

    Args:
        names: of the source's columns.
        nested: whether a column holds lists or mappings.
    """
    present = set(names)
    for name in ("messages", "conversations", "conversation"):
        if name in present and nested(name):
            return messages(name)
    prompt = "prompt" if "prompt" in present else None
    if {"chosen", "rejected"} <= present and (prompt or nested("chosen")):
        return preferences(prompt, "chosen", "rejected")
    for answer in ("completion", "response", "output"):
        if prompt and answer in present:
            return completions(prompt, answer)
        if "instruction" in present and answer in present:
            context = next((name for name in ("input", "context") if name in present), None)
            return instructions("instruction", context, answer)
    return None


def _turns(value: Any, role: str, *, learned: bool = False) -> list[Turn]:
    """A list of turns; a text is one turn of ``role``."""
    if isinstance(value, str):
        return [Turn(role, value, learned and role == "assistant")] if value.strip() else []
    if value is None:
        return []
    return [_turn(each, learned=learned) for each in _listed(value)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict) and value and all(isinstance(part, list) for part in value.values()):
        # datasets keeps a list of mappings as a mapping of lists.
        return [dict(zip(value, turn, strict=False)) for turn in zip(*value.values(), strict=False)]
    if not isinstance(value, list):
        raise Unfit("malformed conversation", f"a {type(value).__name__}, not a list of turns")
    return value


def _turn(value: Any, *, learned: bool) -> Turn:
    if not isinstance(value, dict):
        raise Unfit("malformed conversation", f"a turn that is a {type(value).__name__}, no role and content")
    keys = ("role", "content") if value.get("role") is not None else ("from", "value")
    name = value.get(keys[0])
    role = _ROLE_OF.get(str(name).strip().lower())
    if role is None:
        raise Unfit("unknown role", f"{str(name)[:40]!r} is none of {', '.join(_ROLE_OF)}")
    content = _text(value.get(keys[1]))
    return Turn(role, content, learned and role == "assistant" and value.get("weight") != 0)


def _text(content: Any) -> str:
    """Text, or the text of OpenAI's parts."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise Unfit("turn without text", f"its content is {kind}")
    return content
