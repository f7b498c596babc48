"""What people write into the cells of a table: numbers, yes and no, dates; read by whole columns, never by guess.

Every function takes text without white space around it and gives null where it cannot read.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

# A number as people write it: a sign or parentheses, a currency before or behind, groups of three digits, a percent
# sign. The point and the comma are put in by the form.
_CURRENCY = r"[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY)"
_SPACE = "[\\s\u00a0\u2009\u202f]"
_GROUPS = "[\\s\u00a0\u2009\u202f'’]"
_WRITTEN = (
    rf"^[(]?[+\-−]?{_SPACE}*(?:{_CURRENCY})?{_SPACE}*[+\-−]?"
    rf"(?:[1-9]\d{{0,2}}(?:(?:THOUSANDS\d{{3}})+|(?:{_GROUPS}\d{{3}})+)|\d+)(?:POINT\d+)?"
    rf"{_SPACE}*(?:{_CURRENCY})?{_SPACE}*UNIT%?[)]?$"
)
FORMS = {"point": (r"[.]", ","), "comma": (",", r"[.]")}
"""What stands before the fraction → it, and what may stand between the thousands. Behind a form and a space there may
be the unit that stands behind every number (``point kg``), or ``FACTORS``."""
FACTORS = "ones, k (thousands) and M (millions)"
"""In place of a unit: behind a number may stand k or K, M or Mio, or neither."""
FACTOR = "(?:k|K|Mio|M)?"
# No digit and no sign, for those are the number's.
_UNIT = re.compile(r"\d\s*((?:[^\W\d_]|°)(?:[^\W\d_]|[°²³/·])*)$")
_CODE = r"^0\d"

YES = ("true", "yes", "t", "y", "on", "ja", "oui", "si", "sí", "wahr", "vrai", "1")
NO = ("false", "no", "f", "n", "off", "nein", "non", "falsch", "faux", "0")
"""In lower case."""

DATES = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d-%m-%Y",
    "%Y-%m",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%b %d %Y",
)
"""Where two read every value of a column, the earlier one is taken."""
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]{0,6}"
_NAMED = rf"^(?:\d{{1,2}}[- ]?{_MONTH}[- ]?(?:\d{{4}}|\d{{2}})|{_MONTH} \d{{1,2}},? \d{{4}})$"
_MONTH_OF_YEAR = r"^(?:19|20)\d\d-(?:0[1-9]|1[0-2])$"
_FOUR_DIGITS = r"\d{4}$"
_DATE = r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[T ]\d{1,2}:\d{2}|$)"
_BEHIND_SECONDS = r"(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?$"


def trimmed(column: pa.Array) -> pa.Array:
    """Text without white space around it, of text or of categories; null where nothing is left."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    words = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)


def is_written(words: pa.Array, form: str) -> pa.Array:
    """Whether each word is a number as a form writes it; with a unit 007x is none, but a code."""
    form, _, unit = form.partition(" ")
    point, thousands = FORMS[form]
    pattern = _WRITTEN.replace("THOUSANDS", thousands).replace("POINT", point)
    pattern = pattern.replace("UNIT", FACTOR if unit == FACTORS else re.escape(unit))
    fits = pc.match_substring_regex(words, pattern)
    return pc.and_not(fits, pc.match_substring_regex(words, _CODE)) if unit else fits


def forms_like(word: str) -> list[str]:
    """All forms, those with the unit of this word among them; factors last, for what is always K may be kelvins."""
    found = _UNIT.search(word)
    units = [f" {found[1]}", f" {FACTORS}"] if found else [f" {FACTORS}"]
    return [form + unit for unit in ("", *units) for form in FORMS]


def in_unit(form: str) -> str:
    """What is told of the unit or the factors of a form; empty where it has none."""
    unit = form.partition(" ")[2]
    return f", in {unit}" if unit else ""


def affix(words: pa.Array) -> pa.Array:
    """The currency and the percent sign of written numbers, as text; empty where there is none."""
    return pc.replace_substring_regex(words, rf"[\d.,()+\-−'’]|{_SPACE}", "")


def written_numbers(words: pa.Array, form: str) -> pa.Array:
    """float64 of numbers as people write them, in their unit; in parentheses they are negative."""
    fits = pc.fill_null(is_written(words, form), fill_value=False)
    words = pc.if_else(fits, words, pa.scalar(None, pa.string()))
    negative = pc.match_substring_regex(words, r"[-−(]")
    digits = pc.replace_substring_regex(words, r"[^\d.,]", "")
    form, _, unit = form.partition(" ")
    point, thousands = (",", ".") if form == "comma" else (".", ",")
    digits = pc.replace_substring(pc.replace_substring(digits, thousands, ""), point, ".")
    if unit == FACTORS:
        thousand, million = (pc.match_substring_regex(words, letter) for letter in ("[kK]", "M"))
        digits = pc.binary_join_element_wise(digits, pc.if_else(million, "e6", pc.if_else(thousand, "e3", "e0")), "")
    values = digits.cast(pa.float64())
    return pc.if_else(negative, pc.negate(values), values)


def is_yes(words: pa.Array) -> pa.Array:
    """True and false of yes and no in any spelling; null of every other word."""
    lower = pc.utf8_lower(words)
    yes, no = (pc.is_in(lower, value_set=pa.array(spellings, pa.string())) for spellings in (YES, NO))
    return pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_())))


def looks_like_date(words: pa.Array) -> pa.Array:
    """Whether each word has the shape of a date, whatever its order."""
    return pc.match_substring_regex(words, f"{_DATE}|{_NAMED}|{_MONTH_OF_YEAR}")


def dates(words: pa.Array, form: str) -> pa.Array:
    """Seconds since 1970 as written, time zone and fraction left out, as a timestamp."""
    if form.endswith("%Y"):  # which would read the year 24 as well
        is_long = pc.match_substring_regex(words, _FOUR_DIGITS)
        words = pc.if_else(is_long, words, pa.scalar(None, pa.string()))
    plain = pc.replace_substring_regex(words, r"^(\S+?)[T ](\d{1,2}:\d{2}(?::\d{2})?)" + _BEHIND_SECONDS, r"\1 \2")
    return pc.strptime(plain, format=form, unit="s", error_is_null=True)
