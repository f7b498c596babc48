"""The catalogue's text: which views a lake has, and over which of its files.

Every view is always there, with all its columns. It names files by absolute glob patterns and tells DuckDB their
columns, so that a new run shows in it by itself, a run older than a column shows null there, and asking for one run
opens no file of another. What cannot be said by a pattern is in the text, which then changes: which run is a dataset's
newest (``data``), which versions and tags there are, which detectors have scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.catalogue.relations import SHOWN_AS, columns_of, has, json, parquet, quote_name
from tasks.core.progress import LOGGER
from tasks.core.sql import literal, query
from tasks.decision.review_answers import REVIEW_ESTIMATES, REVIEW_SAMPLES
from tasks.ingestion.copies import COPIES
from tasks.ingestion.opinions import OPINIONS
from tasks.ingestion.tables.told_columns import COLUMNS
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.schemas import (
    AUDIT,
    COMPARISON,
    DECISIONS,
    DRIFT,
    DYNAMICS,
    EXAMINATION,
    FLAGS,
    FOLDS,
    GRADIENTS,
    METRICS,
    PREDICTIONS,
    REJECTS,
    SAMPLES,
    SEARCH,
    SUSPECTS,
    TRACES,
)
from tasks.pipeline.stored_names import inside
from tasks.scoring.diagnosis import DIAGNOSES
from tasks.versions.history import History, datasets
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects

# Folders that are still being written begin with a dot.
WHOLE = "[!.]*"
RUNS, COMPARISONS = f"runs/{WHOLE}/run.json", f"comparisons/{WHOLE}/comparison.parquet"

_RUN = {
    "run_id": "VARCHAR", "dataset": "VARCHAR", "recorded": "TIMESTAMP", "verdict": "VARCHAR",
    "train_samples": "BIGINT", "test_samples": "BIGINT", "rejected": "BIGINT", "flagged": "BIGINT",
    "detector": "VARCHAR", "accuracy_untouched": "DOUBLE", "accuracy_cleaned": "DOUBLE", "accuracy_random": "DOUBLE",
    "accuracy_relabelled": "DOUBLE", "prefect_run_id": "VARCHAR", "facts": "JSON",
}  # fmt: skip
_VERSION = {
    "dataset": "VARCHAR", "version": "VARCHAR", "number": "BIGINT", "kind": "VARCHAR", "parent": "VARCHAR",
    "rollback_of": "VARCHAR", "published": "TIMESTAMP", "by": "VARCHAR", "run_id": "VARCHAR", "code": "VARCHAR",
    "model": "VARCHAR", "detectors": "VARCHAR[]", "budget": "JSON", "remedy": "VARCHAR", "verdict": "JSON",
    "config": "VARCHAR", "source": "VARCHAR", "samples": "VARCHAR", "flags": "VARCHAR", "metrics": "VARCHAR",
    "rows": "BIGINT", "removed": "BIGINT", "relabelled": "BIGINT", "members": "VARCHAR", "content": "VARCHAR",
}  # fmt: skip
_TRACE = {
    "trace_id": "VARCHAR", "run_id": "VARCHAR", "dataset": "VARCHAR", "recorded": "TIMESTAMP", "queries": "BIGINT",
    "roc_auc": "DOUBLE", "recall": "DOUBLE", "options": "JSON",
}  # fmt: skip
_REVIEW = {
    "review_id": "VARCHAR", "run_id": "VARCHAR", "dataset": "VARCHAR", "recorded": "TIMESTAMP",
    "reviewed_by": "VARCHAR", "note": "VARCHAR", "drawn": "BIGINT", "answered": "BIGINT", "not_known": "BIGINT",
    "unanswered": "BIGINT",
}  # fmt: skip
_MOVE = {"tag": "VARCHAR", "version": "VARCHAR", "at": "TIMESTAMP", "by": "VARCHAR", "reason": "VARCHAR"}
_LINK = {"number": "BIGINT", "adopted": "MAP(VARCHAR, VARCHAR)"} | _MOVE
# Of no fixed width, as each run has its own.
_VOTES = pa.schema(
    [("sample_id", pa.string()), ("votes", pa.list_(pa.float32())), ("neighbours", pa.list_(pa.int32()))]
)
_CANARIES = pa.schema(
    [(name, pa.string()) for name in ("sample_id", "planted_label", "kind")] + [("networks", pa.list_(pa.bool_()))]
)
_ARM = "string_split(parse_filename(__file, true), '-')"
# The Arrow file whose scalars a Parquet file of the same name holds.
_SHARD = "'gradients/' || parse_filename(__file, true) || '.arrow'"
# Rows of so many of a dataset's newest versions have views of their own, and of those a tag points at.
_MOST_VERSIONS = 50


def definition(lake: Path) -> str:
    """The catalogue of a lake as SQL text."""
    text = query("catalogue/catalogue")
    for name, source in _sources(lake).items():
        text = text.replace(f"{{{name}}}", source)
    return text + "".join(_of_runs(lake)) + "".join(_of_datasets(lake)) + "".join(_of_versions(lake))


def _sources(lake: Path) -> dict[str, str]:
    """What stands for the braces of catalogue.sql."""
    return {
        "runs": json(lake, RUNS, _RUN),
        "versions": json(lake, f"versions/{WHOLE}/v*.json", _VERSION),
        "moves": json(lake, f"versions/{WHOLE}/tags/*/*.json", _MOVE),
        "links": json(lake, f"versions/{WHOLE}/log/*.json", _LINK),
        "decisions": parquet(lake, f"versions/{WHOLE}/contents/*/decisions.parquet", DECISIONS),
        "comparisons": parquet(lake, COMPARISONS, COMPARISON),
        "traces": json(lake, f"traces/{WHOLE}/trace.json", _TRACE),
        "traced": parquet(lake, f"traces/{WHOLE}/traced.parquet", TRACES),
        "reviews": json(lake, f"review_answers/{WHOLE}/review.json", _REVIEW),
        "review_samples": parquet(lake, f"review_answers/{WHOLE}/answers.parquet", REVIEW_SAMPLES),
        "review_estimates": parquet(lake, f"review_answers/{WHOLE}/estimates.parquet", REVIEW_ESTIMATES),
        "dataset": dataset_of("parse_path(file)[-3]"),
        "latest": _latest(lake),
        "checkpoints": literal(lake, f"runs/{WHOLE}/checkpoints/*.pt"),
    }


def _latest(lake: Path) -> str:
    """The ids of each dataset's newest run, as main.runs has them.

    Not asked of that view, which knows versions and tags as well: DuckDB takes 4 ms longer to bind it, at every query.
    """
    runs = json(lake, RUNS, {name: _RUN[name] for name in ("run_id", "dataset", "recorded")})
    return f"SELECT run_id FROM {runs} QUALIFY recorded = max(recorded) OVER (PARTITION BY dataset)"


def _of_runs(lake: Path) -> Iterable[str]:
    """Views over the tables that every run has, and the same of each dataset's newest run."""
    detectors = [name for name in columns_of(lake, f"runs/{WHOLE}/scores.parquet") if name != "sample_id"]
    scores = pa.schema([SAMPLES.field("sample_id"), *(pa.field(name, pa.float64()) for name in detectors)])
    tables = {
        "samples": ("samples/*.parquet", SAMPLES, "*"),
        "rejects": ("rejects.parquet", REJECTS, "*"),
        "columns": ("columns.parquet", COLUMNS, "*"),
        "copies": ("*copies.parquet", COPIES, "*"),
        "folds": ("folds.parquet", FOLDS, "* RENAME (new_samples AS is_new)"),
        "votes": ("votes.parquet", _VOTES, "*"),
        "dynamics": ("dynamics/*.parquet", DYNAMICS, "*"),
        "canaries": ("canaries.parquet", _CANARIES, "*"),
        "predictions": (
            "predictions/*.parquet", PREDICTIONS, f"{_ARM}[1] AS arm, {_ARM}[2]::BIGINT AS seed, *"
        ),
        "gradients": ("gradients/*.parquet", GRADIENTS, f"*, {_SHARD} AS shard"),
        "opinions": ("opinions.parquet", OPINIONS, "*"),
        "scores": ("scores.parquet", scores, "*"),
        "flags": ("flags.parquet", FLAGS, "*"),
        "suspects": ("flags.parquet", SUSPECTS, "*"),
        "diagnoses": ("diagnoses.parquet", DIAGNOSES, "*"),
        "drift": ("drift.parquet", DRIFT, "*"),
        "audit": ("audit.parquet", AUDIT, "*"),
        "examination": ("examination.parquet", EXAMINATION, "*"),
        "search": ("search.parquet", SEARCH, "*"),
        "metrics": ("metrics.parquet", METRICS, "*"),
    }  # fmt: skip
    latest = _latest(lake)
    for view, (pattern, schema, columns) in tables.items():
        index = -2 - pattern.count("/")
        selection = columns.replace("*", "* EXCLUDE __file", 1)
        files = parquet(lake, f"runs/{WHOLE}/{pattern}", schema)
        yield f"""
            CREATE VIEW {view} AS
                SELECT parse_path(__file)[{index}] AS run_id, {dataset_of(f"parse_path(__file)[{index}]")} AS dataset,
                       {selection} FROM {files};
            CREATE VIEW latest.{view} AS
                SELECT * FROM main.{view} WHERE run_id IN ({latest});
        """
    # Repeats of a combination of values, and pictures of one scene, bear other labels by nature. Equal inputs
    # contradict most surely. Numbers that differ by no more than find_copies tolerates are one label.
    for schema in ("main", "latest"):
        yield f"""
            CREATE VIEW {schema}.contradictions AS
                SELECT copies.* FROM {schema}.copies LEFT JOIN main.runs USING (run_id)
                WHERE label <> other_label AND kind NOT IN ('repeat', 'alike') AND coalesce(
                    abs(TRY_CAST(label AS DOUBLE) - TRY_CAST(other_label AS DOUBLE))
                        > (facts ->> '$.copies.tolerance')::DOUBLE,
                    true)
                ORDER BY kind, distance, sample_id, other_id;
        """


