"""A tokenizer of the library tokenizers: its file, and the ids of its marks."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.core.errors import BadConfig, require_package

PADS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>", "<|end_of_text|>")
"""What tokenizers call padding where their files do not say."""
ENDS = ("<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>", "<|end_of_text|>", "[SEP]")
"""What they end a text with."""
FILE = "tokenizer.json"


@lru_cache(maxsize=8)
def tokenizer_of_length(file: Path, _digest: str, length: int | None, pad: int) -> Any:
    """Set once and never again: threads share it. Without a length, texts stay as long as they are."""
    reads = open_tokenizer(file)
    if length is None:
        reads.no_truncation()
        reads.no_padding()
        return reads
    reads.enable_truncation(length)
    reads.enable_padding(length=length, pad_id=pad, pad_token=reads.id_to_token(pad))
    return reads


def open_tokenizer(file: Path) -> Any:
    """The tokenizer in a file.

    Raises:
        BadConfig: there is none, or the library is not installed.
    """
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


def token_id(folder: Path, reads: Any, role: str, usual: tuple[str, ...]) -> int:
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
            where=str(folder / FILE),
            expected=f"a {what} ({', '.join(usual)}, or {role} in tokenizer_config.json)",
            got="none",
            do="Add one to the tokenizer and save it again.",
        )
    return number
