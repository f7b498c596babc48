"""The names of types are DuckDB's own, whether it is asked or not."""

import duckdb
import pyarrow as pa
import pytest

from tasks.catalogue.relations import _asked, _type_name, _types

KNOWN = [pa.string(), pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.timestamp("us")]
KNOWN += [pa.list_(kind) for kind in KNOWN] + [pa.map_(pa.string(), pa.float64()), pa.list_(pa.list_(pa.int32()))]
OTHERS = [pa.uint8(), pa.date32(), pa.list_(pa.float32(), 3), pa.struct([("a", pa.int8())]), pa.timestamp("us", "UTC")]


@pytest.mark.parametrize("kind", KNOWN, ids=str)
def test_a_name_that_is_known_is_the_one_that_duckdb_gives(kind):
    assert _type_name(kind) == _asked(kind)


@pytest.mark.parametrize("kind", [*OTHERS, pa.list_(pa.uint8()), pa.map_(pa.string(), pa.uint8())], ids=str)
def test_of_other_types_duckdb_is_asked(kind):
    assert _type_name(kind) is None
    name = _types(pa.schema([("column", kind)]))["column"]
    assert str(duckdb.sql(f"SELECT NULL::{name}").types[0]) == name