def dataset_of(run_id: str) -> str:
    """The dataset that a run's id begins with, in SQL: no other file needs to be opened to know it."""
    return f"regexp_extract({run_id}, '^(.*)-[^-]+-[^-]+$', 1)"


def _of_datasets(lake: Path) -> Iterable[str]:
    newest: dict[str, tuple[str, str]] = {}
    for record in RecordedRun.all_of(lake):
        newest[record.dataset] = max(newest.get(record.dataset, ("", "")), (record.recorded, record.run_id))
    for dataset in _distinct(newest, "dataset"):
        _, run_id = newest[dataset]
        folder = inside(lake / "runs", run_id, single=True)
        selection = f"* {_renaming(sorted((folder / 'samples').glob('*.parquet')))}"
        files = literal(folder, "samples/*.parquet")
        yield f"CREATE VIEW data.{quote_name(dataset)} AS SELECT {selection} FROM read_parquet({files});\n"


def _of_versions(lake: Path) -> Iterable[str]:
    """The rows of versions and of what tags point at, where their files are in the lake."""
    if not has(lake, f"versions/{WHOLE}/v*.json"):
        return
    objects = Objects(lake / "versions")
    for dataset in _distinct(datasets(objects), "dataset"):
        history = History(objects, dataset)
        tags = history.tags()
        shown = _distinct(tags, f"tag of {dataset}")
        versions = {f"v{number:04d}" for number in history.numbers()[-_MOST_VERSIONS:]} | set(tags.values())
        for version in sorted(versions):
            # Cleared away since it was listed: then it has no view.
            if (manifest := history.still(int(version[1:]))) is None:
                continue
            rows = _rows(lake / "versions" / dataset, manifest)
            names = [version, *(tag for tag in shown if tags[tag] == version)] if rows else []
            yield from (f"CREATE VIEW data.{quote_name(f'{dataset}@{name}')} AS {rows};\n" for name in names)


