"""Which tag a version gets: a trial beside what is current is promoted by nobody but who asks for it."""

from __future__ import annotations

import duckdb
import pytest

from flows.__main__ import main
from tasks.catalogue.database import build
from tasks.config import CleanConfig
from tasks.core.errors import BadConfig
from tasks.pipeline.artefacts import File
from tasks.versions.history import History
from tasks.versions.live import LiveDataset
from tasks.versions.maintain import tidy
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.object_store import Objects
from tasks.versions.promotion import Promotion, move_tags
from tasks.versions.publication import Publication

HELPS = {"promote": True, "because": ["It helps."]}


def facts(content: str, config: str | None) -> dict:
    """A manifest of no files."""
    rows = {"rows": 1, "splits": {"train": 1}, "removed": 0, "relabelled": 0, "members": content, "content": content}
    unknown = dict.fromkeys(("run_id", "model", "source", "flags", "metrics", "parent"))
    decisions = File(name="decisions.parquet", rows=0, size=0, sha256="0")
    nothing = {"parts": (), "decisions": decisions, "plain": None, "classes": (), "payload": {}}
    return {"kind": "cleaned", "by": "me", "code": "c", "samples": "s", "config": config} | rows | unknown | nothing


def publish(history: History, content: str, reader: dict | None, promotion: Promotion = "auto") -> str:
    """A version of a run with this reader that helps, and what is said of its promotion."""
    config = None if reader is None else CleanConfig.model_validate({"reader": reader}).yaml()
    made = history.commit(facts(content, config))
    return move_tags(history, made.version, HELPS, "run", promotion)


@pytest.fixture
def history(tmp_path) -> History:
    """A dataset whose nightly version is current."""
    history = History(Objects(tmp_path), "digits")
    assert publish(history, "nightly", {"kind": "digits"}) == "v0001 is current"
    return history


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": 1200}, "reader.limit is 1,200 and not none"),
        ({"noise": {"share": 0.3}}, "reader.noise is 30% symmetric (seed 0) and not 10% symmetric (seed 0)"),
        ({"noise": {"seed": 7}}, "reader.noise is 10% symmetric (seed 7) and not"),
        ({"noise": {"share": 0}}, "reader.noise is none and not 10% symmetric"),
    ],
)
def test_a_trial_stays_a_candidate_however_much_it_helps_and_says_how_to_promote_it(history, options, words):
    text = publish(history, "trial", {"kind": "digits", "options": options})
    assert text.startswith("v0002 stays a candidate; current is v0001. It is a trial beside v0001: " + words)
    assert text.endswith("--promotion gate promotes it by its verdict.")
    assert history.tags() == {"current": "v0001", "candidate": "v0002"}
    assert words in history.moves("candidate")[-1].reason

    assert publish(history, "asked", {"kind": "digits", "options": options}, promotion="gate") == "v0003 is current"


def test_the_next_night_is_promoted_after_a_trial_and_also_where_a_trial_is_current(history):
    trial = {"kind": "digits", "options": {"limit": 900}}
    publish(history, "trial", trial)
    assert publish(history, "next", {"kind": "digits"}) == "v0003 is current"
    publish(history, "promoted trial", trial, promotion="gate")
    assert publish(history, "after it", {"kind": "digits"}) == "v0005 is current"


def test_the_same_trial_again_is_none_once_it_was_promoted_by_name(tmp_path):
    history, trial = History(Objects(tmp_path), "digits"), {"kind": "digits", "options": {"limit": 900}}
    assert publish(history, "first", trial, promotion="gate") == "v0001 is current"
    assert publish(history, "again", trial) == "v0002 is current"


