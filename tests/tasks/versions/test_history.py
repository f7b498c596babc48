"""A history against a model of it that is a list and a dictionary; many writers at once; tagging against clearing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import histories
import pytest
from histories import facts, wrong
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tasks.core.errors import BadConfig, GradsieveError
from tasks.versions.history import CURRENT, History
from tasks.versions.mirror import mirror_now
from tasks.versions.object_store import Objects
from tasks.versions.promotion import move_tags
from tasks.versions.vacuum import Clearance, clear

TAGS = st.sampled_from(["current", "candidate", "best-1"])


class Model(RuleBasedStateMachine):
    """Whatever is done, the history says what a list of versions and a list of moves say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.history = History(Objects(self.folder.name), "pets")
        self.contents: list[str] = []
        self.published: list[str] = []
        self.moves: list[tuple[str, str | None, str]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    def tagged(self, tag: str) -> str | None:
        return next((version for name, version, _ in reversed(self.moves) if name == tag), None)

    def noted(self, tag: str) -> None:
        self.moves.append((tag, self.history.version_of(tag), self.history.moves(tag)[-1].at))

    @rule(content=st.sampled_from("abc"))
    def commit(self, content: str) -> None:
        made = self.history.commit(facts(content))
        if self.contents[-1:] != [content]:
            self.contents.append(content)
            self.published.append(made.published)
        assert made.number == len(self.contents)

    @precondition(lambda self: self.contents)
    @rule(tag=TAGS, data=st.data())
    def move(self, tag: str, data: st.DataObject) -> None:
        numbers = st.integers(1, len(self.contents))
        version = data.draw(st.none() | numbers.map(lambda number: f"v{number:04d}"))
        assert self.history.move(tag, version, "me", "why") == (self.tagged(tag) != version)
        if self.tagged(tag) != version:
            self.noted(tag)

    @precondition(lambda self: self.contents)
    @rule(promote=st.booleans(), data=st.data())
    def promote(self, promote: bool, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.contents)))
        before = self.tagged(CURRENT)
        move_tags(self.history, f"v{number:04d}", {"promote": promote, "because": ["so"]}, "run")
        for tag in (CURRENT, "candidate"):
            if self.history.version_of(tag) != self.tagged(tag):
                self.noted(tag)
        now = self.tagged(CURRENT)
        assert (now or "") >= (before or ""), "current went back by itself"
        assert now == (max(before or "", f"v{number:04d}") if promote else before)

    @rule(number=st.integers(-2, 12), form=st.sampled_from(["v{:04d}", "{}", "v{}"]))
    def by_number(self, number: int, form: str) -> None:
        if 1 <= number <= len(self.contents):
            assert self.history.resolve(form.format(number)).content == self.contents[number - 1]
        else:
            with pytest.raises(BadConfig, match="version"):
                self.history.resolve(form.format(number))

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def by_where_a_tag_was(self, data: st.DataObject) -> None:
        tag, version, at = data.draw(st.sampled_from(self.moves))
        if version is None:
            with pytest.raises(BadConfig, match="version"):
                self.history.resolve(f"{tag}@{at}")
        else:
            assert self.history.resolve(f"{tag}@{at}").version == version

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def by_time(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.contents) - 1))
        assert self.history.resolve(self.published[place]).number == place + 1
        before = datetime.fromisoformat(self.published[place]) - timedelta(microseconds=1)
        if place:
            assert self.history.resolve(before.isoformat()).number == place
        else:
            with pytest.raises(BadConfig, match="version"):
                self.history.resolve(before.isoformat())

    @invariant()
    def it_is_what_was_done(self) -> None:
        assert [m.content for m in self.history.manifests()] == self.contents
        assert self.history.numbers() == list(range(1, len(self.contents) + 1))
        tags = {tag: self.tagged(tag) for tag, _, _ in self.moves}
        assert self.history.tags() == {tag: version for tag, version in tags.items() if version is not None}
        newest = self.history.newest()
        assert (newest and newest.content) == (self.contents[-1] if self.contents else None)


Model.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
test_a_history_is_a_list_of_versions_and_a_list_of_moves = Model.TestCase


@pytest.mark.parametrize(
    "asked", ["", "@", "current@", "@2026-01-01", "../x@2026-01-01", "x y", "v", "99999", "current@x"]
)
def test_what_names_no_version_is_refused_whatever_it_says(asked, tmp_path):
    history = History(Objects(tmp_path), "pets")
    history.commit(facts("a"))
    with pytest.raises(GradsieveError, match="version"):
        history.resolve(asked)


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from histories import facts
from tasks.versions.history import History
from tasks.versions.object_store import Objects
from tasks.versions.promotion import move_tags
history = History(Objects(sys.argv[2]), "pets")
print("ready", flush=True)
sys.stdin.readline()
for number in range(6):
    made = history.commit(facts(f"{sys.argv[3]}-{number}", parent="v0001"))
    move_tags(history, made.version, {"promote": True, "because": ["so"]}, "run")
