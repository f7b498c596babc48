"""A recorded run's labels are measured by a person, without a server: a sample, its sheet, the figures in SQL."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.catalogue.database import connect


@pytest.fixture(scope="module")
def lake(cleaned, tmp_path_factory) -> Path:
    """A copy of the finished run's lake."""
    return shutil.copytree(cleaned.lake, tmp_path_factory.mktemp("measured") / "lake")


@pytest.fixture(scope="module")
def run(lake) -> str:
    return next((lake / "runs").glob("digits-*")).name


@pytest.fixture(scope="module")
def truth(lake, run) -> dict[str, bool]:
    """Whether the label of each training sample is wrong."""
    tables = [pq.read_table(path) for path in (lake / "runs" / run / "samples").glob("train-*.parquet")]
    return {
        row["sample_id"]: row["label"] != row["clean_label"]
        for table in tables
        for row in table.select(["sample_id", "label", "clean_label"]).to_pylist()
    }


@pytest.fixture(scope="module")
def sheet(gradsieve, lake, run) -> Path:
    """A sample of a hundred, drawn without any server."""
    done = gradsieve("review", run, "--sample", "100", "--lake", str(lake), PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    assert "100 of 1,445 training samples are drawn; 50 of them are among" in done.stdout
    path = lake / "reviews" / f"{run}-sample-100" / "sample.csv"
    assert f"gradsieve review {run} --sheet {path} --lake {lake}" in done.stdout
    return path


@pytest.fixture(scope="module")
def answered(sheet, truth, tmp_path_factory) -> Path:
    """The sheet as somebody who knows the truth fills it in, but for two rows."""
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["decision"] = "wrong" if truth[row["sample_id"]] else "right"
    rows[0]["decision"], rows[1]["decision"] = "unknown", ""
    path = tmp_path_factory.mktemp("answered") / "sample.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def said(gradsieve, lake, run, answered) -> str:
    """What the command says of the answers."""
    before = sorted((path, path.stat().st_mtime_ns) for path in (lake / "runs").rglob("*"))
    options = ("--by", "ann", "--note", "by the truth", "--lake", str(lake))
    done = gradsieve("review", run, "--sheet", str(answered), *options, PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    assert sorted((path, path.stat().st_mtime_ns) for path in (lake / "runs").rglob("*")) == before
    return done.stdout


def test_figures_hold_the_truth_and_say_who_answered_how_much(said, lake, run, truth):
    assert "98 of 100 answered by ann" in said
    assert "1 not known, 1 not answered: left out" in said
    flags = pq.read_table(lake / "runs" / run / "flags.parquet")
    flagged = flags.filter(pc.field("flag"))["sample_id"].to_pylist()
    hits = sum(truth[name] for name in flagged)
    true = {
        "wrong_share": sum(truth.values()) / len(truth),
        "precision": hits / len(flagged),
        "recall": hits / sum(truth.values()),
    }
    with connect(lake) as db:
        rows = db.execute("SELECT measure, low, estimate, high FROM latest.review_estimates").fetchall()
        reviews = db.execute("SELECT run_id, reviewed_by, note, drawn, answered, not_known, unanswered FROM reviews")
        assert reviews.fetchall() == [(run, "ann", "by the truth", 100, 98, 1, 1)]
        weights = db.execute("SELECT sum(1 / probability) FROM review_samples WHERE flag").fetchall()
    assert weights[0][0] == pytest.approx(len(flagged))
    assert {measure for measure, *_ in rows} == set(true)
    for measure, low, estimate, high in rows:
        assert low <= estimate <= high
        assert low < high
        assert low <= true[measure] <= high


def test_the_run_alone_shows_the_newest_answers_and_the_query_that_it_names_answers(said, gradsieve, lake, run):
    for name in (run, "latest"):
        done = gradsieve("review", name, "--lake", str(lake))
        assert done.stdout == said
    (line,) = [line for line in said.splitlines() if "gradsieve sql" in line]
    asked = gradsieve("sql", line.split('"')[1], "--format", "csv", "--lake", str(lake))
    assert len(asked.stdout.splitlines()) == 4


def test_what_a_run_states_of_itself_is_shown_with_what_a_person_found(said, gradsieve, lake):
    shown = gradsieve("show", "latest", "--lake", str(lake)).stdout
    assert "expected of the flagged: precision" in shown
    assert "\n".join(f"  {line}" for line in said.splitlines()) in shown.partition("\nMeasured by a person\n")[2]


def test_the_same_answers_again_are_the_review_that_is_there(said, gradsieve, lake, run, answered):
    options = ("--by", "ann", "--note", "by the truth", "--lake", str(lake))
    assert gradsieve("review", run, "--sheet", str(answered), *options).stdout == said
    assert len(list((lake / "review_answers").iterdir())) == 1


def test_maintenance_leaves_questions_and_answers_alone(said, gradsieve, lake):
    def files() -> list[Path]:
        return sorted(path for name in ("reviews", "review_answers") for path in (lake / name).rglob("*"))

    before = files()
    done = gradsieve("maintain", "--keep", "1", "--grace-hours", "0", "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    assert files() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("RUN", "approve", "--sample", "5"), 2, "got approve"),
        (("RUN", "--sample", "5", "--at-most", "3"), 2, "at most 3"),
        (("--sample", "5"), 2, "got no run"),
        (("RUN", "--sample", "5", "--sheet", "s.csv"), 2, "got both"),
        (("RUN", "--sample", "1"), 2, "greater than or equal to 2"),
        (("nobody", "--sample", "5"), 3, "See gradsieve runs"),
        (("RUN", "--sheet", "none.csv"), 3, "none.csv"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(gradsieve, lake, run, arguments, code, words):
    done = gradsieve("review", *(run if each == "RUN" else each for each in arguments), "--lake", str(lake))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_decisions_about_flagged_samples_are_no_answers_to_a_random_sample(gradsieve, lake, run, tmp_path):
    flags = pq.read_table(lake / "runs" / run / "flags.parquet").filter(pc.field("flag"))
    rows = "\n".join(f"{row['rank']},flag,{row['sample_id']}" for row in flags.to_pylist())
    (tmp_path / "flagged.csv").write_text(f"rank,decision,sample_id\n{rows}\n")
    done = gradsieve("review", run, "--sheet", str(tmp_path / "flagged.csv"), "--lake", str(lake))
    assert (done.returncode, "no random sample" in done.stderr) == (3, True)


def test_the_log_has_a_line_for_the_answers(said, lake, run):
    lines = [json.loads(line) for line in (lake / "log.jsonl").read_text().splitlines()]
    assert [line["reviewed"] for line in lines if "reviewed" in line][:1] == [run]
