"""A store that does not answer, or whose address is damaged, keeps no other dataset from being seen to."""

from __future__ import annotations

import pytest

from flows.__main__ import main
from tasks.core.errors import GradsieveError
from tasks.versions.histories import histories
from tasks.versions.object_store import Objects


@pytest.fixture
def lake(prepare):
    """With a dataset of its own, and two beside it, before and after in order, that cannot be asked."""
    ready = prepare()
    ready.promote(ready.publish())
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