@pytest.mark.parametrize("options", [{"limit": 900}, {"noise": {"share": 0.5}}])
def test_the_first_version_of_a_dataset_is_not_current_if_it_is_a_trials_and_the_first_that_is_none_becomes_it(
    tmp_path, options
):
    history = History(Objects(tmp_path), "digits")
    text = publish(history, "first", {"kind": "digits", "options": options})
    assert text.startswith("v0001 stays a candidate; current is nothing yet. It is a trial: reader.")
    assert text.endswith("--promotion gate promotes it by its verdict.")
    assert publish(history, "nightly", {"kind": "digits", "options": {"noise": {"share": 0.1}}}) == "v0002 is current"
    assert history.tags() == {"current": "v0002"}


@pytest.mark.parametrize(
    ("options", "promotion", "is_current"),
    [
        ({}, "auto", True),
        ({"limit": 100}, "auto", False),
        ({"noise": {"share": 0.3}}, "auto", False),
        ({"noise": {"seed": 7}}, "auto", True),
        ({"limit": 100}, "gate", True),
        ({}, "candidate", False),
        ({}, "none", False),
    ],
)
def test_the_dataset_as_it_came_is_current_unless_a_trial_read_it_or_nothing_is_to_be_promoted(
    prepare, options, promotion, is_current
):
    ready = prepare()
    publication = Publication(ready.run, ready.history, ready.samples)
    reader = {"kind": "npz", "path": "source.npz", "options": options}
    about = {"by": "run", "run_id": "r", "code": "c", "source": None, "model": None, "flags": None, "metrics": None}
    trial = about | {"config": CleanConfig.model_validate({"reader": reader}).yaml()}
    assert publication.commit_ingested(trial, promotion).version == "v0001"
    assert ready.history.tags() == ({"current": "v0001"} if is_current else {})
    # The next ordinary run of the same rows makes them current, unless somebody has taken the tag away.
    ordinary = about | {"config": CleanConfig.model_validate({"reader": reader | {"options": {}}}).yaml()}
    publication.commit_ingested(ordinary, "auto")
    assert ready.history.tags() == {"current": "v0001"}


def test_without_a_current_version_whoever_asks_for_it_is_told_which_there_are(prepare, capsys):
    ready = prepare()
    ready.given["promotion"] = "candidate"
    ready.promote(ready.publish(), "candidate")
    lake = ready.run.lake
    with pytest.raises(BadConfig, match="expected one of v0001, v0002, candidate, or a time, got current"):
        LiveDataset(lake / "versions", "tiny")
    assert main(["versions", "list", "--lake", str(lake)]) == 0
    assert "candidate" in capsys.readouterr().out
    assert tidy.fn(ready.run, ready.history, MaintainConfig(lake=lake)).lines[0].startswith("tiny: no version")
    build(lake)
    with duckdb.connect(str(lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute('SELECT count(*) FROM data."tiny@candidate"').fetchall() == [(234,)]
        with pytest.raises(duckdb.CatalogException, match="tiny@current does not exist"):
            db.execute('SELECT * FROM data."tiny@current"')
    assert main(["versions", "export", "--lake", str(lake), "--to", str(lake / "out")]) == 2
    assert "versions tag current --version V makes it so" in capsys.readouterr().err


def test_a_version_whose_configuration_does_not_tell_is_judged_by_its_verdict(history):
    assert publish(history, "by hand", None) == "v0002 is current"
    assert publish(history, "trial", {"kind": "digits", "options": {"limit": 9}}) == "v0003 is current"


def test_candidate_promotes_nothing_and_none_moves_no_tag(history):
    text = publish(history, "second", {"kind": "digits"}, promotion="candidate")
    assert text == "v0002 stays a candidate; current is v0001. By --promotion candidate nothing is promoted."
    assert history.tags() == {"current": "v0001", "candidate": "v0002"}
    text = publish(history, "third", {"kind": "digits"}, promotion="none")
    assert text == "v0003 has no tag, as --promotion none says; current is v0001"
    assert history.tags() == {"current": "v0001", "candidate": "v0002"}


def test_none_leaves_a_new_dataset_without_tags(prepare):
    ready = prepare()
    ready.given["promotion"] = "none"
    ready.promote(ready.publish(), "none")
    assert len(ready.history.manifests()) == 2
    assert ready.history.tags() == {}
