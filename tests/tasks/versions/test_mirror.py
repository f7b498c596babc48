"""What lies in the lake is taken for a copy only where it is one: nothing of its own is written over or deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.core.errors import BadConfig
from tasks.versions.address import Address, remembered
from tasks.versions.histories import histories
from tasks.versions.history import History
from tasks.versions.maintain import tidy
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.mirror import check, mirror_now, shows
from tasks.versions.object_store import Objects
from tasks.versions.rollback import roll_back


def files(lake: Path) -> dict[str, bytes]:
    """Everything that a lake has of versions."""
    folder = lake / "versions"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def own(published):
    """A run whose versions lie in the lake."""
    return published(promoted=True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_to_maintain_another_store_leaves_the_lakes_own_versions_alone(own, prepare, archive, tmp_path, dry_run):
    other = prepare(lake=tmp_path / "other", source=archive("other.npz", seed=1))
    other.publish()
    before = files(own.run.lake)
    config = MaintainConfig(lake=own.run.lake, dry_run=dry_run, keep=1, grace_hours=0)
    for history in histories(Objects(other.run.lake / "versions")).found:
        with pytest.raises(BadConfig, match="that the lake shows"):
            tidy.fn(own.run, history, config)
        with pytest.raises(BadConfig, match="that the lake shows"):
            mirror_now(history, own.run.lake)
    assert files(own.run.lake) == before


def test_a_look_at_what_would_go_writes_nothing_into_a_lake_that_shows_nothing_yet(own, tmp_path):
    run = own.run.model_copy(update={"lake": tmp_path / "new"})
    tidy.fn(run, own.history, MaintainConfig(lake=run.lake, dry_run=True))
    assert files(run.lake) == {}
    tidy.fn(run, own.history, MaintainConfig(lake=run.lake))
    assert History(Objects(run.lake / "versions"), "tiny").tags() == own.history.tags()


def test_a_backup_that_is_behind_takes_nothing_from_the_lakes_own_versions(own, tmp_path):
    backup = tmp_path / "backup"
    shutil.copytree(own.run.lake / "versions", backup)
    roll_back(own.history, own.history.resolve("v0001"), "me", "so")
    before = files(own.run.lake)
    behind = History(Objects(backup), "tiny")
    assert not shows(behind, own.run.lake)
    with pytest.raises(BadConfig, match="got others, or not all of them"):
        check(behind, own.run.lake)
    assert files(own.run.lake) == before


def test_a_backup_that_lacks_a_move_of_a_tag_takes_nothing_either(own, tmp_path):
    backup = tmp_path / "backup"
    shutil.copytree(own.run.lake / "versions", backup)
    own.history.move("golden", "v0001", "me", "so")
    before = files(own.run.lake)
    with pytest.raises(BadConfig, match="that the lake shows"):
        mirror_now(History(Objects(backup), "tiny"), own.run.lake)
    assert files(own.run.lake) == before


def test_versions_that_were_copied_to_another_place_go_on_there(own, tmp_path):
    shutil.copytree(own.run.lake / "versions", tmp_path / "elsewhere")
    moved = History(Objects(tmp_path / "elsewhere"), "tiny")
    roll_back(moved, moved.resolve("v0001"), "me", "so")
    check(moved, own.run.lake)
    assert mirror_now(moved, own.run.lake) > 0
    assert remembered(own.run.lake, "tiny") == Address(store=str(tmp_path / "elsewhere"))
    assert History(Objects(own.run.lake / "versions"), "tiny").tags() == {"current": "v0003"}


def test_a_backup_that_lacks_rows_takes_none_of_those_that_a_version_needs(own, tmp_path):
    backup = tmp_path / "backup"
    shutil.copytree(own.run.lake / "versions", backup, ignore=shutil.ignore_patterns("parts"))
    before = {name for name in files(own.run.lake) if "/parts/" in name}
    mirror_now(History(Objects(backup), "tiny"), own.run.lake)
    assert {name for name in files(own.run.lake) if "/parts/" in name} == before != set()


def test_a_store_that_has_lost_its_newest_version_takes_no_copy_of_it(prepare, tmp_path):
    ready = prepare(store=str(tmp_path / "elsewhere"))
    ready.promote(ready.publish())
    before = files(ready.run.lake)
    (tmp_path / "elsewhere" / "tiny" / "v0002.json").unlink()
    with pytest.raises(BadConfig, match="If what is there is right, delete"):
        mirror_now(ready.history, ready.run.lake)
    assert files(ready.run.lake) == before


def test_a_copy_whose_log_was_mended_in_the_store_is_brought_up_to_date(prepare, tmp_path):
    ready = prepare(store=str(tmp_path / "elsewhere"))
    ready.promote(ready.publish())
    last = ready.history.log.numbers()[-1]
    (tmp_path / "elsewhere" / "tiny" / f"log/{last:06d}.json").unlink()
    assert mirror_now(ready.history, ready.run.lake) == 1
    assert History(Objects(ready.run.lake / "versions"), "tiny").tags() == ready.history.tags()
