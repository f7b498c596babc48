"""What a page shows of copies: pairs beside one another, the surest wrong labels first, then leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from tasks.core.sql import literal
from tasks.report.exhibits import Exhibits

MOST = 50
"""Pairs that a page shows; the view copies has all."""
# Longer side of their pictures.
_LONGEST = 112

# Both of two near copies stand beside each other in the table: a pair is shown once.
_PAIRS = """
    SELECT sample_id, other_id, kind, distance, split, other_split, label, other_label
    FROM read_parquet({files}, union_by_name = true)
    WHERE kind NOT IN ('repeat', 'alike')
    QUALIFY row_number() OVER (
        PARTITION BY least(sample_id, other_id), greatest(sample_id, other_id) ORDER BY sample_id) = 1
    ORDER BY label = other_label OR coalesce(
        abs(TRY_CAST(label AS DOUBLE) - TRY_CAST(other_label AS DOUBLE)) <= {tolerance}, false),
        kind, (split = 'train') = (other_split = 'train'), distance, sample_id, other_id
"""


def copies_section(folder: Path, most: int = MOST) -> dict[str, Any]:
    """Pairs of copies of a recorded run.

    First those of different labels (of numbers those that differ by more than find_copies tolerates); exact ones before
    near ones; those across the border between training and what is held out before others.

    Args:
        folder: of the run.
        most: pairs that are shown.

    Returns:
        ``pairs`` (sample_id, other_id, kind, distance, split, other_split, label, other_label) and ``count`` of all.
    """
    files = [path for name in ("copies", "near_copies") if (path := folder / f"{name}.parquet").is_file()]
    if not files:
        return {"pairs": [], "count": 0}
    with duckdb.connect() as db:
        names = "[" + ", ".join(literal(file) for file in files) + "]"
        pairs = db.sql(_PAIRS.format(files=names, tolerance=_tolerance(folder)))
        shown, count = pairs.limit(most).to_arrow_table().to_pylist(), pairs.count("*").fetchall()[0][0]
    return {"pairs": shown, "count": count}


def shown_copies(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The section of a recorded run, with how both samples of a pair look, of every split.

    Args:
        folder: of the run.
        facts: of its samples.
    """
    section = copies_section(folder)
    exhibits = replace(Exhibits.of_run(folder, facts), samples=tuple(sorted((folder / "samples").glob("*.parquet"))))
    ids = dict.fromkeys(pair[end] for pair in section["pairs"] for end in ("sample_id", "other_id"))
    faces = exhibits.faces(list(ids), _LONGEST) if ids else {}
    for pair in section["pairs"]:
        # A copy that was left out is in no file of the run any more.
        ends = ((pair[f"{end}id"], pair[f"{side}split"]) for end, side in (("sample_", ""), ("other_", "other_")))
        pair["looks"] = [
            {"split": split} | (faces[name].for_comparison(set()) if name in faces else {"name": name, "label": ""})
            for name, split in ends
        ]
    return section


def _tolerance(folder: Path) -> str:
    """What find_copies tolerates between numbers, as SQL."""
    record = folder / "run.json"
    facts = json.loads(record.read_bytes()).get("facts", {}) if record.is_file() else {}
    tolerance = facts.get("copies", {}).get("tolerance")
    return "NULL" if tolerance is None else f"{float(tolerance)!r}::DOUBLE"
