"""The role of every column of a table, and why: what is an input, what only looks like one, what goes along."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.encoders import cells
from tasks.ingestion.tables.column_names import typed_names
from tasks.ingestion.tables.column_statistics import Statistics
from tasks.ingestion.tables.columns import is_list, is_number, is_text
from tasks.ingestion.tables.profile import Profile
from tasks.ingestion.tables.table_options import SPLIT_COLUMN, WEIGHTS, TableOptions
from tasks.ingestion.tables.unused_columns import columns_by_reason, display_name, is_row_number

Kind = Literal["number", "numbers", "written number", "boolean", "category", "hashed text", "date", "text", "other"]

MOST_CATEGORIES = 32
"""Values up to which each has a column of its own: so a one-hot table stays narrow, and each value is seen often."""
# A column is of numbers if so many of its values are: the others are mistakes, and their rows are rejected.
_NUMBERS = 0.9
# Fields within objects that a message names.
_FIELDS = 6
# Names of ids: id, customer_id, customerID, uuid. What is called so and differs in every row tells rows apart.
_ID = re.compile(r"(?i:(?:.*[\W_])?(?:id|ids|uid|uuid|guid))|.*[a-z]I[dD]", re.DOTALL)
# Of whole numbers alone, for a Reynolds number is one to learn from: order_no, Kundennummer, invoice number.
_NUMBER = re.compile(r"(?i:(?:.*[\W_])?(?:no|nr|num|number|key)|.*nummer)", re.DOTALL)


_READ_AS = {
    "number": "as it is",
    "numbers": "side by side",
    "written number": "written as people write numbers",
    "boolean": "yes is 1, no is 0",
    "category": "few values: a column for each",
    "hashed text": "many values that repeat: hashed n-grams of characters",
    "text": "hashed n-grams of characters",
    "date": "as its parts",
}
CONSTANT = "the same value in every row"
_OWN = "a name of gradsieve's own"


@dataclass(frozen=True)
class Column:
    """A column of a table, as it is used."""

    name: str
    role: str
    kind: str
    distinct_values: int | None
    missing: int | None
    why: str
    form: str | None = None
    """Of written numbers and of dates: how text is read."""

    @property
    def is_input(self) -> bool:
        """Whether networks read it."""
        return self.role == "input"


def role_of(
    name: str, types: list[pa.DataType], profile: Profile, statistics: Statistics, options: TableOptions
) -> Column:
    """What a column is used for.

    Args:
        name: of the column.
        types: it has in the chunks of the source.
        profile: of its cells.
        statistics: of its values.
        options: what the reader was told.
    """
    kind, form, told = _kind_of(types, profile, statistics)
    if statistics.is_constant:
        # Of numbers it stays an input, which says nothing: a column of pixels that is black in today's rows would else
        # give every sample another name on the day when one is not.
        told = CONSTANT
    distinct, missing = statistics.distinct, statistics.missing
    told = told or _READ_AS.get(kind, "")
    aside = _aside(kind, profile)
    if name == options.weights:
        return Column(name, "weight", kind, distinct, missing, WEIGHTS, form)
    if options.features:
        if name in options.features:
            return Column(name, "input", kind, distinct, missing, told + aside, form)
        return Column(name, "carried", kind, distinct, missing, "not named by --reader.features", form)
    role, why = _refusal(name, types, kind, profile, statistics, options) or ("input", told)
    return Column(name, role, kind, distinct, missing, why + aside * (role in ("input", "text", "id")), form)


def _aside(kind: Kind, profile: Profile) -> str:
    """What else there is to tell of a column's cells: some that may stand for no value, or dates that are none."""
    if kind == "number" and (code := profile.code):
        return f"; {code} may stand for no answer: --reader.missing={code}"
    if kind in ("number", "category", "hashed text", "text") and profile.odd and 2 * profile.numbers > profile.values:
        shown = ", ".join(map(repr, profile.odd))
        count = f"{profile.odd.total():,} of {profile.values:,} cells are no numbers"
        return f"; {count} ({shown}): if those are no values, --reader.missing={typed_names([*profile.odd])}"
    if kind in ("category", "hashed text", "text") and profile.values and profile.dated and not profile.dates:
        return "; written as dates, but not all in one order of day, month and year"
    return ""


def _kind_of(types: list[pa.DataType], profile: Profile, statistics: Statistics) -> tuple[Kind, str | None, str]:
    """The kind of a column's values, how text of it is read, and what is to be told of that."""
    first = types[0]
    if any(is_list(kind) for kind in types):
        return ("numbers" if is_list(first) and is_number(first.value_type) and profile.length else "other"), None, ""
    if not profile.values:
        return "other", None, ""
    written = bool(profile.forms) and not profile.typed and profile.numbers < profile.values
    if profile.numbers >= _NUMBERS * profile.values and not profile.has_codes and not written:
        return "number", None, ""
    if all(pa.types.is_boolean(kind) for kind in types):
        return "boolean", None, ""
    if all(pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind) for kind in types):
        return "date", None, ""
    if not all(_is_words(kind) for kind in types) and not profile.typed:
        return "other", None, ""
    return _kind_of_words(profile, statistics)


