"""Short texts of many values that repeat: names of places, job titles, codes."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from tasks.dataset.encoders.cells import trimmed
from tasks.dataset.encoders.encoder import Encoder

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer


class HashedText(Encoder):
    """Hashed n-grams of characters within words, of unit length: alike texts are alike, also ones nobody has seen.

    A batch's different texts are hashed once each. A missing text is zero everywhere.
    """

    kind: Literal["hashed_text"] = "hashed_text"
    columns: int = 48
    shortest: int = 2
    longest: int = 4

    @property
    def width(self) -> int:
        """As many columns as n-grams are hashed to, and the indicator."""
        return self.columns + self.indicator

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width."""
        words = trimmed(column)
        missing = words.is_null().to_numpy(zero_copy_only=False)
        coded = words.fill_null("").dictionary_encode()
        texts = coded.dictionary.to_pylist()
        hashed = _vectorizer(self.columns, self.shortest, self.longest).transform(texts) if texts else None
        dense = np.zeros((0, self.columns), np.float32) if hashed is None else hashed.toarray()
        return self.beside(dense[coded.indices.to_numpy()].astype(np.float32), missing)


@lru_cache
def _vectorizer(columns: int, shortest: int, longest: int) -> HashingVectorizer:
    from sklearn.feature_extraction.text import HashingVectorizer  # half a second: not before a text is to be hashed

    return HashingVectorizer(analyzer="char_wb", ngram_range=(shortest, longest), n_features=columns)
