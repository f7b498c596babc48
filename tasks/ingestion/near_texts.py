"""Texts that are nearly equal: other marks, case or spacing, or a few other words. Found by MinHash, then compared.

A text is the set of its runs of five words, normalised (NFKC), folded in case and without marks between words. Signs
that say something (+ < # % 🙂 and the like) are words. Numbers and signs are all the same in copies, in the same order.
scikit-learn counts the runs, and the minima of all texts are taken at once by numpy; datasketch takes those of one text
at a time.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.dataset.words import words_of
from tasks.kernels.near_pairs import Pairs, agreeing, pairs_of, sketches, uncompared

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Words of a run; a shorter text is one run.
_WORDS = 5
# The share of their runs that copies have in common: of 40 words one may be another.
_JACCARD = 0.8
# The share of their words that an encoder's copies have: it takes any two texts of one topic for the same.
_JACCARD_ENCODED = 0.5
# Keys of a text, and minima of each: of texts with a similarity of .8 these find .9998, of .5 two thirds in vain.
_BANDS, _MINIMA = 16, 4
# Texts that share a key with more are compared with so many of them.
_OF_A_BUCKET = 64
# A run that more texts have than this share, and this number, is a form that they were poured into: it tells nothing.
_FORM_SHARE, _FORM_TEXTS = 0.02, 20
# Runs are counted by so many buckets of their hash.
_BUCKETS = 1 << 22
# Emoticons, with or without a nose; a minus before a number, between two, or behind a letter that stands alone (A-, not
# well-known or covid-19).
_SIGNS = re.compile(
    r"(?P<eyes>[:;=])['-]?(?P<mouth>[()\[\]|/\\*]|[DdPpOoSs](?!\w))|(?<!\w)[-−–](?=\s*\.?\d)|(?<=\d)[-−–](?=\d)"
    r"|(?<=\b[^\W\d])-(?!\w)"
)
# Punctuation that says something, and what is no punctuation by its category but quotes all the same.
_SAYING, _QUOTES = frozenset("#@&%*/\\‰†‡§"), frozenset("`´¨")
# Texts that are counted, and pairs that are compared, at a time.
_TEXTS, _PAIRS = 4096, 1 << 14


@dataclass
class Shingles:
    """What is kept of one column of texts to compare them: four bytes a word."""

    runs: list[np.ndarray] = field(default_factory=list)
    """Hashes of their runs of words, sorted within each text."""
    lengths: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)
    """Digests of the numbers and signs in them: a sum is not its neighbour's copy."""
    has_words: list[np.ndarray] = field(default_factory=list)


@dataclass
class Texts:
    """What is kept of texts, of each column apart."""

    columns: list[Shingles]
    indices: list[np.ndarray] = field(default_factory=list)

    @property
    def empty(self) -> int:
        """Texts without a word."""
        parts = zip(*(column.has_words for column in self.columns), strict=True)
        return sum(int((~np.any(np.stack(part), axis=0)).sum()) for part in parts)


def shingles_of(texts: Iterable[tuple[int, tuple[str, ...]]], columns: int = 1) -> Texts:
    """The shingles of (index, text of each column), read a few thousand at a time."""
    from sklearn.feature_extraction.text import HashingVectorizer

    # As many buckets as there are: two different runs then hardly ever fall into one.
    options: dict[str, Any] = {"norm": None, "alternate_sign": False, "binary": True, "dtype": np.float32}
    vectorizer: Any = HashingVectorizer(analyzer=_runs, n_features=2**31 - 1, **options)  # type: ignore[arg-type]
    kept, stream = Texts([Shingles() for _ in range(columns)]), iter(texts)
    while block := list(islice(stream, _TEXTS)):
        kept.indices.append(np.array([index for index, _ in block]))
        for column, shingles in enumerate(kept.columns):
            words = [_words_of(of[column]) for _, of in block]
            counts = vectorizer.transform(words).sorted_indices()
            shingles.runs.append(counts.indices.astype(np.int32))
            shingles.lengths.append(np.diff(counts.indptr).astype(np.int64))
            shingles.numbers.append(np.array([_numbers(of) for of in words], np.uint64))
            shingles.has_words.append(np.array([bool(of) for of in words]))
    return kept


def _words_of(text: str) -> list[str]:
    """The words and the signs that say something, in order."""
    words, start = [], 0
    for match in _SIGNS.finditer(text):
        words += _plain(text[start : match.start()])
        words.append(f"{match['eyes']}{match['mouth'].lower()}" if match["eyes"] else "-")
        start = match.end()
    return words + _plain(text[start:])


