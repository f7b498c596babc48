"""What changed between two versions, row by row, each with its reason."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.sql import connect, query
from tasks.versions.contents import rows_of
from tasks.versions.history import History
from tasks.versions.manifest import Manifest

CHANGES = ("removed", "relabelled", "restored", "added", "gone", "moved")
"""Left out by a decision · under another label · back, or under its own label again · new in the source · no longer in
the source · in another split."""


@dataclass(frozen=True)
class Difference:
    """From version ``a`` to version ``b``."""

    a: Manifest
    b: Manifest
    rows: pa.Table
    """change, sample_id, split, source, row, old_label, new_label, rank, suspicion, reason, rule, decided_by,
    decided_at; by kind of change, then by rank."""

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind of change there are."""
        counts = {row["values"]: row["counts"] for row in pc.value_counts(self.rows["change"]).to_pylist()}
        return {change: counts[change] for change in CHANGES if change in counts}

    def rows_of(self, change: str) -> pa.Table:
        """Those of one kind of change."""
        return self.rows.filter(pc.equal(self.rows["change"], change))

    @property
    def title(self) -> str:
        """In one line."""
        said = ", ".join(f"{number:,} {change}" for change, number in self.counts.items())
        return f"{self.b.dataset} {self.a.version} → {self.b.version}: {said or 'the same rows'}"


def difference(history: History, a: Manifest, b: Manifest) -> Difference:
    """Compare two versions' members and decisions (tasks/versions/difference.sql)."""
    contents = rows_of(history, a.rows_of), rows_of(history, b.rows_of)
    with contents[0] as before, contents[1] as after, connect(after.scratch) as db:
        tables = {
            "a": before.members(),
            "b": after.members(),
            "decisions_a": before.decisions,
            "decisions_b": after.decisions,
        }
        for name, table in tables.items():
            db.register(name, table)
        return Difference(a, b, db.sql(query("versions/difference")).to_arrow_table())
