"""The lake remembers in which store its versions lie; every command, view and training asks there, and nowhere else."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import ExitStack
from datetime import timedelta

import duckdb
import pytest
from s3_server import s3_server

from flows.__main__ import main
from flows.command_line import stores
from tasks.core.errors import BadConfig, GradsieveError
from tasks.versions import object_store
from tasks.versions.address import Address, follow, remembered
from tasks.versions.history import History
from tasks.versions.live import LiveDataset
from tasks.versions.object_store import Objects
from tasks.versions.publication import history_of
from tasks.versions.rollback import roll_back


@pytest.fixture(autouse=True)
def _ask_at_once(monkeypatch):
    monkeypatch.setattr(stores, "_next", {})
    monkeypatch.setattr(stores, "_PAUSE", 0.0)


@pytest.fixture
def published(preparation, s3):
    """A run whose version is in the bucket, where current names it."""

    def make(run):
        ready = run()
        ready.promote(ready.publish())
        without_shards(ready)
        return [ready]

    return preparation.begin("without shards", True, make)[0]


def without_shards(ready) -> None:
    """As after a vacuum: those of a prepared run are no gradients, and SQL would say so."""
    for path in (ready.run.lake / "runs").glob("*/gradients/*.arrow"):
        path.unlink()


@pytest.fixture
def lake(published):
    return str(published.run.lake)


def elsewhere(published) -> History:
    """The same bucket, as another machine sees it that knows nothing of the lake."""
    return History(Objects(published.store), published.dataset)


def test_the_lake_remembers_the_store_and_no_credentials(published, s3):
    path = published.run.lake / "versions" / "tiny" / "store.json"
    assert json.loads(path.read_text()) == {"store": published.store, "endpoint": s3, "region": "us-east-1"}
    assert remembered(published.run.lake, "tiny") == Address(store=published.store, endpoint=s3, region="us-east-1")
    assert remembered(published.run.lake, "other") is None


def test_versions_in_the_lake_itself_need_no_address(preparation):
    ready = preparation.published(promoted=True)
    assert remembered(ready.run.lake, "tiny") is None
    objects = ready.history.objects
    assert follow(objects, "tiny") is objects


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "current"], ["diff", "v0001", "current"], ["verify"], ["rollback", "v0001"],
     ["tag", "mine", "--version", "v0001"], ["vacuum"]],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_every_command_finds_the_bucket_by_itself_without_endpoint_and_region(
    published, lake, arguments, capsys, monkeypatch
):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_REGION")
    assert main(["versions", *arguments, "--lake", lake]) == 0, capsys.readouterr().err
    assert main(["versions", *arguments, "--lake", lake, "--store", published.store]) == 0, capsys.readouterr().err


def test_rows_of_the_bucket_are_exported_and_trained_on(published, lake, tmp_path):
    assert main(["versions", "export", "--lake", lake, "--to", str(tmp_path / "out")]) == 0
    exported = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/out/*/*.parquet'").fetchall()
    assert exported == [(published.history.manifest(2).rows,)]
    live = LiveDataset(f"{lake}/versions", "tiny")
    assert (live.history.objects.where, live.manifest and live.manifest.version) == (published.store, "v0002")


def test_a_rollback_of_another_machine_is_seen_by_the_next_command(published, lake, capsys):
    query = 'SELECT version, (SELECT count(*) FROM data."tiny@current") AS n FROM tags'
    rows = {m.version: m.rows for m in elsewhere(published).manifests()}
    assert main(["sql", query, "--lake", lake, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["version,n", f"v0002,{rows['v0002']}"]
    roll_back(elsewhere(published), elsewhere(published).manifest(1), "another", "for the test")
    assert main(["sql", query, "--lake", lake, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["version,n", f"v0003,{rows['v0001']}"]
    elsewhere(published).move("mine", "v0002", "another", "for the test")
    assert main(["index", "--lake", lake]) == 0
    assert "written anew" in capsys.readouterr().out
    assert main(["index", "--lake", lake]) == 0
    assert "up to date" in capsys.readouterr().out
    assert main(["versions", "list", "--lake", lake]) == 0
    assert "back to v0001" in capsys.readouterr().out


def test_rows_that_another_machine_published_are_copied_once_and_said(published, prepare, archive, tmp_path, capsys):
    other = prepare(store=published.store, lake=tmp_path / "other", source=archive("more.npz", rows=250, seed=3))
    other.promote(other.publish())
    query = ["sql", 'SELECT count(*) AS n FROM data."tiny@current"', "--lake", str(published.run.lake)]
    for copied in (1, 0):
        assert main([*query, "--format", "csv"]) == 0, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert out.splitlines() == ["n", str(other.history.resolve("current").rows)]
        assert (err.count("MB copied from s3://"), err.count("once")) == (copied, copied)
    with duckdb.connect(str(published.run.lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute('SELECT count(*) > 200 FROM data."tiny@current"').fetchall() == [(True,)]


def test_what_is_published_names_its_address(published, s3):
    from tasks.report.version_views import publication_lines

    lines = publication_lines(published.run.lake, "tiny", published.run.run_id)
    assert f"in {published.store} at {s3}, folder tiny" in lines


def test_a_run_that_published_nothing_new_says_why_and_what_is_current(published):
    from tasks.report.version_views import publication_lines

    said, tags = publication_lines(published.run.lake, "tiny", "a-later-night")
    assert "an earlier run has published the same" in said
    assert "current is v0002" in tags or "candidate is v0002" in tags


def test_a_run_without_a_store_goes_on_where_the_versions_lie_and_one_with_another_is_refused(published, tmp_path):
    assert history_of(published.run, None, "tiny").objects.where == published.store
    with pytest.raises(BadConfig, match="that the lake shows"):
        history_of(published.run, str(tmp_path / "elsewhere"), "tiny")


def test_another_place_that_answers_to_the_address_takes_nothing_away(published, lake, monkeypatch, capsys):
    address = remembered(published.run.lake, "tiny")
    path = published.run.lake / "versions" / "tiny" / "store.json"
    path.write_text(Address(store=f"{address.store}-other").model_dump_json())
    assert main(["sql", "SELECT count(*) AS n FROM versions", "--lake", lake, "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["n", "2"]
    assert "tiny: its store cannot be asked" in err


def test_a_lake_that_was_copied_asks_the_same_store(published, tmp_path, capsys):
    shutil.copytree(published.run.lake, tmp_path / "copy")
    assert main(["versions", "rollback", "v0001", "--lake", str(tmp_path / "copy")]) == 0, capsys.readouterr().err
    assert elsewhere(published).version_of("current") == "v0003"


def test_a_server_that_dies_in_a_publication_loses_nothing_and_the_run_goes_on_when_it_is_back(
    prepare, bucket, s3, monkeypatch, capsys
):
    monkeypatch.setattr(object_store, "PATIENCE", timedelta(seconds=4))
    dying = ExitStack()
    address = dying.enter_context(s3_server())
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    ready = prepare(store=bucket, shard_rows=16)
    refused: list[Exception] = []

    def publish() -> None:
        try:
            ready.promote(ready.publish())
        except GradsieveError as error:
            refused.append(error)

    work = threading.Thread(target=publish)
    watched = Objects(bucket)
    work.start()
    while work.is_alive() and len(watched.list("tiny")) < 4:
        time.sleep(0.01)
    dying.close()
    work.join(60)
    assert refused
    assert "store s3://bucket" in str(refused[0])
    with s3_server(int(address.rpartition(":")[2])):
        ready.promote(ready.publish())
        assert ready.history.tags() == {"current": "v0002"}
        assert main(["versions", "verify", "--lake", str(ready.run.lake)]) == 0, capsys.readouterr().out
    # While it is away SQL answers from what the lake has, and says so; what would change something is refused.
    capsys.readouterr()
    without_shards(ready)
    query = ["sql", "SELECT count(*) AS n FROM versions", "--format", "csv", "--lake", str(ready.run.lake)]
    assert main(query) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["n", "2"]
    assert "its store cannot be asked" in err
    assert main(["versions", "rollback", "v0001", "--lake", str(ready.run.lake)]) == 2