def _kind_of_words(profile: Profile, statistics: Statistics) -> tuple[Kind, str | None, str]:
    if profile.forms and not profile.typed and not profile.has_codes:
        form = profile.forms[0]
        told = f"{_READ_AS['written number']}{', with a decimal comma' * form.startswith('comma')}{cells.in_unit(form)}"
        if len({each.partition(" ")[0] for each in profile.forms}) > 1 and profile.has_commas:
            told += "; a comma is read as between thousands"
        return "written number", form, told
    if profile.is_boolean and profile.says_yes and profile.says_no and not profile.typed:
        return "boolean", None, ""
    if profile.dates and not profile.typed and not len(profile.plain_words) and not _are_seasons(profile):
        form, others = profile.dates[0], profile.dates[1:]
        return "date", form, f"read as {form}, though {others[0]} fits as well" if others else ""
    distinct = statistics.distinct or 0
    if distinct <= MOST_CATEGORIES and distinct * 2 <= profile.values:
        return "category", None, ""
    return ("hashed text" if distinct * 2 <= profile.values else "text"), None, ""


def _are_seasons(profile: Profile) -> bool:
    """Whether what may be months are years and the next: 2008-09, 2009-10."""
    few = profile.unique.to_pylist() if profile.dates == ["%Y-%m"] and profile.unique is not None else []
    return bool(few) and all(int(word[5:7]) == (int(word[2:4]) + 1) % 100 for word in few)


def _is_words(kind: pa.DataType) -> bool:
    return is_text(kind) or pa.types.is_dictionary(kind)


def _refusal(
    name: str, types: list[pa.DataType], kind: Kind, profile: Profile, statistics: Statistics, options: TableOptions
) -> tuple[str, str] | None:
    """The role and the reason of a column that is no input unless it is named as one; None of an input."""
    if name in options.own_names.values():
        return "carried", _OWN + f"; --reader.split {SPLIT_COLUMN} for its own splits" * (
            name == options.own_names.get(SPLIT_COLUMN)
        )
    if not profile.values:
        return "carried", "empty"
    if is_row_number(name):
        return "index", "a row number by its name"
    if kind == "other":
        return "carried", _other(types[0])
    if statistics.is_constant and kind not in ("number", "numbers"):
        return "carried", CONSTANT
    if statistics.consecutive:
        return "index", "consecutive numbers, one for each row"
    if statistics.all_distinct and (_ID.fullmatch(name) or (statistics.whole and _NUMBER.fullmatch(name))):
        every = "every row that has one" if statistics.missing else "every row"
        return "id", f"an id by its name, with another value in {every}"
    if kind in ("category", "hashed text", "text") and statistics.distinct == profile.values > 1:
        is_free = profile.words_in_three * 2 > profile.values
        told = "text that differs in every row"
        return ("text", told + _way_to_read(name, profile, options)) if is_free else ("id", told)
    if kind == "text":
        told = f"text, {statistics.distinct:,} different in {profile.values:,} rows"
        return "text", told + _way_to_read(name, profile, options)
    return None


def _way_to_read(name: str, profile: Profile, options: TableOptions) -> str:
    """What one types for a column of text, where that is of use: words and not codes, and labels that are classes."""
    is_free = profile.words_in_three * 2 > profile.values
    return f"; --reader.text {shlex.quote(name)} reads it" if is_free and options.target == "class" else ""


def _other(kind: pa.DataType) -> str:
    """A type that no encoder serves, without what it is made of: a struct's fields may fill a page."""
    if is_list(kind):
        return "lists, the first one empty" if is_number(kind.value_type) else f"lists of {_plain(kind.value_type)}"
    return _plain(kind)


def _plain(kind: pa.DataType) -> str:
    return "objects" if isinstance(kind, pa.BaseExtensionType) else str(kind).partition("<")[0]


def check_inputs(columns: list[Column], types: dict[str, list[pa.DataType]], options: TableOptions) -> None:
    """Refuse a table of which nothing can be learned, or whose named inputs no encoder serves.

    Raises:
        BadInput: with every column and its reason.
    """
    taken = set(options.assigned.values())
    fields = [field for column in columns for field in options.objects.get(column.name, ()) if field not in taken]
    do = (
        f"Name fields within objects: --reader.features {typed_names(fields[:_FIELDS])}."
        if fields
        else "Name columns with --reader.features, one of text with --reader.text, one of encoded images with "
        "--reader.image."
    )
    for column in columns:
        if column.is_input and column.kind == "other":
            raise BadInput(
                where=f"{options.where}, column {column.name!r}",
                expected="numbers, lists of numbers, words, dates, or yes and no, as an input column",
                got="no value at all"
                if not column.distinct_values and not types[column.name]
                else _other(types[column.name][0]),
                do=do,
            )
    if any(column.is_input and (column.why != CONSTANT or options.features) for column in columns):
        return
    reasons = {column.name: column.why for column in columns}
    raise BadInput(
        where=options.where,
        expected="a column to learn from",
        got=f"none: {columns_by_reason(reasons)}"
        if reasons
        else f"no column without another role, among {', '.join(map(display_name, options.assigned.values()))}",
        do=do,
    )
