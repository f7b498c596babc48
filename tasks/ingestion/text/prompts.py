"""Which columns of a source are prompts and responses, and batches with those columns in them.

A reader names its columns of text, or leaves it to the format that is recognised (conversations.py beside this).
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.chat_template import PLAIN, Chat, ChatRefusal, ChatTemplate
from tasks.dataset.tokenizer import Tokens
from tasks.ingestion.readers import Reject
from tasks.ingestion.tables.table_rows import Batch, Mapping
from tasks.ingestion.text.conversations import ChatFormat, Unfit, completions, messages, recognise

Flatten = Callable[[Batch], Batch]
"""Makes a batch whose texts are in columns of text."""

_KNOWN = "messages or conversations; prompt and completion; chosen and rejected; instruction, input and output"


@dataclass(frozen=True)
class Prompts:
    """What a reader is told once a source's first rows are seen, and what is done to every batch."""

    flatten: Flatten
    roles: dict[str, Any] = field(default_factory=dict)
    """The reader's options that follow: where prompts and responses stand."""
    chat: Chat | None = None
    """Of conversations."""
    unused: dict[str, str] = field(default_factory=dict)
    """Columns of a recognised format that no network reads, each with the reason."""

    def told(self, mapping: Mapping) -> Mapping:
        """The mapping with the reasons why columns are not used: those that conversations are made of are."""
        made_of = self.chat.columns if self.chat else ()
        reasons = {name: self.unused.get(name, why) for name, why in mapping.unused.items() if name not in made_of}
        return replace(mapping, unused=reasons)


def texts_of(first: Batch, texts: tuple[str, ...], pair: str | None, where: str) -> Prompts:
    """Columns of text that are read as they stand: as one text, and what it is paired with or answered by."""
    named = named_columns(texts, first.table.schema.names)
    columns = named if pair is None else (*named, pair)
    return Prompts(partial(_refuse_nested, columns, where), {} if named == texts else {"text": [*named]})


def named_columns(texts: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    """The columns that are meant: a command line parts a name with commas in it."""
    if set(texts) <= set(names):
        return texts
    whole = (name for name in names if [part.strip() for part in name.split(",")] == [text.strip() for text in texts])
    return tuple(islice(whole, 1)) or texts


def prompts_of(
    first: Batch, texts: tuple[str, ...], label: str | None, where: str, tokens: Callable[[Chat], Tokens]
) -> Prompts:
    """The prompts and responses of a source.

    Args:
        first: its first rows.
        texts: columns of prompts that are named; none leaves both to the format.
        label: the column of responses, if it is named.
        where: the source.
        tokens: conversations by the tokenizer there is.

    Raises:
        BadInput: no format is recognised, or a named column is no part of it.
    """
    form = _format_of(first, named_columns(texts, first.table.schema.names), label, where)
    if form is None:
        return texts_of(first, texts, label or "label", where)
    ignored = {
        column: "not the answer that is learned" for part, column in form.columns.items() if part in form.ignored
    }
    if not any(is_nested(first, column) for column in form.columns.values()) and "prompt" in form.columns:
        prompt, roles = form.columns["prompt"], {"text": form.columns["prompt"], "label": form.answer}
        return replace(texts_of(first, (prompt,), form.answer, where), roles=roles, unused=ignored)
    names = first.table.schema.names
    dialogue, response = _free("dialogue", names), _free("response_of_dialogue", names)
    columns = tuple(column for part, column in form.columns.items() if part not in form.ignored)
    reads = tokens(Chat(template=PLAIN, format=form.name, columns=columns))
    flatten = partial(_flatten, form, dialogue, response, reads.template())
    return Prompts(flatten, {"text": dialogue, "label": response}, reads.chat, ignored)


def is_nested(batch: Batch, name: str) -> bool:
    """Whether a column holds lists or mappings."""
    return name in batch.nested or pa.types.is_nested(batch.table.schema.field(name).type)


def _format_of(first: Batch, texts: tuple[str, ...], label: str | None, where: str) -> ChatFormat | None:
    """The format of the named columns, or else of all; None where those that are named hold text."""
    names = first.table.schema.names
    if texts:
        text, *more = texts
        if more or text not in names:
            return None
        if label is None:
            return messages(text) if is_nested(first, text) else None
        nested = [name for name in (text, label) if name in names and is_nested(first, name)]
        return completions(text, label) if nested and label in names else None
    form = recognise(names, partial(is_nested, first))
    if form is None or label not in (None, form.answer):
        raise BadInput(
            where=where,
            expected=f"prompts, or columns of one of the formats {_KNOWN}",
            got=f"columns {', '.join(names[:20])}" + (f", and --reader.label {label}" if label else ""),
            do="Name the column of prompts with --reader.text, and that of responses with --reader.label.",
        )
    return form


def _free(name: str, names: list[str]) -> str:
    while name in names:
        name += "_"
    return name


def _refuse_nested(names: tuple[str, ...], where: str, batch: Batch) -> Batch:
    """The batch itself: none of these columns has lists or mappings, whose JSON nobody means to be read.

    Raises:
        BadInput: one has.
    """
    nested = next((name for name in names if name in batch.table.schema.names and is_nested(batch, name)), None)
    if nested is not None:
        example = next((value for value in batch.table.column(nested).to_pylist() if value is not None), None)
        raise BadInput(
            where=f"{where}, column {nested!r}",
            expected="text",
            got=f"lists or mappings ({str(example)[:80]} …)",
            do="Name a column of text with --reader.text; conversations are read with --reader.target response.",
        )
    return batch


def _flatten(form: ChatFormat, dialogue: str, response: str, template: ChatTemplate, batch: Batch) -> Batch:
    """The batch with conversations and what is learned of them in two more columns, less the rows that have none."""
    missing = sorted({*form.columns.values()} - set(batch.table.schema.names))
    if missing:
        raise BadInput(
            where=batch.source,
            expected=f"columns {', '.join(missing)}, as the first file has",
            got=", ".join(batch.table.schema.names[:20]),
            do="Give every file the same columns.",
        )
    dialogues: list[tuple[str, str]] = []
    keep, rejects = np.ones(len(batch.rows), bool), list(batch.rejects)
    for i, row in enumerate(_rows(batch, form)):
        try:
            dialogues.append(_rendered(form.dialogue(row), template))
        except Unfit as unfit:
            rejects.append(Reject(int(batch.rows[i]), unfit.reason, unfit.detail))
            keep[i] = False
    table = batch.table.filter(pa.array(keep))
    for index, name in enumerate((dialogue, response)):
        table = table.append_column(name, pa.array([pair[index] for pair in dialogues], pa.string()))
    return replace(batch, table=table, rows=batch.rows[keep], rejects=rejects)


def _rows(batch: Batch, form: ChatFormat) -> Iterator[dict[str, Any]]:
    columns = [batch.table.column(name).to_pylist() for name in form.columns.values()]
    columns = [
        [_read(value) for value in values] if name in batch.nested else values
        for name, values in zip(form.columns.values(), columns, strict=True)
    ]
    for values in zip(*columns, strict=True):
        yield dict(zip(form.columns.values(), values, strict=True))


def _read(value: str | None) -> Any:
    """What JSON says; a text among lists stays one."""
    try:
        return None if value is None else json.loads(value)
    except ValueError:
        return value


def _rendered(dialogue: tuple[str, str], template: ChatTemplate) -> tuple[str, str]:
    """The same again: it can be rendered."""
    try:
        template.segments(*dialogue)
    except ChatRefusal as refusal:
        raise Unfit("refused by the chat template", str(refusal)) from refusal
    return dialogue
