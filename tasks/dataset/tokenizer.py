"""Text to the integers a language model reads."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from tasks.core.errors import BadConfig
from tasks.dataset.chat_template import PLAIN, Chat, ChatTemplate, Segment, digest_in, plain_template, template_in
from tasks.dataset.pretrained_files import digest_of, locate
from tasks.dataset.tokenizer_file import ENDS, FILE, PADS, open_tokenizer, token_id, tokenizer_of_length
from tasks.dataset.words import EARLIEST, LATEST, words_of

HASHED_WORDS = "words"
"""The tokenizer that needs no file: words and marks folded in case, each hashed to one of ``vocabulary`` numbers."""

_PAD, _START, _END, _FIRST = 0, 1, 2, 3


class Tokens(BaseModel):
    """How text becomes token ids. It is part of a payload: samples and versions keep the text itself."""

    model_config = ConfigDict(frozen=True)
    tokenizer: str
    """``words``, a folder with tokenizer.json, or an installed package that carries one."""
    digest: str
    """Of that file; nothing for ``words``."""
    vocabulary: int
    """Ids are below this."""
    pad: int
    """Fills a text up to the length; a model does not look at it."""
    end: int | None = None
    """Of prompts and responses: what a response ends with. None of other texts."""
    start: int | None = None
    """Of prompts: what one begins with, if the tokenizer sets such a mark."""
    between: str | None = None
    """Of prompts and responses: what stands between the two, as part of the prompt."""
    edition: int | None = None
    """Of ``words``: how they are parted. None of other tokenizers, and of what was written when there was one way."""
    joined: int | None = None
    """How many columns are read as one text, with an empty line between; None where each is a text of its own."""
    chat: Chat | None = None
    """Of conversations and the answers in them: how they are rendered. None of other texts."""

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        optional = ("end", "start", "between", "edition", "joined", "chat")
        return {name: value for name, value in values.items() if name not in optional or value is not None}

    @classmethod
    def of(
        cls,
        tokenizer: str,
        vocabulary: int,
        *,
        between: str | None = None,
        joined: int | None = None,
        chat: Chat | None = None,
    ) -> Tokens:
        """The named tokenizer as it is now.

        Args:
            tokenizer: as the field has it.
            vocabulary: of ``words``; other tokenizers have their own.
            between: prompts and responses, where texts are those; None of other texts.
            joined: as the field has it.
            chat: conversations, where texts are those; the digest of the template is filled in here.

        Raises:
            BadConfig: there is none of this name, or it cannot be read.
        """
        if tokenizer == HASHED_WORDS:
            marks: dict[str, Any] = {} if between is None else {"start": _START, "end": _END, "between": between}
            marks |= {"joined": joined, "chat": chat}
            return cls(tokenizer=tokenizer, digest="", vocabulary=vocabulary, pad=_PAD, edition=LATEST, **marks)
        folder = locate(tokenizer, FILE)
        reads = open_tokenizer(folder / FILE)
        vocabulary = 1 + max(reads.get_vocab(with_added_tokens=True).values())
        digest = digest_of(folder, FILE)
        pad, marks = token_id(folder, reads, "pad_token", PADS), {}
        if between is not None:
            end = token_id(folder, reads, "eos_token", ENDS)
            # What it sets around nothing: of causal models a mark of the start, if anything.
            around = [mark for mark in reads.encode("").ids[:1] if mark != end]
            marks = {"start": around[0] if around else None, "end": end, "between": between}
        if chat is not None:
            chat = chat.model_copy(update={"template": digest_in(folder)})
        marks |= {"joined": joined, "chat": chat}
        return cls(tokenizer=tokenizer, digest=digest, vocabulary=vocabulary, pad=pad, **marks)

    def encode(self, columns: list[list[str]], shape: tuple[int, ...]) -> np.ndarray:
        """Ids of n texts, int32, cut or padded to one length.

        Args:
            columns: n texts; or n texts and the n that each is paired with, or answered with.
            shape: (length,), or (2, length) for pairs: the ids, and for each of them 0 (first text, padding) or 1.

        Raises:
            BadConfig: the tokenizer is gone, or another than the samples were ingested with.
        """
        length, is_pair = shape[-1], len(shape) == 2
        columns = self._as_one(columns)
        if self.end is not None:
            return self._encode_dialogues(columns, length)
        if self.tokenizer == HASHED_WORDS:
            encodings = [self._hash(words, length) for words in zip(*columns, strict=True)]
        else:
            reads = self._tokenizer(length)
            texts: Any = list(zip(*columns, strict=True)) if is_pair else columns[0]
            encodings = [(encoding.ids, encoding.type_ids) for encoding in reads.encode_batch(texts)]
        ids = np.array([ids for ids, _ in encodings], np.int32).reshape(-1, length)
        if not is_pair:
            return ids
        segments = np.array([segments for _, segments in encodings], np.int32).reshape(-1, length)
        return np.stack([ids, segments], axis=1)

    def cut(self, columns: list[list[str]], shape: tuple[int, ...]) -> int:
        """How many of n texts, as ``encode`` is given them, lose something for their length."""
        length = shape[-1]
        columns = self._as_one(columns)
        if self.end is not None:
            return sum(len(prompt) + len(rest) > length for prompt, rest, _ in self._dialogues(columns))
        if self.tokenizer == HASHED_WORDS:
            marks = 1 + len(columns)
            return sum(
                marks + sum(len(self._words(text)) for text in texts) > length for texts in zip(*columns, strict=True)
            )
        inputs: Any = list(zip(*columns, strict=True)) if len(shape) == 2 else columns[0]
        return sum(len(encoding.ids) > length for encoding in self._tokenizer(None).encode_batch(inputs))

    def _as_one(self, columns: list[list[str]]) -> list[list[str]]:
        """The texts, those that are read as one joined; what is missing among them leaves no trace."""
        if self.joined is None:
            return columns
        parts = zip(*columns[: self.joined], strict=True)
        return [["\n\n".join(part for part in texts if part) for texts in parts], *columns[self.joined :]]

    def _dialogues(self, columns: list[list[str]]) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """(ids before the first response, ids from there on, ones where the latter are a response or its end)."""
        samples = list(self._segments(columns))
        ids = iter(self._plain([segment.text for segments in samples for segment in segments]))
        for segments in samples:
            # A chat template writes the mark of a start itself.
            whole = [] if self.start is None or self._has_own_template else [self.start]
            marks = [0] * len(whole)
            for segment in segments:
                part = next(ids) + ([self.end] if segment.ends and self.end is not None else [])
                whole += part
                marks += [int(segment.is_response)] * len(part)
            first = marks.index(1) if 1 in marks else len(marks)
            yield whole[:first], whole[first:], marks[first:]

    def _segments(self, columns: list[list[str]]) -> Iterator[list[Segment]]:
        prompts, responses = columns
        template = self.template() if self.chat else None
        for prompt, response in zip(prompts, responses, strict=True):
            if template is not None:
                yield template.segments(prompt, response)
                continue
            question = Segment(f"{prompt}{self.between}", is_response=False)
            yield [question, Segment(response, is_response=True, ends=True)]

    @property
    def _has_own_template(self) -> bool:
        return self.chat is not None and self.chat.template != PLAIN

    def template(self) -> ChatTemplate:
        """What conversations are rendered by.

        Raises:
            BadConfig: it is another than the samples were ingested with.
        """
        if self.chat is None or not self._has_own_template:
            return plain_template()
        folder = locate(self.tokenizer, FILE)
        _check_digest(folder, "the chat template", digest_in(folder), self.chat.template)
        return template_in(folder)

    def _encode_dialogues(self, columns: list[list[str]], length: int) -> np.ndarray:
        """Prompt, response, end; of conversations what is up to the first answer, and all from there on.

        Too long a response loses its end, but leaves the prompt a quarter of the length; too long a prompt loses its
        beginning.
        """
        out = np.zeros((len(columns[0]), 2, length), np.int32)
        out[:, 0] = self.pad
        for row, (prompt, response, marks) in enumerate(self._dialogues(columns)):
            answer = response[: length - min(len(prompt), length // 4)]
            question = prompt[max(0, len(prompt) + len(answer) - length) :]
            both = len(question) + len(answer)
            out[row, 0, :both] = question + answer
            out[row, 1, len(question) : both] = marks[: len(answer)]
        return out

    def _plain(self, texts: list[str]) -> list[list[int]]:
        """Ids without the marks that a tokenizer sets around a text."""
        if self.tokenizer == HASHED_WORDS:
            return [self._hashes(self._words(text)) for text in texts]
        return [e.ids for e in self._tokenizer(None).encode_batch(texts, add_special_tokens=False)]

    def _hash(self, texts: tuple[str, ...], length: int) -> tuple[list[int], list[int]]:
        # No text can have more tokens than the length, so the rest of a long one is not even hashed.
        words = [self._words(text)[:length] for text in texts]
        while sum(map(len, words)) + 1 + len(words) > length:
            # The longer gives way first, so that a short question is not lost beside a long answer.
            max(words, key=len).pop()
        parts = [self._hashes(part) for part in words]
        ids, segments = [_START], [0]
        for index, part in enumerate(parts):
            ids += [*part, _END]
            segments += [index] * (len(part) + 1)
        missing = length - len(ids)
        return ids + [self.pad] * missing, segments + [0] * missing

    def _words(self, text: str) -> list[str]:
        return words_of(text, self.edition or EARLIEST)

    def _hashes(self, words: list[str]) -> list[int]:
        room = self.vocabulary - _FIRST
        return [_FIRST + zlib.crc32(word.encode()) % room for word in words]

    def _tokenizer(self, length: int | None) -> Any:
        folder = locate(self.tokenizer, FILE)
        self._check(folder)
        return tokenizer_of_length(folder / FILE, self.digest, length, self.pad)

    def _check(self, folder: Path) -> None:
        _check_digest(folder / FILE, "the tokenizer", digest_of(folder, FILE), self.digest)


def _check_digest(where: Path, what: str, digest: str, expected: str) -> None:
    if digest != expected:
        raise BadConfig(
            where=str(where),
            expected=f"{what} the samples were ingested with ({expected[:12]})",
            got=f"another ({digest[:12]})",
            do="Put the earlier one back, or ingest the source again.",
        )
