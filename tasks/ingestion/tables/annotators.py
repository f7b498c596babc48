"""What annotation tools say of a row beside its label: that it was rejected, passed over, or is a draft yet."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from tasks.ingestion.tables.columns import is_text

_ANSWERS = {
    "answer": (("accept",), ("reject", "ignore")),  # Prodigy's
    "status": (("submitted", "validated", "default"), ("discarded", "draft", "pending")),  # Argilla's
}
"""Column → what its words are of rows whose label counts, and of others."""


def refusals_note(table: pa.RecordBatch, named: Collection[str]) -> tuple[str, ...]:
    """What there is to tell of rows whose label their annotators did not stand by.

    Args:
        table: its first rows.
        named: columns that options name.
    """
    for name, (good, bad) in _ANSWERS.items():
        if name in named or name not in table.schema.names or not is_text(table.column(name).type):
            continue
        counts = {row["values"]: row["counts"] for row in pc.value_counts(table.column(name)).to_pylist()}
        refused = {word: counts[word] for word in bad if word in counts}
        if refused and counts.keys() <= {*good, *bad, None, ""}:
            said = ", ".join(f"{word!r} of {count:,}" for word, count in refused.items())
            return (
                f"column {name} says {said} of the first {table.num_rows:,} rows, which are read with their labels all "
                f"the same: to leave them out, take the rows whose {name} is none of these first",
            )
    return ()
