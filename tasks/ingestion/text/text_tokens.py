"""The options of a reader that are about text alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tasks.dataset.chat_template import Chat
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import HASHED_WORDS, Tokens


class TextTokens(BaseModel):
    """How a column of text becomes the integers that a model reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokenizer: str = Field(
        default=HASHED_WORDS,
        description="words: words of any script, folded in case and hashed, which needs no file. Else a folder with "
        "tokenizer.json, or an installed package that carries one.",
    )
    max_length: int = Field(default=128, ge=4, le=8192, description="Tokens a text is cut or padded to.")
    vocabulary: int = Field(default=32_768, ge=16, le=1 << 24, description="Numbers that words are hashed to.")
    between: str = Field(
        default="\n", max_length=200, description="What a model reads between a prompt and its response."
    )

    def tokenizer_now(
        self, *, with_response: bool = False, joined: int | None = None, chat: Chat | None = None
    ) -> Tokens:
        """The tokenizer as it is now; of prompts and responses, if they are answered."""
        between = self.between if with_response else None
        return Tokens.of(self.tokenizer, self.vocabulary, between=between, joined=joined, chat=chat)


def text_payload(columns: tuple[str, ...], length: int, tokens: Tokens) -> Payload:
    """The payload of columns of text: one text, a pair, or prompts that the label answers.

    Args:
        columns: of text, without the label.
        length: tokens that a text is cut or padded to.
        tokens: how text becomes ids.
    """
    answered = tokens.end is not None
    is_pair = answered or len(columns) > (tokens.joined or 1)
    shape = (2, length) if is_pair else (length,)
    columns = (*columns, "label") if answered else columns
    return Payload(kind="tokens", columns=columns, shape=shape, dtype="int32", tokens=tokens)