def _plain(text: str) -> list[str]:
    """Those of a text without emoticons and minus signs."""
    # Underscores around a word, and the selector of an emoji's colours, are dress.
    words = (word.strip("_\ufe0f") for word in words_of(text))
    return [word for word in words if word and (word[0].isalnum() or _says_something(word))]


def _says_something(mark: str) -> bool:
    return mark in _SAYING or (unicodedata.category(mark[0])[0] not in "PC" and mark not in _QUOTES)


def _runs(words: list[str]) -> list[str]:
    return [" ".join(words[at : at + _WORDS]) for at in range(max(1, len(words) - _WORDS + 1))]


def _numbers(words: list[str]) -> int:
    told = " ".join(word for word in words if not word[0].isalpha() or any(map(str.isdigit, word)))
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "little")


def near_texts(texts: Texts) -> Pairs:
    """Pairs of texts of which each column is nearly equal, by the indices they were given.

    The distance is 1 − Jaccard's similarity, the largest of the columns'. Candidates come from the longest column.
    """
    if not texts.indices:
        return pairs_of([])
    indices = np.concatenate(texts.indices)
    columns = sorted(texts.columns, key=lambda column: -sum(map(len, column.runs)))
    numbers = [np.concatenate(column.numbers) for column in columns]
    sets = [_without_forms(np.concatenate(column.runs), np.concatenate(column.lengths)) for column in columns]
    rows = np.flatnonzero(np.concatenate(columns[0].has_words))
    chosen = sets[0][rows]
    keys = sketches(chosen.indices, chosen.indptr.astype(np.int64), _BANDS, _MINIMA)
    parts = []
    for a, b in agreeing(keys, _OF_A_BUCKET):
        a, b = rows[a], rows[b]
        same = np.logical_and.reduce([of[a] == of[b] for of in numbers])
        a, b = a[same], b[same]
        for first in range(0, len(a), _PAIRS):
            i, j = a[first : first + _PAIRS], b[first : first + _PAIRS]
            similarity = np.minimum.reduce([_jaccard(of, i, j) for of in sets])
            near = similarity >= _JACCARD
            parts.append((indices[i[near]], indices[j[near]], 1 - similarity[near]))
    return pairs_of(parts, sum(uncompared(keys[:, band], _OF_A_BUCKET) for band in range(_BANDS)))


def texts_of_vectors(kept: Texts, texts: Iterable[tuple[int, tuple[str, ...]]], proposed: Pairs) -> Pairs:
    """Of pairs that an encoder takes for copies, those that share half of their words, and all numbers and signs.

    Args:
        kept: of the same texts.
        texts: once more, for their words.
        proposed: pairs, by the indices of the texts.
    """
    if not len(proposed.first):
        return proposed
    wanted = set(np.union1d(proposed.first, proposed.second).tolist())
    words = {index: [frozenset(_words_of(text)) for text in columns] for index, columns in texts if index in wanted}
    numbers = [np.concatenate(column.numbers) for column in kept.columns]
    row = dict(zip(np.concatenate(kept.indices).tolist(), range(len(numbers[0])), strict=True))
    pairs = list(zip(proposed.first.tolist(), proposed.second.tolist(), strict=True))
    similarity = np.array(
        [
            min(len(a & b) / max(1, len(a | b)) for a, b in zip(words[i], words[j], strict=True))
            if all(of[row[i]] == of[row[j]] for of in numbers)
            else 0.0
            for i, j in pairs
        ]
    )
    near = similarity >= _JACCARD_ENCODED
    return pairs_of([(proposed.first[near], proposed.second[near], 1 - similarity[near])], proposed.uncompared)


def _without_forms(runs: np.ndarray, lengths: np.ndarray) -> csr_matrix:
    """The sets as rows of a matrix of ones, without the runs that many texts have; a text of nothing else keeps all."""
    from scipy.sparse import csr_matrix

    owner = np.repeat(np.arange(len(lengths)), lengths)
    texts = np.bincount(runs % _BUCKETS, minlength=_BUCKETS)
    is_own = texts[runs % _BUCKETS] <= max(_FORM_TEXTS, _FORM_SHARE * len(lengths))
    is_own |= ~np.bincount(owner[is_own], minlength=len(lengths)).astype(bool)[owner]
    lengths = np.bincount(owner[is_own], minlength=len(lengths))
    runs = runs[is_own]
    ones = np.ones(len(runs), np.int8)
    return csr_matrix((ones, runs, np.append(0, np.cumsum(lengths))), shape=(len(lengths), 2**31 - 1))


def _jaccard(sets: csr_matrix, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """|A ∩ B| / |A ∪ B| of some pairs of sets."""
    sizes = np.diff(sets.indptr)
    common = sets[i].multiply(sets[j]).getnnz(axis=1)
    return common / (sizes[i] + sizes[j] - common)
