"""Names of tags and datasets that differ in case alone: SQL takes them for one, and the catalogue stays whole."""

from __future__ import annotations

import duckdb
import pytest

from tasks.catalogue.database import build
from tasks.core.errors import BadConfig
from tasks.versions.history import History
from tasks.versions.object_store import Objects
from tasks.versions.tag_names import check_tag_name


def views(lake) -> set[str]:
    """Those of the rows of versions and datasets."""
    build(lake)
    with duckdb.connect(str(lake / "catalogue.duckdb"), read_only=True) as db:
        names = db.execute("SELECT view_name FROM duckdb_views() WHERE schema_name = 'data'").fetchall()
    return {name for (name,) in names}


@pytest.mark.parametrize("tag", ["Current", "CANDIDATE", "Golden"])
def test_a_tag_that_differs_from_another_in_case_alone_is_refused(published, tag):
    ready = published()
    assert ready.history.move("golden", "v0001", "me", "so")
    before = ready.history.tags()
    with pytest.raises(BadConfig, match=f"got {tag}, beside {tag.lower()}"):
        ready.history.move(tag, "v0001", "me", "so")
    assert ready.history.tags() == before


@pytest.mark.parametrize("tag", ["v1", "12", "LATEST", "", "a b", "_a", "a" * 65])
def test_what_is_no_name_for_a_tag_is_refused_before_anything_is_written(tmp_path, tag):
    with pytest.raises(BadConfig, match="no version's name"):
        History(Objects(tmp_path), "pets").move(tag, "v0001", "me", "so")
    assert not list(tmp_path.iterdir())


def test_two_tags_of_before_that_differ_in_case_alone_can_both_be_moved_and_the_small_one_has_the_view(
    published, caplog
):
    ready = published(promoted=True)
    history = ready.history
    # As 0.6 let it be.
    history.log.append(
        history.newest_name(),
        lambda tags: (
            {"kind": "move", "by": "me", "reason": "so", "tag": "Current", "version": "v0001"}
            | {"tags": tags | {"Current": "v0001"}}
        ),
    )
    assert history.tags() == {"Current": "v0001", "current": "v0002"}
    assert views(ready.run.lake) == {"tiny", "tiny@v0001", "tiny@v0002", "tiny@current"}
    assert "tag of tiny Current has no view: SQL does not tell it from current" in caplog.text
    with duckdb.connect(str(ready.run.lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute('SELECT count(*) FROM data."tiny@current"').fetchall() == [(234,)]
    assert history.move("Current", None, "me", "so")
    assert history.move("current", "v0001", "me", "so")
    assert history.tags() == {"current": "v0001"}


def test_two_datasets_that_differ_in_case_alone_leave_the_catalogue_whole(prepare):
    small, large = prepare(), prepare(dataset="Tiny")
    for ready in (small, large):
        ready.publish()
    assert {name for name in views(small.run.lake) if not name.startswith("tiny")} == set()


def test_every_tag_there_ever_was_may_be_moved():
    check_tag_name("Current", ["Current", "current"])
    check_tag_name("current", [])
