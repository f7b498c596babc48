"""The command line as its user meets it: a subprocess, its output and its exit code."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml


def test_help_names_every_command_and_every_option_has_words(gradsieve):
    top = gradsieve("--help")
    assert top.returncode == 0
    for command in ("clean", "sql", "runs", "versions", "show"):
        assert command in top.stdout
    page = gradsieve("clean", "--help").stdout
    for option in ("--reader.path", "--training.epochs", "--budget.share", "--reader.noise.share", "--config"):
        assert option in page
    assert "Comma- or otherwise separated text" in page


def test_without_a_command_it_prints_help(gradsieve):
    assert "usage: gradsieve" in gradsieve().stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["clean", "--training.epochs=0"], 2, "training.epochs"),
        (["clean", "--nonsense=1"], 2, "nonsense"),
        (["clean", "--training.device=cuda"], 2, "option device"),
        (["clean", "--reader.path=missing.csv"], 3, "no such file"),
        (["clean", "--config=missing.yaml"], 3, "missing.yaml"),
        (["clean", "--model.kind=custom", "--model.factory=nowhere:net"], 5, "nowhere"),
        (["sql", "SELECT 1"], 3, "Run gradsieve clean first"),
        (["show", "nothing"], 3, "none of that name"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(gradsieve, tmp_path, arguments, code, words):
    done = gradsieve(*arguments, "--lake", str(tmp_path / "lake"))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_too_many_rejected_rows_stop_the_run_and_are_kept(gradsieve, tmp_path):
    rows = ["x,label", *(f"{i},{'ab'[i % 2]}" for i in range(60)), *(f"{i}," for i in range(40))]
    (tmp_path / "half.csv").write_text("\n".join(rows))
    done = gradsieve("clean", "--lake", str(tmp_path / "lake"), "--reader.path", str(tmp_path / "half.csv"))
    assert done.returncode == 4
    assert "missing label 40" in done.stderr
    (kept,) = (tmp_path / "lake" / "rejected").iterdir()
    assert pq.read_table(kept).num_rows == 40
    assert json.loads((tmp_path / "lake" / "log.jsonl").read_text())["state"] == "failed"


def test_a_table_of_ones_own_needs_only_a_path_and_a_label(gradsieve, tmp_path):
    import numpy as np

    generator = np.random.default_rng(0)
    lines = ["width,height,name,species"]
    for i in range(200):
        kind = i % 2
        x = generator.normal(3 * kind, 1, 2)
        lines.append(f"{x[0]},{x[1]},plant {i},{('iris', 'rose')[kind]}")
    (tmp_path / "plants.csv").write_text("\n".join(lines))
    done = gradsieve(
        "clean", "--lake", str(tmp_path / "lake"), "--reader.path", str(tmp_path / "plants.csv"),
        "--reader.label=species", "--model.kind=logistic", "--training.epochs=5", "--verification.seeds=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "plants v0001" in done.stdout
    published = pq.read_table(tmp_path / "lake" / "versions" / "plants" / "v0001" / "data")
    assert set(published.column_names) >= {"width", "height", "name", "label"}


def test_the_line_overrides_the_file(gradsieve, small, tmp_path):
    values = {"reader": {"kind": "digits", "options": {"limit": 300}}, "folds": 3, "training": {"epochs": 1}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values | {"verification": {"seeds": 1}, "detectors": ["l1"]}))
    done = gradsieve("clean", "--lake", str(tmp_path / "lake"), "--config", str(tmp_path / "run.yaml"), "--folds=2")
    assert done.returncode == 0, done.stderr
    (recorded,) = (tmp_path / "lake" / "runs").glob("*/config.yaml")
    config = yaml.safe_load(recorded.read_text())
    assert (config["folds"], config["training"]["epochs"], config["reader"]["options"]["limit"]) == (2, 1, 300)
    assert [detector["kind"] for detector in config["detectors"]] == ["l1"]


def test_sql_answers_in_every_format(gradsieve, cleaned, tmp_path):
    query = "SELECT rank, sample_id FROM flags WHERE flag ORDER BY rank LIMIT 3"
    lake = ("--lake", str(cleaned.lake))
    assert "│" in gradsieve("sql", query, *lake).stdout
    lines = gradsieve("sql", query, *lake, "--format=csv").stdout.splitlines()
    assert lines[0] == "rank,sample_id"
    assert len(lines) == 4
    rows = [json.loads(line) for line in gradsieve("sql", query, *lake, "--format=json").stdout.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    out = tmp_path / "out.parquet"
    assert gradsieve("sql", query, *lake, "--format=parquet", "--output", str(out)).returncode == 0
    assert pq.read_table(out).num_rows == 3
    assert gradsieve("sql", query, *lake, "--format=parquet").returncode == 2


def test_sql_reads_the_gradient_shards(gradsieve, cleaned):
    query = """SELECT count(*) FROM shards s JOIN flags f USING (sample_id)
               WHERE flag AND abs(sqrt(list_inner_product(s.residual, s.residual)) *
                                  sqrt(list_inner_product(s.features, s.features)) - s.l2) < 1e-3 * s.l2"""
    done = gradsieve("sql", query, "--lake", str(cleaned.lake), "--format=csv")
    assert done.stdout.split()[-1] == "144", done.stderr


def test_a_wrong_query_and_a_write_are_refused(gradsieve, cleaned):
    wrong = gradsieve("sql", "SELECT nothing FROM flags", "--lake", str(cleaned.lake))
    assert (wrong.returncode, "nothing" in wrong.stderr) == (2, True)
    write = gradsieve("sql", "CREATE TABLE t (i INT)", "--lake", str(cleaned.lake))
    assert write.returncode == 2


def test_runs_versions_and_show_list_what_is_there(gradsieve, cleaned):
    lake = ("--lake", str(cleaned.lake))
    assert cleaned.run_folder.name in gradsieve("runs", *lake).stdout
    assert "v0001" in gradsieve("versions", *lake, "--dataset=digits").stdout
    assert "v0001" not in gradsieve("versions", *lake, "--dataset=other").stdout
    shown = gradsieve("show", "latest", *lake).stdout
    assert shown.splitlines()[0] in cleaned.process.stdout
    assert "Test accuracy" in shown


def test_no_line_of_a_quiet_run_comes_from_prefect(cleaned):
    assert "Task run" not in cleaned.process.stderr
    assert "telemetry" not in cleaned.process.stderr


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (["1,a", "2,b", "3,a"], [], "at least two classes"),
        ([f"{i},{'ab'[i % 2]}" for i in range(30)], ["--reader.test-share=0"], "split 'test'"),
    ],
)
def test_data_that_cannot_be_verified_is_refused_before_anything_is_trained(gradsieve, tmp_path, rows, options, words):
    (tmp_path / "few.csv").write_text("\n".join(["x,label", *rows]))
    lake = tmp_path / "lake"
    done = gradsieve("clean", "--lake", str(lake), "--reader.path", str(tmp_path / "few.csv"), *options)
    assert (done.returncode, words in done.stderr) == (3, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((lake / "cache").glob("checkpoints-*"))


def test_a_lake_that_cannot_be_made_is_refused(gradsieve, tmp_path):
    (tmp_path / "file").write_text("")
    done = gradsieve("clean", "--lake", str(tmp_path / "file" / "lake"))
    assert (done.returncode, "Name another with --lake" in done.stderr) == (2, True)
