"""Conversations as the text a model reads, by the tokenizer's own chat template or a plain one.

A conversation is kept without its answers: JSON, a list of ``role`` and ``content``, where a turn of the assistant that
is to be learned has no content. The answers are kept apart, as the label.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

ANSWER_SEPARATOR = "␞"
"""Between the answers of one conversation."""
PLAIN = "plain"
"""The template of tokenizers that have none: a line for each turn, ``role: content``."""

_PLAIN_SOURCE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}"
    "{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}"
)
_FILE, _CONFIG = "chat_template.jinja", "tokenizer_config.json"
# A character that no text has: it is for private use, the last there is.
_MARK = "\U0010fffd"
_MARKS = re.compile(f"{_MARK}([0-9]+){_MARK}")


class ChatRefusal(Exception):
    """A template cannot render a conversation, with its own words."""


class Chat(BaseModel):
    """How conversations are read. It is part of a payload: samples and versions keep the turns themselves."""

    model_config = ConfigDict(frozen=True)
    template: str
    """Digest of the tokenizer's own template and marks; ``plain`` where it has none."""
    format: str
    """What the source keeps them as."""
    columns: tuple[str, ...]
    """The source's columns they are made of."""


class Segment(NamedTuple):
    """A part of a rendered conversation."""

    text: str
    is_response: bool
    ends: bool = False
    """Whether the end of a text stands behind it: a response whose template writes no end of its own."""


class ChatTemplate:
    """A template, compiled. Templates are data: they run in jinja2's sandbox, without a clock."""

    def __init__(self, source: str, marks: dict[str, str]) -> None:
        self.marks = marks
        self._template = _environment().from_string(source)
        self.ending = self._ending()

    def segments(self, dialogue: str, label: str) -> list[Segment]:
        """The conversation with its answers, parted into what is given and what is learned.

        Args:
            dialogue: as the module says.
            label: the answers, with the separator between. Where there are more of them than turns without content, the
                last such turn has the rest; where there are fewer, the others are empty.

        Raises:
            ChatRefusal: the template refuses the conversation, or leaves an answer out.
        """
        messages, wanted = _marked(json.loads(dialogue))
        answers = label.split(ANSWER_SEPARATOR, wanted - 1) if wanted else []
        answers += [""] * (wanted - len(answers))
        before, *rest = _MARKS.split(self._render(messages))
        if [int(index) for index in rest[::2]] != list(range(wanted)):
            raise ChatRefusal("it leaves an answer out, or moves it")
        segments = [Segment(before, is_response=False)] if before else []
        for answer, after in zip(answers, rest[1::2], strict=True):
            ends = not self.ending or not after.startswith(self.ending)
            ending = "" if ends else self.ending
            segments.append(Segment(answer + ending, is_response=True, ends=ends))
            segments.append(Segment(after[len(ending) :], is_response=False))
        # Nothing is learned of white space at the end.
        return segments if segments[-1].text.strip() else segments[:-1]

    def _render(self, messages: list[dict[str, str]]) -> str:
        import jinja2

        try:
            return self._template.render(messages=messages, add_generation_prompt=False, **self.marks)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise ChatRefusal(str(error).partition("\n")[0]) from error

    def _ending(self) -> str:
        """What it writes behind an answer."""
        messages, _ = _marked([{"role": "user", "content": "?"}, {"role": "assistant"}])
        try:
            return _MARKS.split(self._render(messages))[-1].rstrip()
        except ChatRefusal:
            return ""


def _marked(messages: list[dict[str, str]]) -> tuple[list[dict[str, str]], int]:
    """(the turns with a numbered mark for each answer, their number)."""
    number = count()
    turns = [turn if "content" in turn else turn | {"content": f"{_MARK}{next(number)}{_MARK}"} for turn in messages]
    return turns, next(number)


@lru_cache(maxsize=8)
def plain_template() -> ChatTemplate:
    """The one of tokenizers that have none."""
    return ChatTemplate(_PLAIN_SOURCE, {})


def digest_in(folder: Path) -> str:
    """Digest of the template in a tokenizer's folder and of the marks it may write; ``plain`` where there is none."""
    source, marks = _read(folder)
    return PLAIN if source is None else hashlib.sha256(json.dumps([source, marks]).encode()).hexdigest()


def template_in(folder: Path) -> ChatTemplate:
    """The template in a tokenizer's folder, or the plain one.

    Raises:
        ChatRefusal: it is no template.
    """
    source, marks = _read(folder)
    return plain_template() if source is None else _compiled(source, tuple(marks.items()))


@lru_cache(maxsize=8)
def _compiled(source: str, marks: tuple[tuple[str, str], ...]) -> ChatTemplate:
    import jinja2

    try:
        return ChatTemplate(source, dict(marks))
    except jinja2.TemplateError as error:
        raise ChatRefusal(str(error).partition("\n")[0]) from error


def _read(folder: Path) -> tuple[str | None, dict[str, str]]:
    """(the template, what it may call by name), as save_pretrained leaves them."""
    path = folder / _CONFIG
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = {name: config.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    marks = {name: mark["content"] if isinstance(mark, dict) else mark for name, mark in named.items() if mark}
    if (folder / _FILE).is_file():
        return (folder / _FILE).read_text(encoding="utf-8"), marks
    source = config.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = {each["name"]: each["template"] for each in source}.get("default")
    return source, marks


@lru_cache(maxsize=1)
def _environment() -> Any:
    """As the library transformers has it, but for the clock: a text is the same on any day."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` is around what an assistant says; what that is we know otherwise."""

        tags = {"generation"}  # noqa: RUF012  as the base class has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, loopcontrols],
        autoescape=False,
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    return environment
