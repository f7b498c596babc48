"""What changed between two versions, row by row, each with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from tasks.core.sql import query
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
        counter = Counter(self.rows["change"].to_pylist())
        return {change: counter[change] for change in CHANGES if counter[change]}

    @property
    def title(self) -> str:
        """In one line."""
        said = ", ".join(f"{number:,} {change}" for change, number in self.counts.items())
        return f"{self.b.dataset} {self.a.version} → {self.b.version}: {said or 'the same rows'}"


def difference(history: History, a: Manifest, b: Manifest) -> Difference:
    """Compare two versions' members and decisions (tasks/versions/difference.sql)."""
    with rows_of(history, a.rows_of) as before, rows_of(history, b.rows_of) as after, duckdb.connect() as db:
        tables = {
            "a": before.members(),
            "b": after.members(),
            "decisions_a": before.decisions,
            "decisions_b": after.decisions,
        }
        for name, table in tables.items():
            db.register(name, table)
        return Difference(a, b, db.sql(query("versions/difference")).to_arrow_table())
