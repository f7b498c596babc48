"""A store that does not answer, or whose address is damaged, keeps no other dataset from being seen to."""

from __future__ import annotations

import pytest

from flows.__main__ import main
from tasks.core.errors import GradsieveError
from tasks.report.version_views import publication_lines
from tasks.versions.histories import histories
from tasks.versions.mirror import mirror_now
from tasks.versions.object_store import Objects


@pytest.fixture
def lake(published):
    """With a dataset of its own, and two beside it, before and after in order, that cannot be asked."""
    ready = published(promoted=True)
    for name, address in (("aaa", "{"), ("zzz", '{"store": "nothing://here"}')):
        home = ready.run.lake / "versions" / name
        home.mkdir()
        (home / "store.json").write_text(address)
    return ready.run.lake


def test_what_cannot_be_asked_is_told_and_the_others_are_there(lake, caplog):
    asked = histories(Objects(lake / "versions"))
    assert [history.dataset for history in asked.found] == ["tiny"]
    assert list(asked.refusals) == ["aaa", "zzz"]
    assert "aaa: its versions cannot be asked for" in caplog.text
    with pytest.raises(GradsieveError, match="aaa"):
        asked.check()
    histories(Objects(lake / "versions"), "tiny").check()


@pytest.mark.parametrize("command", [["list"], ["verify"], ["vacuum", "--no-dry-run"]])
def test_a_command_over_all_datasets_does_the_others_and_fails_at_the_end(lake, capsys, command):
    assert main(["versions", *command, "--lake", str(lake)]) == 6
    out, err = capsys.readouterr()
    assert "tiny" in out
    assert "store.json" in err
    assert main(["versions", *command, "--lake", str(lake), "--dataset", "tiny"]) == 0


def test_a_command_over_one_dataset_asks_which_where_one_of_several_does_not_answer(lake, capsys):
    assert main(["versions", "show", "v0001", "--lake", str(lake)]) == 2
    assert "one of aaa, tiny, zzz" in capsys.readouterr().err
    assert main(["versions", "show", "v0001", "--lake", str(lake), "--dataset", "aaa"]) == 6


@pytest.fixture
def damaged(published):
    """A lake whose versions lie in a bucket, what it remembers of where, and where."""
    ready = published(elsewhere=True, promoted=True)
    return ready.run.lake, ready.run.lake / "versions" / "tiny" / "store.json", ready.store


@pytest.mark.parametrize("text", ["{", "", "null", '{"store": null}', "\x00\xff", "[]", None])
def test_an_address_that_is_damaged_in_any_way_is_named_with_the_way_out(damaged, capsys, text):
    lake, path, _ = damaged
    path.unlink()
    path.mkdir() if text is None else path.write_bytes(text.encode("latin-1"))
    assert main(["versions", "list", "--lake", str(lake)]) == 6
    err = capsys.readouterr().err
    assert f"{path}: expected the address of the store" in err
    assert f"gradsieve maintain --lake {lake} --dataset tiny --store STORE" in err


def test_what_can_be_read_of_a_damaged_address_is_offered_as_it_is_typed_and_puts_it_right(damaged, s3, capsys):
    lake, path, bucket = damaged
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert main(["versions", "show", "current", "--lake", str(lake)]) == 6
    err = capsys.readouterr().err
    assert f"AWS_ENDPOINT_URL={s3} " in err
    assert f"gradsieve maintain --lake {lake} --dataset tiny --store {bucket}\n" in err
    history = histories(Objects(bucket)).found[0]
    # As the command that is offered does with each dataset.
    assert mirror_now(history, lake) == 0
    assert path.read_bytes() == whole


def test_what_does_not_need_a_damaged_address_goes_on(damaged, capsys):
    lake, path, bucket = damaged
    whole = path.read_bytes()
    path.write_bytes(b"{")
    # Of another dataset, where a store is named that the lake may know more of.
    other = lake / "versions" / "another"
    other.mkdir()
    (other / "store.json").write_bytes(b"{")
    for command in (
        ["versions", "list", "--store", bucket],
        ["sql", "SELECT count(*) FROM versions"],
        ["runs"],
        ["index"],
    ):
        assert main([*command, "--lake", str(lake)]) == 0, (command, capsys.readouterr().err)
    err = capsys.readouterr().err
    assert "tiny: its store cannot be asked, this is what the lake last saw of it" in err
    lines = publication_lines(lake, "tiny", next((lake / "runs").iterdir()).name)
    assert any(str(path) in line for line in lines)
    assert main(["versions", "rollback", "v0001", "--lake", str(lake), "--store", bucket]) == 0, capsys.readouterr().err
    assert path.read_bytes() == whole
