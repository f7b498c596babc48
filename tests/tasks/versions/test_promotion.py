"""Which tag a version gets: a trial beside what is current is promoted by nobody but who asks for it."""

from __future__ import annotations

import pytest

from tasks.config import CleanConfig
from tasks.pipeline.artefacts import File
from tasks.versions.history import History
from tasks.versions.object_store import Objects
from tasks.versions.promotion import Promotion, move_tags

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


def test_the_same_trial_again_is_none_and_the_first_version_of_a_dataset_is_none(tmp_path):
    history, trial = History(Objects(tmp_path), "digits"), {"kind": "digits", "options": {"limit": 900}}
    assert publish(history, "first", trial) == "v0001 is current"
    assert publish(history, "again", trial) == "v0002 is current"


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
