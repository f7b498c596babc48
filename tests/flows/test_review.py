"""A run that asks for a review waits for a person, does as it is told, remembers who said it, and asks once."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.command_line import review
from flows.command_line.review import ReviewCommand
from flows.operations.server_api import ServerApi
from tasks.core.errors import BadConfig
from tasks.versions.history import History
from tasks.versions.object_store import Objects

BUDGET = ["--canaries.share=0", "--budget.kind=share", "--budget.share=0.05"]
END = 60
Finished = subprocess.CompletedProcess[str]


def waiting(server: str) -> set[str]:
    """Ids of the runs that wait."""
    paused = ServerApi(server).ask("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["PAUSED"]}}})
    return {run["id"] for run in paused}


@pytest.fixture(scope="module")
def computed(gradsieve, small, tmp_path_factory) -> Path:
    """A cache of all that comes before the question."""
    lake = tmp_path_factory.mktemp("computed") / "lake"
    done = gradsieve("clean", "--lake", str(lake), *small, *BUDGET)
    assert done.returncode == 0, done.stderr
    return lake / "cache"


@pytest.fixture
def asking(computed, gradsieve, server, small, tmp_path):
    """Start a run that asks; (the command, which is not over yet, id of its flow run)."""
    commands = ThreadPoolExecutor()
    shutil.copytree(computed, tmp_path / "lake" / "cache")

    def start(*options: str, hours: float = 1.0) -> tuple[Future[Finished], str]:
        before = waiting(server)
        asked = (*small, *BUDGET, "--review.required", f"--review.hours={hours}", *options)
        command = commands.submit(gradsieve, "clean", "--lake", str(tmp_path / "lake"), *asked)
        deadline = time.monotonic() + END
        while not (new := waiting(server) - before):
            assert not command.done(), command.result()
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return command, new.pop()

    yield start
    commands.shutdown(wait=False)


def finished(command: Future[Finished]) -> str:
    done = command.result(END)
    assert done.returncode == 0, done.stderr
    return done.stdout


def flags_of(lake: Path) -> dict:
    (path,) = [run / "flags.parquet" for run in (lake / "runs").iterdir()]
    return {row["sample_id"]: row for row in pq.read_table(path).to_pylist()}


def test_rows_that_a_person_keeps_stay_and_the_decision_is_remembered(asking, gradsieve, server, tmp_path):
    command, run = asking()
    (sheet,) = (tmp_path / "lake" / "reviews").glob("*/flagged.csv")
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 10
    kept = {row["sample_id"] for row in rows[:3]}
    edited = tmp_path / "edited.csv"
    with edited.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"decision": "keep" if row["sample_id"] in kept else "flag"} for row in rows)
    broken = tmp_path / "broken.csv"
    broken.write_text("sample_id,decision\n" + f"{rows[0]['sample_id']},perhaps\n")

    answer = ("--by", "ann", "--note", "looked at each")
    # The page to decide by is there, and knows the run by our name for it.
    (page,) = (tmp_path / "lake" / "reports").iterdir()
    assert "no verdict yet" in page.read_text()
    refused = gradsieve("review", page.stem, "rows", "--sheet", str(broken), "--lake", str(tmp_path / "lake"), *answer)
    assert refused.returncode == 0, refused.stderr
    deadline = time.monotonic() + END
    while run not in waiting(server):  # it read the sheet, and asks again
        assert time.monotonic() < deadline
        time.sleep(0.3)
    done = gradsieve("review", run, "rows", "--sheet", str(edited), *answer)
    assert done.returncode == 0, done.stderr
    text = finished(command)
    assert f"decided row by row ({len(rows)}) by ann" in text

    assert (list(page.parent.iterdir()), "no verdict yet" in page.read_text()) == ([page], False)
    flags = flags_of(tmp_path / "lake")
    assert {name for name, row in flags.items() if row["decided_by"]} == {row["sample_id"] for row in rows}
    assert not any(flags[name]["flag"] for name in kept)
    assert sum(row["flag"] for row in flags.values()) == len(rows) - 3
    history = History(Objects(tmp_path / "lake" / "versions"), "digits")
    made = history.manifest(2)
    assert made.removed == len(rows) - 3
    decided = pq.read_table(tmp_path / "lake" / "versions" / "digits" / made.rows_of.decided)
    by_ann = decided.filter(pc.field("decided_by") == "ann")
    assert by_ann.num_rows == len(rows)
    assert set(by_ann.filter(pc.field("decision") == "keep")["sample_id"].to_pylist()) == kept
    assert all("kept by ann: looked at each" in flags[name]["reason"] for name in kept)
    assert by_ann["decided_at"].null_count == 0
    assert "follow from the run" in gradsieve("versions", "verify", "v0002", "--lake", str(tmp_path / "lake")).stdout


def test_who_has_answered_is_not_asked_the_same_again(asking, gradsieve, server, small, tmp_path):
    command, run = asking()
    gradsieve("review", run, "approve", "--at-most", "4", "--by", "bob")
    assert "approved, at most 4 by bob" in finished(command)
    assert sum(row["flag"] for row in flags_of(tmp_path / "lake").values()) == 4
    again = gradsieve("clean", "--lake", str(tmp_path / "lake"), *small, *BUDGET, "--review.required")
    assert again.returncode == 0, again.stderr
    assert "nothing recomputed" in again.stdout


def test_if_nobody_comes_the_version_stays_a_candidate_and_says_so(asking, tmp_path):
    command, _ = asking(hours=5 / 3600)
    text = finished(command)
    assert "nobody reviewed what is flagged within" in text
    history = History(Objects(tmp_path / "lake" / "versions"), "digits")
    assert history.tags() == {"current": "v0001", "candidate": "v0002"}
    assert not list((tmp_path / "lake" / "reviews").glob("*/answer.json"))


def test_what_is_rejected_changes_nothing(asking, gradsieve, server, tmp_path):
    command, run = asking()
    listed = gradsieve("review").stdout.splitlines()
    assert run in [line.split()[0] for line in listed[1:]]
    gradsieve("review", run, "reject", "--by", "cem", "--note", "all rare")
    assert "rejected by cem" in finished(command)
    assert not any(row["flag"] for row in flags_of(tmp_path / "lake").values())
    facts = json.loads(next((tmp_path / "lake" / "runs").glob("*/run.json")).read_text())["facts"]
    assert facts["flags"]["review"]["note"] == "all rare"
    history = History(Objects(tmp_path / "lake" / "versions"), "digits")
    assert history.manifest(2).rows == history.manifest(1).rows


@pytest.fixture
def without_question(server) -> tuple[ServerApi, str]:
    """A run that Prefect has paused and whose question it has not written down yet; its id."""
    api = ServerApi(server)
    run = api.ask("flow_runs/", flow_id=api.ask("flows/", name="asks")["id"], state={"type": "RUNNING"})["id"]
    keys = {name: f"paused-1-{name}" for name in ("description", "response", "schema")}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    details = {"pause_timeout": later, "pause_key": "1", "run_input_keyset": keys}
    state = {"type": "PAUSED", "name": "Paused", "state_details": details}
    api.ask(f"flow_runs/{run}/set_state", state=state, force=True)
    return api, run


def test_an_answer_waits_for_the_question_to_be_written_down(without_question, server):
    api, run = without_question
    schema = {"key": "paused-1-schema", "value": json.dumps({"type": "object"})}
    writer = Timer(0.3, lambda: api.ask(f"flow_runs/{run}/input", **schema))
    writer.start()
    with temporary_settings({PREFECT_API_URL: server}):
        ReviewCommand(run=run, decision="approve", by="ann").cli_cmd()
    writer.join()
    assert api.ask(f"flow_runs/{run}", "GET")["state_name"] == "Running"
    answers = api.ask(f"flow_runs/{run}/input/filter", prefix="paused-1-response", limit=5)
    assert [json.loads(answer["value"])["reviewer"] for answer in answers] == ["ann"]


def test_where_no_question_comes_it_is_said_what_to_do(without_question, server, monkeypatch):
    monkeypatch.setattr(review, "_QUESTION_SECONDS", 0.1)
    answer = ReviewCommand(run=without_question[1], decision="approve", by="ann")
    with (
        temporary_settings({PREFECT_API_URL: server}),
        pytest.raises(BadConfig, match="say the same again in a minute"),
    ):
        answer.cli_cmd()
    api, run = without_question
    api.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLED"}, force=True)


def test_a_run_that_lost_its_process_is_asked_about_again_and_an_answer_given_meanwhile_counts(
    computed, gradsieve, nursery, server, tmp_path
):
    api, lake = ServerApi(server), tmp_path / "lake"
    shutil.copytree(computed, lake / "cache")
    config = {
        "lake": str(lake), "reader": {"kind": "digits", "options": {"limit": 400}}, "review": {"required": True},
        "training": {"epochs": 2}, "folds": 2, "detectors": [{"kind": "l2"}, {"kind": "l1"}],
        "budget": {"kind": "share", "share": 0.05}, "canaries": {"share": 0.0}, "verification": {"seeds": 1},
    }  # fmt: skip
    flow = api.ask("flows/", name="clean")["id"]
    run = api.ask("flow_runs/", flow_id=flow, parameters={"config": config})["id"]

    def begin() -> subprocess.Popen[bytes]:
        """As a worker does with a run that was put in line again."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        api.ask(f"flow_runs/{run}/set_state", state=state, force=True)
        about = {"PREFECT__FLOW_RUN_ID": run, "PREFECT__FLOW_ENTRYPOINT": "flows/clean.py:clean"}
        about |= {"PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(shlex.split(nursery.command_of_runs()), env=os.environ | about)

    def questions() -> int:
        """Prefect pauses a run first, and writes down what is asked next."""
        keys = api.ask(f"flow_runs/{run}/input/filter", prefix="paused-", limit=20)
        return sum(entry["key"].endswith("-description") for entry in keys)

    for number in (1, 2):
        with begin() as process:
            deadline = time.monotonic() + 2 * END
            while run not in waiting(server) or questions() < number:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
            process.kill()
    done = gradsieve("review", run, "approve", "--at-most", "3", "--by", "ann")
    assert done.returncode == 0, done.stderr
    with begin() as process:
        assert process.wait(2 * END) == 0
    assert api.ask(f"flow_runs/{run}", "GET")["state_name"] == "Completed"
    assert sum(row["flag"] for row in flags_of(lake).values()) == 3
    (answer,) = (lake / "reviews").glob("*/answer.json")
    assert json.loads(answer.read_bytes())["reviewer"] == "ann"


def test_without_a_server_it_is_refused_at_once_unless_something_was_decided_before(computed, small, tmp_path, nursery):
    lake = tmp_path / "lake"
    command = ("clean", "--lake", str(lake), *small, *BUDGET, "--review.required")
    refused = nursery.run(command, None, None)
    assert refused.returncode == 2
    assert "option review.required: expected a Prefect server, so that somebody can answer" in refused.stderr
    assert "PREFECT_API_URL is not set" in refused.stderr
    assert not list((lake / "cache").glob("samples*"))
    assert not (lake / "log.jsonl").exists()
    shutil.copytree(computed, lake / "cache", dirs_exist_ok=True)
    answer = lake / "reviews" / "of-other-flags" / "answer.json"
    answer.parent.mkdir(parents=True)
    answer.write_text('{"decision": "approve"}')
    late = nursery.run(command, None, None)
    assert (late.returncode, late.stderr.splitlines()[-1]) == (2, refused.stderr.splitlines()[-1])
    # It is said of a run this time, which was about to ask.
    assert json.loads((lake / "log.jsonl").read_text())["state"] == "failed"
    listed = nursery.run(("review",), None, None)
    assert (listed.returncode, "PREFECT_API_URL" in listed.stderr) == (2, True)