def _distinct(names: Iterable[str], what: str) -> list[str]:
    """Names that SQL tells apart, sorted; of those that differ in case alone the one in small letters, the others are
    told."""
    ordered = sorted(names)
    shown = {name.lower(): name for name in ordered}
    for name in ordered:
        if shown[name.lower()] != name:
            LOGGER.warning("%s %s has no view: SQL does not tell it from %s", what, name, shown[name.lower()])
    return list(shown.values())


def _rows(home: Path, manifest: Manifest) -> str | None:
    """The rows of a version: its plain files, or its parts under its decisions; None where they are not all here.

    Raises:
        BadArtefact: a name in the manifest leads out of the dataset's folder.
    """
    content = manifest.rows_of
    paths = {name: inside(home, name) for name in content.objects}
    here = {name for name, path in paths.items() if path.is_file()}
    parts = [part.path for part in content.parts]
    if not here.issuperset([*parts, content.decided]):
        return None

    def literals(names: Iterable[str]) -> str:
        return ", ".join(literal(paths[name]) for name in names)

    renaming = _renaming(paths[part] for part in parts)
    # Of what lies elsewhere the lake has parts and decisions, and says the same by them.
    if len(here) == len(paths) and content.plain is not None:
        plain = literals(f"{content.folder}/data/{file.name}" for file in content.plain)
        return f"SELECT * {renaming} FROM read_parquet([{plain}])"
    return f"""
        SELECT p.* REPLACE (coalesce(d.new_label, p.label) AS label) {renaming}
        FROM read_parquet([{literals(parts)}]) p
        LEFT JOIN read_parquet({literals([content.decided])}) d ON p.sample_id = d.sample_id
        WHERE d.decision IS DISTINCT FROM 'remove'"""


def _renaming(files: Iterable[Path]) -> str:
    """What the view calls a dataset's rows; a column of the dataset's own that bears a new name keeps its values under
    another, as one does that bears an old name (tasks/ingestion/readers/tabular)."""
    new_names = {name: SHOWN_AS[name] for name in SAMPLES.names if name in SHOWN_AS}
    columns = next((pq.read_schema(path).names for path in files), [])
    new_names |= {name: f"original_{name}" for name in columns if name.lower() in new_names.values()}
    return f"RENAME ({', '.join(f'{quote_name(name)} AS {quote_name(new)}' for name, new in new_names.items())})"
