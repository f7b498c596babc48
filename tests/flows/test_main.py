"""The command line as its user meets it: a subprocess, its output and its exit code."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml
from environments import environment_of_a_command


def test_help_names_every_command_and_every_option_has_words(gradsieve):
    top = gradsieve("--help")
    assert top.returncode == 0
    for command in ("clean", "compare", "sql", "runs", "versions", "show", "index"):
        assert command in top.stdout
    shared = ("--reader.path", "--training.epochs", "--reader.noise.share", "--config")
    for command, own in (("clean", ("--budget.share", "--verification.seeds")), ("compare", ("--budgets", "--seeds"))):
        page = gradsieve(command, "--help").stdout
        for option in (*shared, *own):
            assert option in page
        assert "Comma- or otherwise separated text" in page


def test_without_a_command_it_prints_help(gradsieve):
    assert "usage: gradsieve" in gradsieve().stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["clean", "--training.epochs=0"], 2, "training.epochs"),
        (["clean", "--nonsense=1"], 2, "nonsense"),
        (["trace", "--cosine=maybe"], 2, "expected true or false, got maybe"),
        (["trace", "a", "--no-cosine", "false"], 2, "expected options of gradsieve trace, got false"),
        (["clean", "--reader.lable", "x"], 2, "Did you mean --reader.label?"),
        (["clean", "--target=number"], 2, "Did you mean --reader.target?"),
        (["clean", "--model.hidden=0", "--model.kind=mlp"], 2, "option model.hidden.0: Input should be greater than 0"),
        (["clean", "--budget.share=8", "--budget.kind=share"], 2, "option budget.share: Input should be less than 1"),
        (["clean", "--training.device=cuda"], 2, "option device"),
        (["clean", "--reader.path=missing.csv"], 3, "no such file"),
        (["clean", "missing.csv"], 3, "no such file"),
        (["compare", "missing.csv"], 3, "no such file"),
        (["clean", "a.csv", "--reader.path=b.csv"], 2, "expected one source, got two"),
        (["clean", "--config=missing.yaml"], 3, "missing.yaml"),
        (["clean", "--model.kind=custom", "--model.factory=nowhere:net"], 5, "nowhere"),
        (["clean", "--detectors=l2,l2"], 2, "l2 stands there twice"),
        (["clean", "--flagging.detector=zz"], 2, "expected one of fusion, l2, iforest"),
        (["clean", "--reader.path=some.xyz"], 2, "--reader.kind"),
        (["compare", "--seeds=0"], 2, "option seeds"),
        (["compare", "--detectors=nothing"], 2, "'nothing' is not one of"),
        (["compare", "--budgets=share,share"], 2, "share_0.1 stands there twice"),
        (["compare", "--verification.seeds=1"], 2, "verification"),
        (["compare", "--reader.noise.share=0"], 3, "a comparison needs known noise"),
        (["sql", "SELECT 1"], 3, "Run gradsieve clean first"),
        (["show", "nothing"], 3, "none of that name"),
        (["trace", "nothing"], 3, "none of that name"),
        (["trace", "--dataset=pets"], 3, "a recorded run of dataset pets"),
        (["clean", "--store=nothing://x"], 2, "expected a folder, or a URL like s3://bucket/prefix"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(gradsieve, tmp_path, arguments, code, words):
    done = gradsieve(*arguments, "--lake", str(tmp_path / "lake"))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "cosine"),
    [
        ("--cosine", True),
        ("--no-cosine", False),
        ("--cosine true", True),
        ("--cosine False", False),
        ("--cosine=false", False),
        ("--cosine=true", True),
        ("--cosine false --top 3", False),
    ],
)
def test_a_switch_stands_bare_or_with_its_value(words, cosine):
    from flows.command_line.application import application, run

    class Said(application()):  # type: ignore[misc]
        def cli_cmd(self) -> None:
            """Read only."""

    assert run(Said, ["trace", *words.split()]).trace.configuration().cosine is cosine


def test_what_follows_a_switch_and_is_no_value_is_left_where_it_stands():
    from flows.command_line.application import application, run

    class Said(application()):  # type: ignore[misc]
        def cli_cmd(self) -> None:
            """Read only."""

    read = run(Said, ["watch", "--once", "incoming", "elsewhere"]).watch
    assert (read.once, [path.name for path in read.paths]) == (True, ["incoming", "elsewhere"])


def test_too_many_rejected_rows_stop_the_run_and_are_kept(gradsieve, tmp_path):
    rows = ["x,label", *(f"{i * i},{'ab'[i % 2] if i < 40 else ''}" for i in range(100))]
    (tmp_path / "half.csv").write_text("\n".join(rows))
    done = gradsieve("clean", "--lake", str(tmp_path / "lake"), "--reader.path", str(tmp_path / "half.csv"))
    assert done.returncode == 4
    assert "missing label 60" in done.stderr
    (kept,) = (tmp_path / "lake" / "rejected").iterdir()
    assert pq.read_table(kept).num_rows == 60
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
    assert "plants v0002" in done.stdout
    (home,) = {line.strip() for line in done.stdout.splitlines() if line.strip().endswith("/data")}
    published = pq.read_table(home)
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


def test_the_line_overrides_the_file_of_a_comparison_too(gradsieve, tmp_path):
    values = {"reader": {"kind": "digits", "limit": 200}, "folds": 3, "detectors": ["l1", "l2"], "budgets": ["share"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values | {"training": {"epochs": 1}, "seeds": 2}))
    lake = ("--lake", str(tmp_path / "lake"))
    done = gradsieve("compare", *lake, "--config", str(tmp_path / "run.yaml"), "--seeds=1", "--folds=2")
    assert done.returncode == 0, done.stderr
    (recorded,) = (tmp_path / "lake" / "comparisons").glob("*/config.yaml")
    config = yaml.safe_load(recorded.read_text())
    assert (config["folds"], config["seeds"], config["training"]["epochs"]) == (2, 1, 1)
    assert (config["reader"]["kind"], config["reader"]["options"]["limit"]) == ("digits", 200)


def test_sql_answers_in_every_format(gradsieve, cleaned, tmp_path):
    query = "SELECT rank, sample_id FROM flags WHERE flag ORDER BY rank LIMIT 3"
    lake = ("--lake", str(cleaned.lake))
    assert "│" in gradsieve("sql", query, *lake).stdout
    lines = gradsieve("sql", query, *lake, "--format=csv").stdout.splitlines()
    assert lines[0] == "rank,sample_id"
    assert len(lines) == 4
    rows = [json.loads(line) for line in gradsieve("sql", query, *lake, "--format=json").stdout.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    for out in (tmp_path / "out.parquet", tmp_path / "out.csv", tmp_path / "out.txt"):
        assert gradsieve("sql", query, *lake, "--output", str(out)).returncode == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 3
    assert (tmp_path / "out.csv").read_text().splitlines() == lines
    assert "│" in (tmp_path / "out.txt").read_text()
    assert gradsieve("sql", query, *lake, "--format=parquet").returncode == 2


def test_sql_reads_the_gradient_shards(gradsieve, cleaned):
    query = """SELECT count(*) FROM shards s JOIN flags f USING (sample_id)
               WHERE flag AND abs(list_max(s.logits) - ln(list_sum(list_transform(s.logits, lambda z: exp(z))))
                                  - ln(s.p_predicted)) < 1e-3"""
    done = gradsieve("sql", query, "--lake", str(cleaned.lake), "--format=csv")
    flags = pq.read_table(cleaned.run_folder / "flags.parquet")["flag"].to_pylist()
    assert int(done.stdout.split()[-1]) == sum(flags) > 100, done.stderr


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_sql_finds_the_neighbours_of_a_suspect_in_gradient_space(gradsieve, small, tmp_path, store):
    options = ["--gradient.kind=layers", "--gradient.projection-dim=64", f"--gradient.store={store}"]
    assert gradsieve("clean", "--lake", str(tmp_path), *small, *options).returncode == 0
    query = """WITH suspect AS (SELECT sample_id, gradient FROM shards JOIN latest.flags USING (sample_id)
                                ORDER BY rank LIMIT 1)
               SELECT s.sample_id, array_cosine_similarity(s.gradient, suspect.gradient) AS similarity,
                      layer_norms, s.l2
               FROM shards s JOIN latest.samples USING (sample_id), suspect ORDER BY similarity DESC LIMIT 5"""
    done = gradsieve("sql", query, "--lake", str(tmp_path), "--format=json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5, done.stderr
    assert rows[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert all(row["similarity"] <= 1.001 for row in rows)
    assert sum(norm**2 for norm in rows[0]["layer_norms"]) ** 0.5 == pytest.approx(rows[0]["l2"], rel=1e-3)


def test_a_wrong_query_and_a_write_are_refused(gradsieve, cleaned):
    wrong = gradsieve("sql", "SELECT nothing FROM flags", "--lake", str(cleaned.lake))
    assert (wrong.returncode, "nothing" in wrong.stderr) == (2, True)
    write = gradsieve("sql", "CREATE TABLE t (i INT)", "--lake", str(cleaned.lake))
    assert write.returncode == 2


def test_runs_versions_and_show_list_what_is_there(gradsieve, cleaned):
    lake = ("--lake", str(cleaned.lake))
    assert cleaned.run_folder.name in gradsieve("runs", *lake).stdout
    listed = gradsieve("versions", "list", *lake, "--dataset=digits").stdout
    assert "v0001" in listed
    assert "v0002" in listed
    other = gradsieve("versions", "list", *lake, "--dataset=other")
    assert (other.returncode, "v0001" in other.stdout) == (3, False)
    shown = gradsieve("show", "latest", *lake).stdout
    assert shown.splitlines()[0] in cleaned.process.stdout
    assert "Test accuracy" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "digits"], 3),
        (["trace", "digits"], 3),
        (["sql", "SELECT 1", "--run", "digits"], 3),
        (["review", "digits", "--sample", "5"], 3),
        (["clean", "--base", "digits"], 2),
    ],
)
def test_a_command_that_is_given_a_dataset_in_place_of_a_run_names_its_newest_one(gradsieve, cleaned, arguments, code):
    done = gradsieve(*arguments, "--lake", str(cleaned.lake))
    assert done.returncode == code, done.stderr
    assert f"gradsieve show {cleaned.run_folder.name} --lake {cleaned.lake}" in done.stderr


def test_no_line_of_a_quiet_run_comes_from_prefect(cleaned):
    assert "Task run" not in cleaned.process.stderr
    assert "telemetry" not in cleaned.process.stderr


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([f"{i * i},a" for i in range(30)], [], "at least two classes"),
        ([f"{i * i},{'ab'[i % 2]}" for i in range(30)], ["--reader.test-share=0"], "split 'test'"),
    ],
)
def test_data_that_cannot_be_verified_is_refused_before_anything_is_trained(gradsieve, tmp_path, rows, options, words):
    (tmp_path / "few.csv").write_text("\n".join(["x,label", *rows]))
    lake = tmp_path / "lake"
    done = gradsieve("clean", "--lake", str(lake), "--reader.path", str(tmp_path / "few.csv"), *options)
    assert (done.returncode, words in done.stderr) == (3, True), done.stderr
    assert [line[:10] for line in done.stderr.splitlines() if line[:8].count(":") != 2] == ["gradsieve:"]
    assert not list((lake / "cache").glob("checkpoints-*"))


def test_columns_of_any_name_and_datasets_of_one_name_do_not_spoil_the_catalogue(gradsieve, tmp_path):
    rows = [f"{i},{i % 7},{'ab'[i % 2]},file {i},{i}" for i in range(60)]
    (tmp_path / "set.csv").write_text("\n".join(["x,y,label,filename,file_row_number", *rows]))
    options = ["--lake", str(tmp_path / "lake"), "--training.epochs=1", "--verification.seeds=1", "--folds=2"]
    done = gradsieve("clean", "--reader.path", str(tmp_path / "set.csv"), *options)
    assert done.returncode == 0, done.stderr
    shown = gradsieve("sql", "SELECT original_filename FROM data.set LIMIT 1", "--lake", str(tmp_path / "lake"))
    assert "file " in shown.stdout, shown.stderr
    other = gradsieve("clean", "--dataset=SET", "--reader.path", str(tmp_path / "set.csv"), *options)
    assert (other.returncode, "--dataset" in other.stderr) == (2, True)


def test_a_moved_or_copied_lake_answers_for_itself(gradsieve, cleaned, tmp_path):
    import shutil

    copy = shutil.copytree(cleaned.lake, tmp_path / "copy")
    shutil.rmtree(copy / "versions" / "digits")
    without = gradsieve("versions", "list", "--lake", str(copy))
    assert (without.returncode, "Traceback" in without.stderr) == (3, False)
    shutil.copytree(cleaned.lake / "versions" / "digits", copy / "versions" / "digits")
    asked = ("SELECT count(*) FROM removed", "--format=csv")
    there, here = (gradsieve("sql", *asked, "--lake", str(lake)).stdout for lake in (cleaned.lake, copy))
    assert int(here.split()[-1]) > 0
    assert here == there
    for words in ("is written anew", "is up to date"):
        assert words in gradsieve("index", "--lake", str(copy)).stdout


def test_a_run_in_a_pipe_says_what_it_does_line_by_line(cleaned_small):
    for words in ("train fold 0 and 1 more", "retrain untouched, seed 0 and 3 more", "score"):
        assert words in cleaned_small.process.stderr


def test_an_interrupt_stops_a_long_training_at_once(small, tmp_path, server):
    import signal
    import subprocess
    import sys
    import time

    command = [sys.executable, "-m", "flows", "clean", "--lake", str(tmp_path), *small, "--training.epochs=100000"]
    variables = environment_of_a_command(PREFECT_API_URL=server)
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "cache").glob("folds-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "run again to go on" in errors


def test_a_reader_that_has_seen_enough_is_no_error(cleaned):
    import subprocess
    import sys

    query = "SELECT a.sample_id FROM flags a, flags b LIMIT 100000"
    command = f"{sys.executable} -m flows sql '{query}' --format csv --lake {cleaned.lake} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["clean", "maintain", "serve"])
def test_a_lake_that_cannot_be_made_is_refused(gradsieve, tmp_path, command):
    (tmp_path / "file").write_text("")
    done = gradsieve(command, "--lake", str(tmp_path / "file" / "lake"))
    assert (done.returncode, "Name another with --lake" in done.stderr) == (2, True)


def test_a_full_disk_is_told_before_anything_is_started_and_the_command_ends(tmp_path):
    import resource
    import subprocess
    import sys

    def full() -> None:
        # Root may write to whatever is read-only; no file may grow is what a full disk says as well.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    command = [sys.executable, "-m", "flows", "clean", "--lake", str(tmp_path / "lake")]
    done = subprocess.run(command, preexec_fn=full, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "make room" in done.stderr, "Traceback" in done.stderr) == (7, True, False), done.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("command", ["clean", "compare", "trace", "maintain", "serve"])
def test_a_command_that_takes_long_says_what_it_does_before_it_imports_anything(command, tmp_path):
    import subprocess
    import sys

    code = f"""
import sys
import flows.__main__
sys.modules["flows.command_line.application"] = None
flows.__main__.main(["{command}"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert f"gradsieve {command}: reading its options" in done.stderr.splitlines()[0]
    assert "ModuleNotFoundError" in done.stderr  # the application, which takes a second to import
