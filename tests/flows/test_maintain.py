"""A lake is kept in order: old versions go, what is current is looked at, and never the cure before the illness."""

from __future__ import annotations

import os
import shutil

import duckdb
import pytest
from histories import without_log

from tasks.pipeline.durable_files import PARTIAL


@pytest.fixture
def lake(cleaned, tmp_path):
    """The main job's lake, rolled back to its first version, forth and back again: the first of these three may go."""
    from tasks.versions.history import History
    from tasks.versions.object_store import Objects
    from tasks.versions.rollback import roll_back

    lake = shutil.copytree(cleaned.lake, tmp_path / "lake")
    history = History(Objects(lake / "versions"), "digits")
    for name in ("v0001", "v0002", "v0001"):
        roll_back(history, history.resolve(name), "ann", "to have versions that may go")
    return lake


def maintained(gradsieve, lake, *options: str):
    return gradsieve("maintain", "--lake", str(lake), *options)


def versions(lake) -> list[str]:
    return sorted(path.stem for path in (lake / "versions" / "digits").glob("v*.json"))


def damage(lake) -> None:
    """One byte of the largest file of published rows."""
    path = max((lake / "versions" / "digits" / "parts").glob("*.parquet"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.unlink()
    path.write_bytes(content)


def second_dataset(lake):
    """The same versions under another name, without seals: as they were before there were any."""
    from tasks.versions.history import History
    from tasks.versions.object_store import Objects

    shutil.copytree(lake / "versions" / "digits", lake / "versions" / "whole")
    history = History(Objects(lake / "versions"), "whole")
    without_log(history)
    for number in history.numbers():
        path = lake / "versions" / "whole" / f"v{number:04d}.json"
        text = path.read_text()
        path.unlink()
        path.write_text(text.replace('"dataset": "digits"', '"dataset": "whole"'))
    return history


def test_what_is_current_is_whole_and_a_dry_run_changes_nothing_and_counts_once(gradsieve, lake):
    second_dataset(lake)
    partial = lake / "cache" / f"{PARTIAL}another-machine-1"
    partial.mkdir()
    os.utime(partial, (0, 0))
    before = {path: path.stat().st_mtime_ns for path in (lake / "versions").rglob("*")}
    done = maintained(gradsieve, lake, "--dry-run", "--keep=1", "--grace-hours=0")
    assert done.returncode == 0, done.stderr
    assert "which is current, is whole" in done.stdout
    assert "would go" in done.stdout
    # What is half-written in the lake is every dataset's, and counts once.
    assert done.stdout.count("unfinished") == 1
    assert {path: path.stat().st_mtime_ns for path in (lake / "versions").rglob("*")} == before


def test_old_versions_go_and_the_catalogue_says_so(gradsieve, lake):
    there = versions(lake)
    unused = lake / "features" / "of an encoder of long ago"
    unused.mkdir(parents=True)
    os.utime(unused, (0, 0))
    done = maintained(gradsieve, lake, "--keep=1", "--grace-hours=0")
    assert done.returncode == 0, done.stderr
    gone = [name for name in there if name not in versions(lake)]
    assert gone
    assert ", ".join(gone) in done.stdout
    assert "features of encoder of an encoder of long ago, unused for 90 days: 0.0 MB are gone" in done.stdout
    assert not unused.exists()
    with duckdb.connect(str(lake / "catalogue.duckdb"), read_only=True) as db:
        known = [name for (name,) in db.execute("SELECT version FROM versions ORDER BY 1").fetchall()]
    assert known == versions(lake)


def test_of_a_damaged_dataset_nothing_goes_and_the_others_are_kept_in_order_all_the_same(gradsieve, lake):
    whole = second_dataset(lake)
    there = versions(lake)
    damage(lake)
    done = maintained(gradsieve, lake, "--keep=1", "--grace-hours=0")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "every digest as it was recorded" in done.stderr
    assert versions(lake) == there
    assert len(whole.numbers()) < len(there)


def test_a_source_that_has_changed_since_is_told_but_is_no_damage(gradsieve, tmp_path, small):
    rows = [f"{x},{x * 7 % 5},{'ab'[x % 2]}" for x in range(80)]
    (tmp_path / "data.csv").write_text("x,y,label\n" + "\n".join(rows))
    data = [f"--reader.path={tmp_path / 'data.csv'}", "--reader.label=label"]
    options = [option for option in small if not option.startswith("--reader")]
    done = gradsieve("clean", "--lake", str(tmp_path / "lake"), *data, *options)
    assert done.returncode == 0, done.stderr
    gradsieve("versions", "tag", "current", "--version=v0001", "--lake", str(tmp_path / "lake"))
    (tmp_path / "data.csv").write_text("x,y,label\n" + "\n".join(rows[:70]))
    done = maintained(gradsieve, tmp_path / "lake")
    assert done.returncode == 0, done.stderr
    assert "which is current, is whole" in done.stdout
    assert "the source has changed since it was read" in done.stdout
