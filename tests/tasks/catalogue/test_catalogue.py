"""The catalogue is a plain DuckDB file: readable by anything, at any time, and true of what lies in the lake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from histories import forge

from tasks.catalogue import comments
from tasks.catalogue.database import NAME, build, connect
from tasks.catalogue.relations import SHOWN_AS, parquet
from tasks.core.errors import BadInput
from tasks.ingestion.copies import COPIES
from tasks.ingestion.opinions import OPINIONS
from tasks.ingestion.tables.told_columns import COLUMNS
from tasks.pipeline.schemas import (
    AUDIT,
    EXAMINATION,
    FLAGS,
    GRADIENTS,
    METRICS,
    REJECTS,
    SAMPLES,
    SEARCH,
    SUSPECTS,
)
from tasks.versions.history import History
from tasks.versions.object_store import Objects

VIEWS = (
    "samples", "scores", "flags", "suspects", "audit", "gradients", "checkpoints", "metrics", "examination", "search",
    "rejects", "runs", "versions", "decisions", "removed", "traces", "traced", "reviews",
    "review_samples", "review_estimates", "opinions", "diagnoses", "columns",
    "copies", "contradictions", "folds", "votes", "dynamics", "canaries", "predictions",
)  # fmt: skip
# Digits have no columns and no copies; nothing was rejected, searched for or traced; nobody was asked.
EMPTY = (
    "rejects", "columns", "copies", "contradictions", "search", "traces", "traced", "reviews", "review_samples",
    "review_estimates", "opinions",
)  # fmt: skip


@pytest.fixture
def flagged(cleaned):
    """How many samples the finished run flagged."""
    return json.loads((cleaned.run_folder / "run.json").read_text())["flagged"]


@pytest.fixture
def lake(cleaned, tmp_path):
    """A copy of the finished lake, to be changed."""
    shutil.copytree(cleaned.lake, tmp_path / "lake")
    build(tmp_path / "lake")
    return tmp_path / "lake"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_answers_without_gradsieve(cleaned, view):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        rows = db.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0]
        assert (rows > 0) == (view not in EMPTY)
        names = {row[0] for row in db.execute(f"DESCRIBE {view}").fetchall()}
        assert {"run_id", "dataset"} <= names


@pytest.mark.parametrize(
    ("view", "schema"),
    [
        ("samples", SAMPLES),
        ("rejects", REJECTS),
        ("columns", COLUMNS),
        ("copies", COPIES),
        ("flags", FLAGS),
        ("suspects", SUSPECTS),
        ("examination", EXAMINATION),
        ("search", SEARCH),
        ("audit", AUDIT),
        ("metrics", METRICS),
        ("opinions", OPINIONS),
    ],
)
def test_a_view_has_the_columns_of_its_schema(cleaned, view, schema):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        assert [row[0] for row in db.execute(f"DESCRIBE {view}").fetchall()] == [
            "run_id",
            "dataset",
            *(SHOWN_AS.get(name, name) for name in schema.names),
        ]


def test_a_decision_can_be_followed_to_its_version_flag_score_gradient_shard_and_checkpoint(cleaned, flagged):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        assert [row[0] for row in db.execute("DESCRIBE gradients").fetchall()] == [
            "run_id",
            "dataset",
            *GRADIENTS.names,
            "shard",
        ]
        found = db.execute(
            """SELECT d.sample_id, g.shard, c.file FROM decisions d
               JOIN versions v USING (dataset, version, run_id) JOIN flags f USING (run_id, sample_id)
               JOIN scores s USING (run_id, sample_id) JOIN gradients g USING (run_id, sample_id)
               JOIN checkpoints c USING (run_id, fold)
               WHERE d.decision = 'remove' AND f.flag AND f.suspicion = s.fusion AND d.scores['fusion'] = s.fusion"""
        ).fetchall()
    assert len(found) == flagged > 100
    for name, shard, checkpoint in found[:20]:
        assert (cleaned.run_folder / checkpoint).is_file()
        with pa.ipc.open_file(cleaned.run_folder / shard) as file:
            assert name in file.read_all()["sample_id"].to_pylist()


def test_the_most_suspect_stand_beside_what_identifies_them_without_a_join(cleaned):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        columns = "rank, sample_id, s.label, s.source, s.source_row, s.group_name, s.source_id"
        joined = f"SELECT {columns} FROM flags JOIN samples s USING (run_id, sample_id) ORDER BY rank"
        assert db.execute(joined).fetchall() == db.execute(f"SELECT {columns} FROM suspects s ORDER BY rank").fetchall()


def test_every_view_about_runs_says_of_which_dataset_and_which_no_other_file_is_opened_for(lake):
    (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
    shutil.copytree(run, run.with_name("my-own-data-20261125T000000-abcd"))
    (run.with_name("my-own-data-20261125T000000-abcd") / "flags.parquet").write_bytes(b"not to be opened")
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        asked = "SELECT DISTINCT dataset FROM samples ORDER BY 1"
        assert db.execute(asked).fetchall() == [("digits",), ("my-own-data",)]
        assert db.execute("SELECT count(*) > 0 FROM flags WHERE dataset = 'digits'").fetchall() == [(True,)]


def test_a_run_says_when_it_started_how_long_it_took_and_how_far_it_gained(cleaned):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        (row,) = db.sql("SELECT * FROM runs").to_arrow_table().to_pylist()
    arm = json.loads(row["facts"])["metrics"]["verdict"]["arm"]
    assert row["run_id"].split("-")[-2] == f"{row['started']:%Y%m%dT%H%M%S}"
    assert 0 < row["seconds"] < 600
    assert len(row["prefect_run_id"]) == 36
    assert row["gain"] == pytest.approx(row[f"accuracy_{arm}"] - row["accuracy_untouched"])
    assert row["gain_over_random"] == pytest.approx(row[f"accuracy_{arm}"] - row["accuracy_random"])
    for name in ("gain", "gain_over_random"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_names_with_quotes_and_braces_are_columns(tmp_path):
    names = ['a"b', "c\\d", "e'f", "g,h={}"]
    pq.write_table(pa.table({name: [1.0] for name in names}), tmp_path / "x.parquet")
    relation = parquet(tmp_path, "x.parquet", pa.schema([(name, pa.float64()) for name in names]))
    assert duckdb.sql(f"SELECT * EXCLUDE __file FROM {relation}").columns == names


def test_asking_for_one_run_opens_no_file_of_another(lake):
    (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
    for number in range(3):
        shutil.copytree(run, run.with_name(f"{run.name}-{number}"))
    (run.with_name(f"{run.name}-0") / "flags.parquet").write_bytes(b"not to be opened")
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        assert db.execute("SELECT count(*) > 0 FROM flags WHERE run_id = ?", [run.name]).fetchall() == [(True,)]
        with pytest.raises(duckdb.Error):
            db.execute("SELECT count(rank) FROM flags").fetchall()


def test_the_audit_of_a_run_adds_up_to_its_flags(cleaned, flagged):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        audited = db.execute("""SELECT sum(flagged), sum(samples), sum(expected_wrong) FROM latest.audit
                                WHERE level = 'class'""").fetchall()[0]
        flags = db.execute("SELECT count(*), sum(p_wrong) FROM latest.flags").fetchall()[0]
    assert audited[:2] == (flagged, flags[0])
    assert audited[2] == pytest.approx(flags[1])


def test_runs_of_a_version_without_an_audit_are_shown_as_they_are(lake):
    newer = ("guard", "p_wrong", "p_suggested", "source")
    (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
    (run / "audit.parquet").unlink()
    older = pq.read_table(run / "flags.parquet").drop_columns(list(newer))
    (run / "flags.parquet").unlink()
    pq.write_table(older, run / "flags.parquet")
    build(lake)
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        shown = db.execute(f"SELECT count(*), {', '.join(f'count({name})' for name in newer)} FROM latest.suspects")
        assert shown.fetchall() == [(older.num_rows, 0, 0, 0, 0)]
        assert db.execute("SELECT * FROM audit").fetchall() == []


def test_what_a_killed_publish_left_behind_belongs_to_no_version(lake, flagged):
    home = lake / "versions" / "digits"
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        before = db.execute("SELECT count(*) FROM decisions").fetchall()
    (content,) = {path.parent for path in home.glob("contents/*/decisions.parquet") if pq.read_table(path).num_rows}
    shutil.copytree(content, content.with_name("00000000000000000000"))
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchall() == before
        assert before[0][0] >= flagged


def test_the_rows_of_a_version_and_of_a_tag_are_a_view_with_and_without_plain_files(lake):
    history = History(Objects(lake / "versions"), "digits")
    made = history.manifest(2)
    history.move("mine", "v0002", "me", "to look at it")
    asked = 'SELECT sample_id, label, split FROM data."digits@{}" ORDER BY sample_id'
    build(lake)
    with connect(lake) as db:
        plain = db.execute(asked.format("v0002")).fetchall()
        assert len(plain) == made.rows
        assert db.execute(asked.format("mine")).fetchall() == plain
        assert len(db.execute(asked.format("v0001")).fetchall()) == history.manifest(1).rows
    forge(lake / "versions" / "digits" / "v0002.json", plain=None)
    assert build(lake)
    with connect(lake) as db:
        assert db.execute(asked.format("v0002")).fetchall() == plain


def test_a_moved_tag_shows_once_the_catalogue_is_up_to_date_and_its_moves_at_once(lake):
    history = History(Objects(lake / "versions"), "digits")
    history.move("current", "v0001", "me", "because I say so")
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        assert db.execute("SELECT version, moved_by FROM tags WHERE tag = 'current'").fetchall() == [("v0001", "me")]
        moves = db.execute("SELECT version FROM tag_moves WHERE tag = 'current' ORDER BY number").fetchall()
        assert moves[-1] == ("v0001",)
        assert db.execute("SELECT version FROM versions WHERE list_contains(tags, 'current')").fetchall() == [
            ("v0001",)
        ]
    assert build(lake)
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        assert db.execute('SELECT count(*) FROM data."digits@current"').fetchall() == [(history.manifest(1).rows,)]


def test_the_datasets_own_columns_are_in_its_own_view(cleaned):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        assert db.execute("SELECT len(pixels) FROM data.digits LIMIT 1").fetchall() == [(64,)]


def test_every_view_and_every_column_says_what_it_is_and_needs_no_quotes(cleaned):
    with connect(cleaned.lake) as db:
        views = db.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
        columns = db.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
        words = db.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        ).fetchall()
    assert {view for view, _ in views} >= {*comments.VIEWS} - {"data", "data@"}
    assert len(columns) > 300
    assert [names for *names, comment in (*views, *columns) if not comment] == []
    names = {column for _, column, _ in columns}
    assert names & {word for (word,) in words} == set()
    assert [name for name in names if not re.fullmatch("[a-z_][a-z0-9_]*", name)] == []


def test_every_comment_is_of_a_column_that_there_is(cleaned):
    with connect(cleaned.lake) as db:
        columns = db.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    there = {f"{view}.{column}" for view, column in columns} | {column for _, column in columns}
    # Of another kind of gradient, of several checkpoints, or of columns that a run or a dataset names.
    assert {*comments.COLUMNS} - there == {"gradient", "layer_norms", "earlier_logits", "scores.*", "data.*"}


def test_a_detector_or_a_column_of_the_datasets_own_bears_no_others_comment(cleaned):
    asked = "SELECT comment FROM duckdb_columns() WHERE (schema_name, table_name, column_name) = ($1, $2, $3)"
    with connect(cleaned.lake) as db:
        assert db.execute(asked, ["main", "gradients", "l2"]).fetchall() == [(comments.COLUMNS["l2"],)]
        assert db.execute(asked, ["main", "scores", "l2"]).fetchall() == [(comments.COLUMNS["scores.*"],)]
        assert db.execute(asked, ["data", "digits", "pixels"]).fetchall() == [(comments.COLUMNS["data.*"],)]


def test_a_moved_lake_says_what_its_columns_are_too(lake, tmp_path):
    with connect(lake.rename(tmp_path / "moved")) as db:
        assert db.execute(
            "SELECT count(*) FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        ).fetchall() == [(0,)]


def test_a_column_of_the_datasets_own_keeps_its_values_beside_one_of_ours(lake):
    for file in (lake / "runs").glob("[!.]*/samples/*.parquet"):
        table = pq.read_table(file)
        file.unlink()
        pq.write_table(table.append_column("Source_Row", pa.array(["theirs"] * len(table))), file)
    assert build(lake)
    with connect(lake) as db:
        rows = db.execute("SELECT DISTINCT original_source_row, typeof(source_row) FROM data.digits").fetchall()
    assert rows == [("theirs", "BIGINT")]


def test_it_is_not_written_again_when_nothing_has_changed(lake):
    before = (lake / NAME).stat()
    assert not build(lake)
    after = (lake / NAME).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_it_is_written_anew_after_the_lake_has_moved(lake, tmp_path):
    moved = lake.rename(tmp_path / "it's [1] * elsewhere")
    assert build(moved)
    with connect(moved) as db:
        assert db.execute("SELECT count(*) > 0 FROM flags").fetchall() == [(True,)]


def test_a_damaged_catalogue_is_written_anew(lake):
    (lake / NAME).write_bytes(b"no database")
    assert build(lake)


def test_half_written_runs_and_versions_are_not_seen(lake):
    (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
    shutil.copytree(run, lake / "runs" / ".partial-here-1-abcd")
    shutil.copy(lake / "versions/digits/v0001.json", lake / "versions/digits/.partial-here-1-abcd.json")
    with connect(lake) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
        assert db.execute("SELECT count(*) FROM versions").fetchall() == [(2,)]
        assert db.execute("SELECT count(*) = count(DISTINCT sample_id) FROM flags").fetchall() == [(True,)]


def test_a_reader_keeps_reading_while_it_is_replaced(lake):
    with duckdb.connect(str(lake / NAME), read_only=True) as reader:
        before = reader.execute("SELECT count(*) FROM flags").fetchall()
        (lake / NAME).with_suffix(".old").write_bytes((lake / NAME).read_bytes())
        (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
        renamed = run.with_name(f"{run.name}-b")
        shutil.copytree(run, renamed)
        text = (renamed / "run.json").read_text().replace(f'"{run.name}"', f'"{renamed.name}"')
        (renamed / "manifest.json").unlink()  # it knows the digest
        (renamed / "run.json").write_text(text.replace('"dataset": "digits"', '"dataset": "other"', 1))
        assert build(lake)
        assert reader.execute("SELECT count(*) FROM flags").fetchall()[0][0] == 2 * before[0][0]


def test_it_opens_read_only_while_a_run_is_writing(lake, gradsieve, small, flagged):
    """Open it over and over, without gradsieve, for as long as a run works on the same lake."""
    import threading

    done: list[subprocess.CompletedProcess] = []
    work = threading.Thread(
        target=lambda: done.append(gradsieve("clean", "--lake", str(lake), "--dataset=more", *small))
    )
    work.start()
    opened = 0
    while work.is_alive():
        with duckdb.connect(str(lake / NAME), read_only=True) as db:
            assert db.execute("SELECT count(*) FROM flags WHERE flag").fetchall()[0][0] >= flagged
        opened += 1
        time.sleep(0.05)
    work.join()
    assert done[0].returncode == 0, done[0].stderr
    assert opened > 10


def test_an_empty_lake_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="Run gradsieve clean first"):
        connect(tmp_path)


def test_a_run_id_is_a_name_and_not_a_path(cleaned):
    with pytest.raises(BadInput, match="none of that name"):
        connect(cleaned.lake, "../runs")


def test_duckdb_one_five_opens_it_too(cleaned, tmp_path, flagged):
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), "duckdb>=1.5,<1.6"]
    if subprocess.run(pip, check=False, capture_output=True).returncode:
        pytest.skip("DuckDB 1.5 cannot be installed here")
    script = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import duckdb
assert duckdb.__version__.startswith("1.5"), duckdb.__version__
db = duckdb.connect({str(cleaned.lake / NAME)!r}, read_only=True)
print(db.execute("SELECT count(*) FROM latest.flags WHERE flag").fetchone()[0])
for view in {VIEWS!r}:
    db.execute("SELECT * FROM " + view + " LIMIT 5").fetchall()
assert not db.execute("SELECT * FROM duckdb_columns() WHERE NOT internal AND comment IS NULL").fetchall()
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(flagged), done.stderr


def test_numbers_that_hardly_differ_and_pictures_of_one_scene_contradict_nothing(lake):
    (record,) = lake.glob("runs/*/run.json")
    facts = json.loads(record.read_text())
    facts["facts"]["copies"]["tolerance"] = 0.5
    record.with_name("manifest.json").unlink()
    record.write_text(json.dumps(facts))
    labels = [("1.5", "1.75", "near"), ("1.5", "2.25", "near"), ("1.5", "9", "alike"), ("a", "b", "near")]
    rows = [
        dict(zip(COPIES.names, (f"{i}", "x", kind, 0.1, "train", "train", label, other), strict=True))
        for i, (label, other, kind) in enumerate(labels)
    ]
    path = record.parent / "near_copies.parquet"
    path.unlink(missing_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, COPIES), path)
    with connect(lake) as db:
        assert db.sql("SELECT sample_id FROM contradictions ORDER BY 1").fetchall() == [("1",), ("3",)]
        assert db.sql("FROM latest.contradictions").columns == db.sql("FROM copies").columns
