"""The catalogue is a plain DuckDB file: readable by anything, at any time, and true of what lies in the lake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import duckdb
import pyarrow.parquet as pq
import pytest

from tasks.catalogue import NAME, build, connect
from tasks.errors import BadInput
from tasks.schemas import AUDIT, FLAGS, GRADIENTS, METRICS, REJECTS, SAMPLES

VIEWS = ("samples", "scores", "flags", "audit", "gradients", "metrics", "rejects", "runs", "versions", "removed")


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
        assert (rows > 0) == (view != "rejects")
        names = {row[0] for row in db.execute(f"DESCRIBE {view}").fetchall()}
        assert "run_id" in names


@pytest.mark.parametrize(
    ("view", "schema"),
    [
        ("samples", SAMPLES),
        ("rejects", REJECTS),
        ("gradients", GRADIENTS),
        ("flags", FLAGS),
        ("audit", AUDIT),
        ("metrics", METRICS),
    ],
)
def test_a_view_has_the_columns_of_its_schema(cleaned, view, schema):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        assert [row[0] for row in db.execute(f"DESCRIBE {view}").fetchall()] == ["run_id", *schema.names]


def test_a_row_can_be_followed_from_the_version_to_its_scores(cleaned, flagged):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        n = db.execute(
            """SELECT count(*) FROM removed r
               JOIN flags f USING (run_id, sample_id) JOIN scores s USING (run_id, sample_id)
               JOIN gradients g USING (run_id, sample_id) JOIN versions v USING (dataset, version)
               WHERE f.flag AND f.suspicion = s.fusion"""
        ).fetchall()[0][0]
    assert n == flagged > 100


def test_the_audit_of_a_run_adds_up_to_its_flags(cleaned, flagged):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        audited = db.execute("""SELECT sum(flagged), sum(samples), sum(expected_wrong) FROM latest.audit
                                WHERE "by" = 'class'""").fetchall()[0]
        flags = db.execute("SELECT count(*), sum(p_wrong) FROM latest.flags").fetchall()[0]
    assert audited[:2] == (flagged, flags[0])
    assert audited[2] == pytest.approx(flags[1])


def test_runs_of_a_version_without_an_audit_are_shown_as_they_are(lake):
    newer = ("guard", "p_wrong", "p_suggested")
    (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
    (run / "audit.parquet").unlink()
    older = pq.read_table(run / "flags.parquet").drop_columns(list(newer))
    (run / "flags.parquet").unlink()
    pq.write_table(older, run / "flags.parquet")
    assert build(lake)
    with duckdb.connect(str(lake / NAME), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM latest.flags").fetchall()[0][0] == older.num_rows
        assert not set(newer) & {row[0] for row in db.execute("DESCRIBE flags").fetchall()}
        with pytest.raises(duckdb.CatalogException, match="audit"):
            db.execute("SELECT * FROM audit")


def test_the_datasets_own_columns_are_in_its_own_view(cleaned):
    with duckdb.connect(str(cleaned.lake / NAME), read_only=True) as db:
        assert db.execute("SELECT len(pixels) FROM data.digits LIMIT 1").fetchall() == [(64,)]


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
    shutil.copytree(lake / "versions/digits/v0001", lake / "versions/digits/.partial-here-1-abcd")
    with connect(lake) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
        assert db.execute("SELECT count(*) FROM versions").fetchall() == [(1,)]
        assert db.execute("SELECT count(*) = count(DISTINCT sample_id) FROM flags").fetchall() == [(True,)]


def test_a_reader_keeps_reading_while_it_is_replaced(lake):
    with duckdb.connect(str(lake / NAME), read_only=True) as reader:
        before = reader.execute("SELECT count(*) FROM flags").fetchall()
        (lake / NAME).with_suffix(".old").write_bytes((lake / NAME).read_bytes())
        (run,) = [path for path in (lake / "runs").iterdir() if not path.name.startswith(".")]
        renamed = run.with_name(f"{run.name}-b")
        shutil.copytree(run, renamed)
        text = (renamed / "run.json").read_text().replace(f'"{run.name}"', f'"{renamed.name}"')
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
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(flagged), done.stderr
