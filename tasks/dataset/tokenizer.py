"""Text to the integers a language model reads."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from tasks.core.errors import BadConfig, require_package
from tasks.dataset.pretrained_files import digest_of, locate
from tasks.dataset.words import EARLIEST, LATEST, words_of

HASHED_WORDS = "words"
"""The tokenizer that needs no file: words and marks folded in case, each hashed to one of ``vocabulary`` numbers."""

_PAD, _START, _END, _FIRST = 0, 1, 2, 3
# What tokenizers call padding where their files do not say, and what they end a text with.
_PADS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>", "<|end_of_text|>")
_ENDS = ("<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>", "<|end_of_text|>", "[SEP]")
_FILE = "tokenizer.json"


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

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        optional = ("end", "start", "between", "edition")
        return {name: value for name, value in values.items() if name not in optional or value is not None}

    @classmethod
    def of(cls, tokenizer: str, vocabulary: int, *, between: str | None = None) -> Tokens:
        """The named tokenizer as it is now.

        Args:
            tokenizer: as the field has it.
            vocabulary: of ``words``; other tokenizers have their own.
            between: prompts and responses, where texts are those; None of other texts.

        Raises:
            BadConfig: there is none of this name, or it cannot be read.
        """
        if tokenizer == HASHED_WORDS:
            marks = {} if between is None else {"start": _START, "end": _END, "between": between}
            return cls(tokenizer=tokenizer, digest="", vocabulary=vocabulary, pad=_PAD, edition=LATEST, **marks)
        folder = locate(tokenizer, _FILE)
        reads = _open(folder / _FILE)
        vocabulary = 1 + max(reads.get_vocab(with_added_tokens=True).values())
        digest = digest_of(folder, _FILE)
        pad, marks = _token_id(folder, reads, "pad_token", _PADS), {}
        if between is not None:
            end = _token_id(folder, reads, "eos_token", _ENDS)
            # What it sets around nothing: of causal models a mark of the start, if anything.
            around = [mark for mark in reads.encode("").ids[:1] if mark != end]
            marks = {"start": around[0] if around else None, "end": end, "between": between}
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
        if self.end is not None:
            return sum(len(prompt) + len(answer) > length for prompt, answer in self._dialogues(columns))
        if self.tokenizer == HASHED_WORDS:
            marks = 1 + len(columns)
            return sum(
                marks + sum(len(self._words(text)) for text in texts) > length for texts in zip(*columns, strict=True)
            )
        inputs: Any = list(zip(*columns, strict=True)) if len(shape) == 2 else columns[0]
        return sum(len(encoding.ids) > length for encoding in self._tokenizer(None).encode_batch(inputs))

    def _dialogues(self, columns: list[list[str]]) -> Iterator[tuple[list[int], list[int]]]:
        """(ids of the prompt and what stands before and behind it, ids of the response and its end) of each."""
        prompts, responses = columns
        prompt_ids = self._plain([f"{prompt}{self.between}" for prompt in prompts])
        start = [] if self.start is None else [self.start]
        for prompt, response in zip(prompt_ids, self._plain(responses), strict=True):
            yield start + prompt, [*response, self.end]  # type: ignore[list-item]  only called where there is an end

    def _encode_dialogues(self, columns: list[list[str]], length: int) -> np.ndarray:
        """Prompt, response, end. Too long a response loses its end, but leaves the prompt a quarter of the length; too
        long a prompt loses its beginning."""
        out = np.zeros((len(columns[0]), 2, length), np.int32)
        out[:, 0] = self.pad
        for row, (prompt, response) in enumerate(self._dialogues(columns)):
            answer = response[: length - min(len(prompt), length // 4)]
            question = prompt[max(0, len(prompt) + len(answer) - length) :]
            both = len(question) + len(answer)
            out[row, 0, :both] = question + answer
            out[row, 1, len(question) : both] = 1
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
        folder = locate(self.tokenizer, _FILE)
        self._check(folder)
        return _with_length(folder / _FILE, self.digest, length, self.pad)

    def _check(self, folder: Path) -> None:
        digest = digest_of(folder, _FILE)
        if digest != self.digest:
            raise BadConfig(
                where=str(folder / _FILE),
                expected=f"the tokenizer the samples were ingested with ({self.digest[:12]})",
                got=f"another ({digest[:12]})",
                do="Put the earlier one back, or ingest the source again.",
            )


@lru_cache(maxsize=8)
def _with_length(file: Path, _digest: str, length: int | None, pad: int) -> Any:
    """Set once and never again: threads share it. Without a length, texts stay as long as they are."""
    reads = _open(file)
    if length is None:
        reads.no_truncation()
        reads.no_padding()
        return reads
    reads.enable_truncation(length)
    reads.enable_padding(length=length, pad_id=pad, pad_token=reads.id_to_token(pad))
    return reads


def _open(file: Path) -> Any:
    do = "pip install -e '.[text]', or take the tokenizer words, which needs nothing."
    with require_package("tokenizers", "the reader's tokenizer", do):
        from tokenizers import Tokenizer
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        raise BadConfig(
            where=str(file),
            expected="a tokenizer as the library tokenizers writes it",
            got=str(error).partition("\n")[0],
            do="Write it again with save_pretrained.",
        ) from error


def _token_id(folder: Path, reads: Any, role: str, usual: tuple[str, ...]) -> int:
    """The id of the token in a role, from the tokenizer's own settings, its configuration beside it, or its name."""
    if role == "pad_token" and reads.padding:
        return int(reads.padding["pad_id"])
    names: list[str] = list(usual)
    beside = folder / "tokenizer_config.json"
    if beside.is_file():
        value = json.loads(beside.read_text(encoding="utf-8")).get(role)
        name = value.get("content") if isinstance(value, dict) else value
        names = [name, *usual] if name else names
    numbers = (reads.token_to_id(name) for name in names)
    number = next((number for number in numbers if number is not None), None)
    if number is None:
        what = "padding token" if role == "pad_token" else "token that ends a text"
        raise BadConfig(
            where=str(folder / _FILE),
            expected=f"a {what} ({', '.join(usual)}, or {role} in tokenizer_config.json)",
            got="none",
            do="Add one to the tokenizer and save it again.",
        )
    return number
