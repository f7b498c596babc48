"""What the cells of a column look like, counted as they pass: no more is kept than a few numbers a column."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders import cells
from tasks.dataset.targets.number import NUMBER
from tasks.dataset.targets.target import bools
from tasks.ingestion.tables.columns import is_list, is_number, is_text

FEW = 4096
"""Different values up to which a column's are kept, and counted without a question to the spool."""
WHOLE = 2**53
"""Up to there a float64 holds every whole number."""
_DIGITS = 15  # that a float64 holds of any decimal number
_SOME = 64
# What surveys and instruments write for no answer, and how many values make a column that one may stand in.
_CODES_BELOW, _CODES_ABOVE = (-1, -9, -99, -999, -9999), (99, 999, 9999, 99999)
_LEAST_BESIDE_CODE = 4
# A marker that is a number.
_CODE = re.compile(r"[+-]?\d{1,15}(\.\d*)?")
_MOST_ODD = 6  # words among numbers that may all stand for no value
_MOST_AFFIXES = 2  # nothing, and one currency or percent sign


class Profile:
    """Counts of one column, and which ways of writing still read every word of it."""

    def __init__(self, markers: tuple[str, ...]) -> None:
        self.markers = spellings(markers)
        self._markers = markers
        self.values = 0
        """Cells that hold a value."""
        self.missing = 0
        self.numbers = 0
        """Cells that are plain numbers, as text or as such."""
        self.typed = False
        """Whether some are numbers or booleans as such."""
        self.says_yes = self.says_no = False
        self.booleans = True
        self.forms = list(cells.FORMS)
        self.has_commas = False
        """Whether a comma stands in some written number."""
        self.dates = list(cells.DATES)
        self.dated = True
        """Whether every word has the shape of a date, whatever its order."""
        self.odd: Counter[str] | None = Counter()
        """The words that are no plain numbers, with how often they come, as long as they are few."""
        self.length = 0
        """Of the first list."""
        self.other_lengths = 0
        """Lists of another length than the first one's."""
        self.words_in_three = 0
        """Values of three words and more."""
        self.unique: pa.Array | None = pa.nulls(0)
        """The different values, as long as they are few; numbers that stand as text among numbers as text."""
        self.has_codes = False
        """Whether whole numbers of one length begin with 0, as postal codes do."""
        self.has_long = False
        """Whether some are numbers, and no text, with more digits than a float holds."""
        self.plain_words: pa.Array = pa.array([], pa.string())
        """Some of the words that are plain numbers."""
        self._lengths: set[int] = set()
        self._zeros = False
        self._affixes: set[str] = set()

    def add(self, column: pa.Array) -> None:
        """Count some more cells."""
        kind = column.type
        if pa.types.is_dictionary(kind) and not is_text(kind.value_type):
            self.add(column.dictionary_decode())
        elif is_number(kind) or pa.types.is_boolean(kind):
            self.typed = True
            column = without_markers(column, self._markers)
            values = column.filter(pc.invert(column.is_null(nan_is_null=True)))
            self.values += len(values)
            self.missing += len(column) - len(values)
            self.numbers += len(values) if is_number(kind) else 0
            self.has_long |= _has_long(values)
            self._remember(values)
        elif is_text(kind) or (pa.types.is_dictionary(kind) and is_text(kind.value_type)):
            self._add_words(cells.trimmed(column))
        else:
            self.values += len(column) - column.null_count
            self.missing += column.null_count
            self._remember(column.drop_null() if pa.types.is_temporal(kind) else None)
            if is_list(kind) and self.values:
                lengths = pc.list_value_length(column.drop_null())
                self.length = self.length or (lengths[0].as_py() if len(lengths) else 0)
                self.other_lengths += pc.sum(pc.not_equal(lengths, self.length)).as_py() or 0

    def _add_words(self, words: pa.Array) -> None:
        missing = is_marked(words, self._markers)
        words = words.filter(pc.and_(pc.is_valid(words), pc.invert(missing)))
        coded = words.dictionary_encode()
        unique, counts = coded.dictionary, np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
        self.values += len(words)
        self.missing += len(missing) - len(words)
        self._remember(unique)
        if not len(words):
            return
        plain = bools(pc.match_substring_regex(unique, NUMBER))
        self.numbers += int(counts[plain].sum())
        if plain.any():
            self._look_at_plain(unique.filter(pa.array(plain)))
        if not plain.all():
            self._narrow(unique, counts)
        if self.numbers:  # some are without a unit
            self.forms = [form for form in self.forms if form in cells.FORMS or form.endswith(cells.FACTORS)]
        if not plain.all():
            self._set_aside(unique.filter(pa.array(~plain)), counts[~plain])

    def _set_aside(self, words: pa.Array, counts: np.ndarray) -> None:
        if self.odd is None or len(words) + len(self.odd) > 2 * _MOST_ODD:
            self.odd = None
            return
        self.odd.update(dict(zip(words.to_pylist(), counts.tolist(), strict=True)))
        self.odd = self.odd if len(self.odd) <= _MOST_ODD else None

    @property
    def code(self) -> str | None:
        """A number that seems to stand for a missing answer; None where none does.

        It is one that surveys use for that, alone on its side of 0 or further from all others than these lie apart.
        """
        few = self.unique
        if few is None or len(few) < _LEAST_BESIDE_CODE or self.numbers < self.values:
            return None
        values = np.unique(few.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        if len(values) < _LEAST_BESIDE_CODE:
            return None  # 5, 5.0 and 5.00 are one
        least, second, before, most = values[0], values[1], values[-2], values[-1]
        if least in _CODES_BELOW and second >= 0:
            return f"{least:.0f}"
        return f"{most:.0f}" if most in _CODES_ABOVE and most - before > before - least else None

    @property
    def is_boolean(self) -> bool:
        """Whether every word says yes or no, so far as plain numbers among them show."""
        return self.booleans and cells.is_yes(self.plain_words).null_count == 0

    def _look_at_plain(self, words: pa.Array) -> None:
        """Plain numbers among the words: some of them, and whether they are codes."""
        if len(self.plain_words) < _SOME:
            self.plain_words = pc.unique(pa.concat_arrays([self.plain_words, words.slice(0, _SOME).cast(pa.string())]))
        if len(self._lengths) < 2:
            self._lengths |= set(pc.unique(pc.utf8_length(words)).to_pylist())
            self._zeros |= bool(pc.any(pc.match_substring_regex(words, r"^0[0-9]+$")).as_py())
        self.has_codes = self._zeros and len(self._lengths) == 1

    def _remember(self, values: pa.Array | None) -> None:
        """Add to the different values; too many, or of two types, are forgotten."""
        known = self.unique
        if known is None or values is None or (len(known) and known.type != values.type):
            self.unique = None
            return
        every = pc.unique(pa.concat_arrays([known, values]) if len(known) else values)
        self.unique = every if len(every) <= FEW else None

    def _narrow(self, unique: pa.Array, counts: np.ndarray) -> None:
        """Drop the ways of writing that cannot read all of ``unique``, of which some word is no plain number."""
        if self.booleans:
            yes = cells.is_yes(unique)
            self.booleans = yes.null_count == 0
            self.says_yes |= bool(pc.any(yes).as_py())
            self.says_no |= not bool(pc.all(yes).as_py())
        if self.forms:
            self.forms = self.forms if self._affixes else cells.forms_like(unique[0].as_py())
            self._affixes |= set(pc.unique(cells.affix(unique)).to_pylist())
            self.has_commas |= bool(pc.any(pc.match_substring(unique, ",")).as_py())
            self.forms = [f for f in self.forms if self._fits(f) and pc.all(cells.is_written(unique, f)).as_py()]
        self.dated = self.dated and bool(pc.all(cells.looks_like_date(unique)).as_py())
        if not self.dated:
            self.dates = []
        self.dates = [form for form in self.dates if cells.dates(unique, form).null_count == 0]
        self.words_in_three += int(counts[bools(pc.match_substring_regex(unique, r"\S\s+\S+\s+\S"))].sum())

    def _fits(self, form: str) -> bool:
        """Whether a form reads all affixes so far as one."""
        factor = f"{cells.FACTOR}$" if form.endswith(cells.FACTORS) else "$"
        return len({re.sub(factor, "", affix) for affix in self._affixes} - {""}) < _MOST_AFFIXES


def _has_long(values: pa.Array) -> bool:
    """Whether a float holds some number of a column not to its last digit; of decimals their type decides."""
    if pa.types.is_decimal(values.type):
        return values.type.precision > _DIGITS
    if values.type not in (pa.int64(), pa.uint64()) or not len(values):
        return False
    ends = pc.min_max(values)
    return ends["max"].as_py() > WHOLE or ends["min"].as_py() < -WHOLE


@lru_cache
def spellings(markers: tuple[str, ...]) -> pa.Array:
    """Missing markers as they are, in lower and in upper case: Na is a metal; whole numbers with a point, too."""
    whole = [f"{code:.0f}" for code in codes(markers) if code.is_integer()]
    cases = dict.fromkeys(
        word
        for word in (*markers, *whole, *(f"{code}{end}" for code in whole for end in (".", ".0", ".00")))
        for word in (word, word.lower(), word.upper())
    )
    return pa.array(list(cases), pa.string())


@lru_cache
def codes(markers: tuple[str, ...]) -> tuple[float, ...]:
    """The markers that are numbers: what surveys write for a missing answer, 99 or -9."""
    return tuple(float(marker) for marker in markers if _CODE.fullmatch(marker.strip()))


def is_marked(words: pa.Array, markers: tuple[str, ...]) -> pa.Array:
    """Which trimmed words stand for no value: by their spelling, of numbers by their value (-999.000, +99)."""
    marked = pc.fill_null(pc.is_in(words, value_set=spellings(markers)), fill_value=False)
    if codes(markers):
        numbers = pc.if_else(pc.match_substring_regex(words, NUMBER), words, None).cast(pa.float64())
        marked = pc.or_(marked, pc.is_in(numbers, value_set=pa.array(codes(markers), pa.float64())))
    return marked


def without_markers(column: pa.Array, markers: tuple[str, ...]) -> pa.Array:
    """A column of text or of numbers whose missing cells are null, and the others as they were; any other as it is."""
    decoded = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if is_number(decoded.type) and codes(markers):
        wide = pa.float64() if decoded.type not in (pa.float16(), pa.float32()) else pa.float32()
        missing = pc.is_in(decoded.cast(wide, safe=False), value_set=pa.array(codes(markers)).cast(wide, safe=False))
    elif is_text(decoded.type):
        words = cells.trimmed(decoded)
        marked = is_marked(words, markers)
        missing = pc.or_(pc.is_null(words), marked)
    else:
        return column
    if not pc.any(missing).as_py():
        return column
    return pc.if_else(missing, pa.scalar(None, decoded.type), decoded).cast(column.type)
