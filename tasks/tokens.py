"""Text to the integers a language model reads."""

from __future__ import annotations

import json
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.errors import BadConfig, needing
from tasks.pretrained import digest_of, located

HASHED_WORDS = "words"
"""The tokenizer that needs no file: words and marks in lower case, each hashed to one of ``vocabulary`` numbers."""

_PAD, _START, _END, _FIRST = 0, 1, 2, 3
_WORD = re.compile(r"\w+|[^\w\s]")
# What tokenizers call padding where their files do not say.
_PADS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>", "<|end_of_text|>")
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

    @classmethod
    def of(cls, tokenizer: str, vocabulary: int) -> Tokens:
        """The named tokenizer as it is now.

        Args:
            tokenizer: as the field has it.
            vocabulary: of ``words``; other tokenizers have their own.

        Raises:
            BadConfig: there is none of this name, or it cannot be read.
        """
        if tokenizer == HASHED_WORDS:
            return cls(tokenizer=tokenizer, digest="", vocabulary=vocabulary, pad=_PAD)
        folder = located(tokenizer, _FILE)
        reads = _opened(folder / _FILE)
        vocabulary = 1 + max(reads.get_vocab(with_added_tokens=True).values())
        digest = digest_of(folder, _FILE)
        return cls(tokenizer=tokenizer, digest=digest, vocabulary=vocabulary, pad=_pad_of(folder, reads))

    def encode(self, columns: list[list[str]], shape: tuple[int, ...]) -> np.ndarray:
        """Ids of n texts, int32, cut or padded to one length.

        Args:
            columns: n texts; or n texts and the n that each is paired with.
            shape: (length,), or (2, length) for pairs: the ids, and for each of them 0 (first text, padding) or 1.

        Raises:
            BadConfig: the tokenizer is gone, or another than the samples were ingested with.
        """
        length, paired = shape[-1], len(shape) == 2
        if self.tokenizer == HASHED_WORDS:
            found = [self._hashed(texts, length) for texts in zip(*columns, strict=True)]
        else:
            reads = self._tokenizer(length)
            given: Any = list(zip(*columns, strict=True)) if paired else columns[0]
            found = [(encoding.ids, encoding.type_ids) for encoding in reads.encode_batch(given)]
        ids = np.array([ids for ids, _ in found], np.int32).reshape(-1, length)
        if not paired:
            return ids
        segments = np.array([segments for _, segments in found], np.int32).reshape(-1, length)
        return np.stack([ids, segments], axis=1)

    def _hashed(self, texts: tuple[str, ...], length: int) -> tuple[list[int], list[int]]:
        # No text can have more tokens than the length, so the rest of a long one is not even hashed.
        words = [_WORD.findall(text.lower())[:length] for text in texts]
        while sum(map(len, words)) + 1 + len(words) > length:
            # The longer gives way first, so that a short question is not lost beside a long answer.
            max(words, key=len).pop()
        room = self.vocabulary - _FIRST
        parts = [[_FIRST + zlib.crc32(word.encode()) % room for word in part] for part in words]
        ids, segments = [_START], [0]
        for place, part in enumerate(parts):
            ids += [*part, _END]
            segments += [place] * (len(part) + 1)
        missing = length - len(ids)
        return ids + [self.pad] * missing, segments + [0] * missing

    def _tokenizer(self, length: int) -> Any:
        folder = located(self.tokenizer, _FILE)
        digest = digest_of(folder, _FILE)
        if digest != self.digest:
            raise BadConfig(
                where=str(folder / _FILE),
                expected=f"the tokenizer the samples were ingested with ({self.digest[:12]})",
                got=f"another ({digest[:12]})",
                do="Put the earlier one back, or ingest the source again.",
            )
        return _fitted(folder / _FILE, digest, length, self.pad)


@lru_cache(maxsize=8)
def _fitted(file: Path, _digest: str, length: int, pad: int) -> Any:
    """Set once and never again: threads share it."""
    reads = _opened(file)
    reads.enable_truncation(length)
    reads.enable_padding(length=length, pad_id=pad, pad_token=reads.id_to_token(pad))
    return reads


def _opened(file: Path) -> Any:
    do = "pip install -e '.[text]', or take the tokenizer words, which needs nothing."
    with needing("tokenizers", "the reader's tokenizer", do):
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


def _pad_of(folder: Path, reads: Any) -> int:
    """The padding token's id, from the tokenizer's own settings or its configuration beside it."""
    if reads.padding:
        return int(reads.padding["pad_id"])
    names: list[str] = list(_PADS)
    beside = folder / "tokenizer_config.json"
    if beside.is_file():
        said = json.loads(beside.read_text(encoding="utf-8")).get("pad_token")
        names.insert(0, str(said.get("content") if isinstance(said, dict) else said))
    known = (reads.token_to_id(name) for name in names)
    found = next((number for number in known if number is not None), None)
    if found is None:
        raise BadConfig(
            where=str(folder / _FILE),
            expected=f"a padding token ({', '.join(_PADS)}, or pad_token in tokenizer_config.json)",
            got="none",
            do="Add one to the tokenizer and save it again.",
        )
    return found
