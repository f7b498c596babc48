"""Types of columns in formats that know no unsigned integers: each becomes the next wider signed one."""

from __future__ import annotations

import pyarrow as pa

from tasks.core.errors import BadInput

_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


def signed(schema: pa.Schema, where: str) -> pa.Schema:
    """The schema without unsigned integers. No value is lost by a cast to it.

    Args:
        schema: of a table.
        where: what wants it.

    Raises:
        BadInput: a column has a type that nothing signed can hold, or none of its own width.
    """
    return pa.schema([field.with_type(_signed(field.type, field.name, where)) for field in schema])


def widened(before: pa.Schema, after: pa.Schema) -> tuple[str, ...]:
    """A line for each column whose type is another one."""
    pairs = zip(before, after, strict=True)
    return tuple(
        f"column {old.name}: {old.type} is written as {new.type}" for old, new in pairs if old.type != new.type
    )


def holds(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type is another one, or has it inside."""
    return kind == wanted or any(holds(kind.field(i).type, wanted) for i in range(kind.num_fields))


def _signed(kind: pa.DataType, name: str, where: str) -> pa.DataType:
    if kind == pa.uint64() or pa.types.is_float16(kind):
        raise BadInput(
            where=f"{where}, column {name}",
            expected="integers of at most 32 bits or signed ones, floats of 32 or 64 bits",
            got=str(kind),
            do="Cast the column in the source, or publish --to lance.",
        )
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field, name, where), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field, name, where))
    if pa.types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field, name, where))
    if pa.types.is_struct(kind):
        return pa.struct([_field(kind.field(i), name, where) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _field(kind.item_field, name, where))
    return _WIDER.get(kind, kind)


def _field(field: pa.Field, name: str, where: str) -> pa.Field:
    return field.with_type(_signed(field.type, name, where))
