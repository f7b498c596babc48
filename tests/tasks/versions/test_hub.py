"""A version on the Hugging Face hub: the library's own client, and a server of one's own in place of the hub."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_server import HubServer, Repository, hub_server

from tasks.core.errors import BadConfig
from tasks.versions.contents import rows_of
from tasks.versions.table_formats import Receipt
from tasks.versions.table_publication import publish_to

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub without datasets; what its client keeps is kept apart."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    with hub_server() as server:
        yield server


@pytest.fixture
def two(published):
    """A dataset of two versions."""
    return published(flagged=6, relabelled=2)


def publish(ready, hub: HubServer, version: str) -> Receipt:
    history = ready.history
    return publish_to(history, history.resolve(version), "hub", f"{hub.address}/datasets/me/tiny")


def rows_at(repository: Repository, tag: str) -> list[dict]:
    files = repository.commits[repository.tags[tag]]
    tables = [pq.read_table(io.BytesIO(data)) for path, data in files.items() if path.startswith("data/")]
    return sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["sample_id"])


def test_a_version_is_a_commit_with_a_card_and_a_tag(two, hub):
    publish(two, hub, "v0002")
    repository = hub.repositories["me/tiny"]
    assert repository.private
    with rows_of(two.history, two.history.resolve("v0002").rows_of) as rows:
        ours = pa.Table.from_batches([batch for _, batch in rows.batches()])
    assert rows_at(repository, "v0002") == sorted(ours.to_pylist(), key=lambda row: row["sample_id"])
    card = repository.commits[repository.head]["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert [config["config_name"] for config in head["configs"]] == ["rows", "decisions"]
    assert {split["split"] for split in head["configs"][0]["data_files"]} == {"train", "test"}
    assert "| removed | 4 |" in card
    assert "helps: so" in card


def test_the_same_again_is_no_commit_and_the_next_version_leaves_the_one_before_under_its_tag(two, hub):
    publish(two, hub, "v0002")
    repository = hub.repositories["me/tiny"]
    assert not publish(two, hub, "v0002").snapshots[0].is_new
    assert repository.messages == ["initial commit", "tiny v0002"]
    assert publish(two, hub, "v0001").snapshots[0].is_new
    assert len(rows_at(repository, "v0001")) == len(rows_at(repository, "v0002")) + 4
    assert not [path for path in repository.commits[repository.head] if path.startswith("decisions/")]


def test_a_commit_that_was_cut_off_before_its_tag_is_tagged_and_not_made_twice(two, hub):
    publish(two, hub, "v0002")
    repository = hub.repositories["me/tiny"]
    del repository.tags["v0002"]
    publish(two, hub, "v0002")
    assert rows_at(repository, "v0002")


def test_what_is_of_somebody_else_is_not_written_over(two, hub, prepare, archive, tmp_path):
    other = prepare(lake=tmp_path / "other", source=archive("other.npz", seed=1))
    other.publish()
    publish(two, hub, "v0001")
    with pytest.raises(BadConfig, match="v0001 of another one"):
        publish(other, hub, "v0001")
    with pytest.raises(BadConfig, match="got tiny v0001 of another history"):
        publish(other, hub, "v0002")
    hub.repositories["me/tiny"] = foreign = Repository(private=True)
    foreign.commit({"train.csv": b"a"}, "theirs")
    with pytest.raises(BadConfig, match=r"train\.csv"):
        publish(two, hub, "v0002")


@pytest.mark.parametrize("at", ["tiny", "a/b/c", "http://127.0.0.1:9/datasets/me/tiny"])
def test_a_name_that_is_none_and_a_hub_that_does_not_answer_are_told(two, at):
    with pytest.raises(BadConfig, match="option at"):
        publish_to(two.history, two.history.resolve("v0001"), "hub", at)
