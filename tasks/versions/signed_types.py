"""Types of columns in formats that know no unsigned integers: each becomes the next wider signed one."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from tasks.core.errors import BadInput

_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


def signed(
    schema: pa.Schema, where: str, plain: Callable[[pa.DataType], pa.DataType | None] | None = None
) -> pa.Schema:
    """The schema without unsigned integers and dictionaries. No value is lost by a cast to it.

    Args:
        schema: of a table.
        where: what wants it.
        plain: what a format writes in place of a type that has none inside; None: it has nothing for it.

    Raises:
        BadInput: a column has a type that nothing signed can hold, or that the format does not have.
    """

    def rewritten(kind: pa.DataType, name: str) -> pa.DataType:
        def field(inner: pa.Field) -> pa.Field:
            return inner.with_type(rewritten(inner.type, name))

        if pa.types.is_dictionary(kind):
            return rewritten(kind.value_type, name)
        if pa.types.is_fixed_size_list(kind):
            return pa.list_(field(kind.value_field), kind.list_size)
        if pa.types.is_list(kind):
            return pa.list_(field(kind.value_field))
        if pa.types.is_large_list(kind):
            return pa.large_list(field(kind.value_field))
        if pa.types.is_struct(kind):
            return pa.struct([field(kind.field(i)) for i in range(kind.num_fields)])
        if pa.types.is_map(kind):
            return pa.map_(field(kind.key_field), field(kind.item_field))
        result = None if kind == pa.uint64() or pa.types.is_float16(kind) else _WIDER.get(kind, kind)
        result = plain(result) if plain and result is not None else result
        if result is None:
            raise _unknown(kind, name, where)
        return result

    return pa.schema([field.with_type(rewritten(field.type, field.name)) for field in schema])


def widened(before: pa.Schema, after: pa.Schema) -> tuple[str, ...]:
    """A line for each column whose type is another one."""
    pairs = zip(before, after, strict=True)
    return tuple(
        f"column {old.name}: {old.type} is written as {new.type}" for old, new in pairs if old.type != new.type
    )


def holds(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type is another one, or has it inside."""
    if pa.types.is_dictionary(kind):
        return holds(kind.value_type, wanted)
    return kind == wanted or any(holds(kind.field(i).type, wanted) for i in range(kind.num_fields))


def _unknown(kind: pa.DataType, name: str, where: str) -> BadInput:
    return BadInput(
        where=f"{where}, column {name}",
        expected="texts, bytes, dates, moments, integers of at most 32 bits or signed ones, floats of 32 or 64 bits",
        got=str(kind),
        do="Cast the column in the source, or publish --to lance.",
    )
