"""Names of columns: what an option names must be there and be no object, and SQL must tell each from all others."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from tasks.core.errors import BadInput
from tasks.ingestion.files.foreign_formats import typed_name

_SHOWN = 8
_MAP = "Map the columns by name: --reader.label, --reader.features, --reader.text, --reader.image …"
# A name that is a value: a number with a fraction, or below 0. Whole ones may be years, or places of pixels.
_VALUE = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?|-\d+")
_LABELS = ("target", "class", "category", "species", "sentiment", "outcome", "diagnosis", "survived")
_POSITION = re.compile(r"column_\d+")


def check_named(
    named: Sequence[tuple[str, str]], present: list[str], objects: Mapping[str, tuple[str, ...]], where: str
) -> None:
    """Refuse an option that names no column, or one of objects.

    Args:
        named: option and column.
        present: the columns that there are, fields within others that an option names among them.
        objects: the columns of objects, each with the paths of its values.
        where: the source, for the message.

    Raises:
        BadInput: one does.
    """
    for option, name in named:
        if name in objects:
            fields = objects[name]
            raise BadInput(
                where=f"{where}, column {name!r}",
                expected=f"one value a row, for --reader.{option}",
                got=f"objects with the fields {_list(fields)}" if fields else "objects",
                do=f"Name a field: {_typed(option, fields[0])}." if fields else "Name another column.",
            )
        if name not in present:
            raise _missing(option, name, present, objects, where)


def side_by_side(where: str, one: tuple[str, list[str]], other: tuple[str, list[str]], label: str) -> BadInput:
    """Files of a folder that are parts of the same rows.

    Args:
        where: the folder.
        one: a file and its columns.
        other: the same of the one that has the label.
        label: the column.
    """
    (first, names), (second, others) = one, other
    common = [name for name in names if name in others]
    way = f"Join them first, by {common[0]}." if common else "Put their columns side by side first."
    if first.endswith(".csv") and second.endswith(".csv") and all(typed_name(name) == name for name in (first, second)):
        join = (
            f"""python -c "from pandas import read_csv as r; r('{first}', dtype=str).merge(r('{second}', dtype=str))"""
            """.to_csv('rows.csv', index=False)\""""
        )
        way = f"Join them first: {join if common else f'paste -d, {first} {second} > rows.csv'}; then name rows.csv."
    return BadInput(
        where=where,
        expected="files of the same columns, which are read one below the other",
        got=f"{label!r} in {second} alone, beside {first} with {_list(names)}",
        do=way,
    )


def _missing(
    option: str, name: str, present: list[str], objects: Mapping[str, tuple[str, ...]], where: str
) -> BadInput:
    fields = [field for inner in objects.values() for field in inner]
    names = [column for column in present if column not in objects] + fields
    near = [field for field in fields if field.rpartition(".")[2] == name]
    near += difflib.get_close_matches(name, names, n=1) or _inside(name, fields)
    if option == "label":
        near += [column for column in names if column.lower() in _LABELS]
    do = f"Did you mean {_typed(option, near[0])}?" if near else _MAP
    if option == "label" and "," in name and {part.strip() for part in name.split(",")} <= set(present):
        do = "Name one column; where each of these says yes or no to a label of its own: --reader.target labels."
    elif len(names) == 1 and name in re.split(r"\W+", names[0]):
        do = "The first line is one cell: --reader.delimiter says what separates the cells."
    elif any(map(_VALUE.fullmatch, names)) or _POSITION.fullmatch(name):
        do = "Where the first line is no header: --reader.header false, and columns are column_0, column_1 …"
    return BadInput(
        where=where,
        expected=f"a column {name!r}",
        got=f"columns {', '.join(map(_shown, names[:20]))}{' …' if len(names) > 20 else ''}",
        do=do,
    )


def _inside(name: str, fields: list[str]) -> list[str]:
    """The fields below what was named."""
    return [field for field in fields if field.startswith((f"{name}.", f"{name}["))]


def distinct_names(names: Iterable[str], named: Iterable[str], reserved: Iterable[str], where: str) -> dict[str, str]:
    """New names of the columns that SQL could not tell from others, for it does not look at case.

    Args:
        names: of all columns; equal ones are told elsewhere.
        named: those that options name, which keep theirs.
        reserved: names of our own; who bears one of them exactly is told elsewhere.
        where: the source, for the message.

    Raises:
        BadInput: options name two of one kind.
    """
    columns, fixed, own = list(dict.fromkeys(names)), set(named), set(reserved)
    owners: dict[str, str] = {}
    for name in sorted(columns, key=lambda name: name not in fixed):
        owner = owners.setdefault(name.lower(), name)
        if owner != name and name in fixed:
            raise BadInput(
                where=where,
                expected="columns that SQL can tell apart, where options name them",
                got=f"{owner!r} and {name!r}, which differ in case alone",
                do="Rename one of them in the source.",
            )
    taken = {*owners, *own}
    renamed: dict[str, str] = {}
    for name in columns:
        lower = name.lower()
        if name in fixed or name in own or (owners[lower] == name and lower not in own):
            continue
        stem = f"original_{name}" if lower in own else name
        new = next(
            new for n in range(1, len(columns) + 3) if (new := stem if n == 1 else f"{stem}_{n}").lower() not in taken
        )
        taken.add(new.lower())
        renamed[name] = new
    return renamed


def renames_note(renamed: Mapping[str, str]) -> str:
    """What there is to tell about new names."""
    pairs = ", ".join(f"{old} as {new}" for old, new in renamed.items())
    return f"kept under new names, for SQL does not look at case and could not tell them from others: {pairs}"


def shown_names(names: Sequence[str]) -> str:
    """Names in a message: quoted where a reader could not see where one begins or ends."""
    return ", ".join(map(_shown, names))


def _shown(name: str) -> str:
    return name if name == name.strip() and name and "," not in name else repr(name)


def typed_names(names: Sequence[str]) -> str:
    """Names as one types them in a list: those with a comma between quotes."""
    return shlex.quote(",".join(f'"{name}"' if "," in name else name for name in names))


def _typed(option: str, value: str) -> str:
    return f"--reader.{option} {typed_names([value]) if option == 'features' else shlex.quote(value)}"


def _list(fields: Sequence[str]) -> str:
    return ", ".join(fields[:_SHOWN]) + (" …" if len(fields) > _SHOWN else "")