"""


def test_of_many_processes_that_write_at_once_none_loses_a_version_and_current_never_goes_back(tmp_path):
    history = History(Objects(tmp_path), "pets")
    history.commit(facts("a", "ingested"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(histories.__file__).parent), str(tmp_path), str(i)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for i in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
        assert writer.returncode == 0
    assert history.numbers() == list(range(1, 26))
    made = history.manifests()
    assert sorted(m.content for m in made[1:]) == sorted(f"{i}-{number}" for i in range(4) for number in range(6))
    for i in range(4):
        assert [m.content for m in made if m.content.startswith(f"{i}-")] == [f"{i}-{number}" for number in range(6)]
    moved = [move.version or "" for move in history.moves(CURRENT)]
    assert moved == sorted(set(moved))
    assert moved[-1] == "v0025"
    assert wrong(history) == {}


# ---- tagging while somebody clears away ------------------------------------------------------------------------------


class Interrupted(Objects):
    """Somebody else's step falls between two of ours."""

    def __init__(self, where: Path, before, step) -> None:
        super().__init__(where)
        self.before, self.step = before, step

    def _between(self, what: str, name: str) -> None:
        if self.before(what, name):
            self.before = lambda *_: False
            self.step()

    def create(self, name: str, data: bytes) -> bool:
        self._between("create", name)
        return super().create(name, data)

    def read(self, name: str) -> bytes:
        self._between("read", name)
        return super().read(name)

    def delete(self, names: list[str]) -> None:
        self._between("delete", "".join(names[:1]))
        super().delete(names)


@pytest.fixture
def old(tmp_path):
    """A history of three versions of which the first is to go."""
    history = History(Objects(tmp_path / "versions"), "pets")
    for content in "abc":
        history.commit(facts(content))
    return history, Clearance([history.manifest(1)])


def test_a_tag_that_is_set_just_before_the_version_goes_saves_it(old, tmp_path):
    history, clearing = old
    data = history.objects.read("pets/v0001.json")
    store = Interrupted(
        tmp_path / "versions",
        lambda what, name: (what, name) == ("delete", "pets/v0001.json"),
        lambda: history.move("mine", "v0001", "me", "why"),
    )
    assert clear(History(store, "pets"), tmp_path, clearing).versions == []
    assert history.resolve("mine").version == "v0001"
    assert history.objects.read("pets/v0001.json") == data


def test_a_tag_that_comes_too_late_is_refused_and_points_where_it_did(old, tmp_path):
    history, clearing = old
    history.move("mine", "v0003", "me", "why")
    store = Interrupted(
        tmp_path / "versions",
        lambda what, name: what == "create" and "/log/" in name,
        lambda: clear(history, tmp_path, clearing),
    )
    with pytest.raises(BadConfig, match="cleared away just now"):
        History(store, "pets").move("mine", "v0001", "me", "why")
    assert history.tags() == {"mine": "v0003"}
    assert history.numbers() == [2, 3]


def test_who_asks_for_a_tag_that_moves_on_while_its_version_goes_is_given_the_next_one(old, tmp_path):
    history, clearing = old
    history.move("mine", "v0001", "me", "why")

    def moved_then_cleared() -> None:
        history.move("mine", "v0002", "me", "why")
        clear(history, tmp_path, clearing)

    store = Interrupted(
        tmp_path / "versions", lambda what, name: (what, name) == ("read", "pets/v0001.json"), moved_then_cleared
    )
    assert History(store, "pets").resolve("mine").version == "v0002"
    with pytest.raises(BadConfig, match="version"):
        history.resolve("v0001")


def test_of_two_that_clear_away_at_once_one_notes_what_goes(old, tmp_path):
    history, clearing = old
    store = Interrupted(
        tmp_path / "versions",
        lambda what, name: (what, name) == ("read", "pets/v0001.json"),
        lambda: clear(history, tmp_path, clearing),
    )
    assert clear(History(store, "pets"), tmp_path, clearing).versions == []
    assert [len(link.removed) for link in map(history.log.link, history.log.numbers())] == [0, 1]
    assert wrong(history) == {}


def test_who_lists_while_somebody_clears_away_sees_what_is_left(old, tmp_path, monkeypatch):
    history, clearing = old
    numbers = history.numbers

    def listed_then_cleared() -> list[int]:
        found = numbers()
        monkeypatch.setattr(history, "numbers", numbers)
        clear(History(history.objects, "pets"), tmp_path, clearing)
        return found

    monkeypatch.setattr(history, "numbers", listed_then_cleared)
    assert [m.version for m in history.manifests()] == ["v0002", "v0003"]


def test_a_lake_that_copies_while_somebody_clears_away_shows_what_is_left(old, tmp_path):
    history, clearing = old
    store = Interrupted(
        tmp_path / "versions",
        lambda what, name: (what, name) == ("read", "pets/v0001.json"),
        lambda: clear(history, tmp_path, clearing),
    )
    mirror_now(History(store, "pets"), tmp_path / "lake")
    assert History(Objects(tmp_path / "lake" / "versions"), "pets").numbers() == [2, 3]
