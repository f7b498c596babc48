"""What somebody alters who may write to a store: each of it is found, by the chain or by the key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from histories import alter, facts, forge, without_log, wrong

from tasks.catalogue.database import build
from tasks.core.errors import BadArtefact, BadConfig
from tasks.versions.chain import Chain
from tasks.versions.difference import difference
from tasks.versions.export import export
from tasks.versions.history import History
from tasks.versions.integrity import checks, version_checks
from tasks.versions.object_store import Objects
from tasks.versions.rollback import roll_back
from tasks.versions.seal import SIGNING_KEY, Seal
from tasks.versions.vacuum import Clearance, clear

KEY = "0123456789abcdef0123456789abcdef"
VERDICT = {"word": "helps", "promote": True, "because": ["so"]}


def written(where: Path | str) -> History:
    """Four versions of which current pointed at each, the first cleared away."""
    history = History(Objects(where), "pets")
    for number, content in enumerate("abcd", 1):
        parent = f"v{number - 1:04d}" if number > 1 else None
        made = history.commit(facts(content, parent=parent, verdict=VERDICT))
        history.move("current", made.version, "run", "because")
    clear(history, Path("none"), Clearance([history.manifest(1)]))
    history.move("golden", "v0002", "ann", "for the paper")
    return history


@pytest.fixture
def history(tmp_path) -> History:
    return written(tmp_path / "versions")


@pytest.fixture
def keyed(monkeypatch, tmp_path) -> History:
    """The same, written with a key in the environment."""
    monkeypatch.setenv(SIGNING_KEY, KEY)
    return written(tmp_path / "versions")


def states(history: History) -> dict[str, str]:
    return {check.what: check.state for check in Chain(history).of_all()}


# ---- the six edits ---------------------------------------------------------------------------------------------------

EDITS = {
    "verdict": {"verdict": VERDICT | {"word": "does harm"}},
    "promote": {"verdict": VERDICT | {"promote": False}},
    "parent": {"parent": None},
    "rows": {"rows": 2},
    "date": {"published": "2020-01-01T00:00:00.000000+00:00"},
}


@pytest.mark.parametrize("version", ["v0002", "v0004"])
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("by", [alter, forge])
def test_whatever_is_altered_in_a_version_is_found_also_under_a_digest_that_fits_it(history, version, edit, by):
    assert wrong(history) == {}
    by(history.objects.folder / "pets" / f"{version}.json", **EDITS[edit])
    assert set(wrong(history)) == {f"{version}.json"}


@pytest.mark.parametrize("by", [alter, forge])
def test_a_tag_that_was_moved_by_hand_in_any_link_but_the_last_forged_one_is_found(history, by):
    path = history.objects.folder / "pets/log/000005.json"
    by(path, version="v0002", tags={"current": "v0002"})
    assert "log/000005.json" in wrong(history)


def test_a_last_link_that_was_altered_is_found_and_nobody_is_led_by_it(history):
    last = history.objects.folder / f"pets/log/{history.log.numbers()[-1]:06d}.json"
    alter(last, version="v0003", tags={"current": "v0004", "golden": "v0003"})
    assert set(wrong(history)) == {f"log/{last.name}"}
    for asked in (
        history.tags,
        lambda: history.move("golden", "v0004", "me", "why"),
        lambda: history.resolve("golden"),
    ):
        with pytest.raises(BadArtefact, match=r"one that was altered.*delete it if it is the last one"):
            asked()
    last.unlink()
    assert history.tags() == {"current": "v0004"}


def test_an_altered_version_is_refused_by_whoever_reads_it(history):
    alter(history.objects.folder / "pets/v0003.json", rows=7)
    with pytest.raises(BadArtefact, match="expected the manifest of v0003 as it was sealed"):
        history.resolve("v0003")
    assert history.resolve("v0002").rows == 1


@pytest.mark.parametrize(("name", "named_by"), [("v0003.json", "v0004.json"), ("log/000003.json", "log/000004.json")])
def test_what_was_taken_away_is_missed(history, name, named_by):
    (history.objects.folder / "pets" / name).unlink()
    assert f"is gone, and {named_by} names it" in wrong(history)[name]


def test_a_bucket_has_the_same_chain(bucket):
    history = written(bucket)
    assert wrong(history) == {}
    document = json.loads(history.data(3))
    history.objects.delete(["pets/v0003.json"])
    assert "v0003.json" in wrong(history)
    history.put("v0003", json.dumps(document | {"rows": 2}).encode())
    assert "was altered" in wrong(history)["v0003.json"]


def test_a_tag_to_which_no_move_leads_is_found_whoever_mends_the_digest(history):
    last = history.objects.folder / f"pets/log/{history.log.numbers()[-1]:06d}.json"
    forge(last, tags={"current": "v0002", "golden": "v0002"})
    assert "has tags to which no move leads" in wrong(history)[f"log/{last.name}"]


# ---- the key ---------------------------------------------------------------------------------------------------------


def test_with_a_key_a_chain_that_was_written_anew_is_found_and_without_it_said_to_be_possible(
    keyed, monkeypatch, tmp_path
):
    assert wrong(keyed) == {}
    assert states(keyed)["signature"] == "ok"
    monkeypatch.delenv(SIGNING_KEY)
    assert states(keyed)["signature"] == "unknown"
    shutil.rmtree(keyed.objects.folder)
    forged = written(tmp_path / "versions")
    assert wrong(forged) == {}
    assert states(forged)["signature"] == "attested"
    monkeypatch.setenv(SIGNING_KEY, KEY)
    assert set(wrong(forged)) >= set(Chain(forged).documents)


def test_a_forged_last_move_is_found_by_the_key(keyed):
    last = keyed.objects.folder / f"pets/log/{keyed.log.numbers()[-1]:06d}.json"
    forge(last, version="v0003", tags={"current": "v0004", "golden": "v0003"})
    assert "is not signed" in wrong(keyed)[f"log/{last.name}"]


def test_nothing_is_built_upon_what_is_not_signed_until_somebody_signs_it(history, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, KEY)
    for written_to in (
        lambda: history.commit(facts("e")),
        lambda: history.move("golden", "v0004", "me", "why"),
        history.check_signed,
    ):
        with pytest.raises(BadArtefact, match=r"log/\d+.json and v0004.json, which are not.*gradsieve versions sign"):
            written_to()
    history.log.sign(history.newest_name(), "ann", "looked at")
    history.check_signed()
    assert history.commit(facts("e")).number == 5
    assert wrong(history) == {}
    monkeypatch.setenv(SIGNING_KEY, KEY[::-1])
    assert wrong(history)
    history.log.sign(history.newest_name(), "ann", "another key from now on")
    assert wrong(history) == {}


def test_the_key_stands_in_nothing_that_is_written_and_a_short_one_is_refused(keyed, monkeypatch):
    assert not [path for path in keyed.objects.folder.rglob("*.json") if KEY in path.read_text()]
    monkeypatch.setenv(SIGNING_KEY, "short")
    with pytest.raises(BadConfig, match="at least 16 characters"):
        keyed.commit(facts("e"))


# ---- clearing away ---------------------------------------------------------------------------------------------------


def test_of_a_version_that_was_cleared_away_digest_and_signature_stay_and_the_chain_holds(keyed):
    gone = next(link.removed[0] for link in map(keyed.log.link, keyed.log.numbers()) if link.removed)
    assert (gone.version, len(gone.sha256)) == ("v0001", 64)
    assert gone.seal is not None
    assert gone.seal.signature is not None
    assert keyed.manifest(2).seal is not None
    assert keyed.manifest(2).seal.before.sha256 == gone.sha256
    path = keyed.objects.folder / "pets/v0001.json"
    path.write_text(json.dumps({"made": "up"}))
    assert "v0001.json" in wrong(keyed)


# ---- lakes from before -----------------------------------------------------------------------------------------------


@pytest.fixture
def early(history) -> History:
    """The same as it was before there was a log."""
    return without_log(history)


def test_a_lake_from_before_is_read_as_it_is_and_adopted_by_one_link(early):
    moves, manifests = early.moves("current"), early.manifests()
    assert early.tags() == {"current": "v0004", "golden": "v0002"}
    assert states(early) == {"log": "unknown"}
    assert Chain(early).of_version("v0002.json").state == "unknown"
    made = early.commit(facts("e"))
    early.move("current", made.version, "run", "because")
    links = [early.log.link(number) for number in early.log.numbers()]
    assert [link.kind for link in links] == ["begun", "move"]
    assert set(links[0].adopted) == {f"{m.version}.json" for m in manifests} | {
        *(f"tags/current/{number:06d}.json" for number in range(1, 5)),
        "tags/golden/000001.json",
    }
    assert early.moves("current")[:-1] == moves
    assert early.tags() == {"current": "v0005", "golden": "v0002"}
    assert wrong(early) == {}
    assert states(early)["before"] == Chain(early).of_version("v0002.json").state == "attested"
    assert [m.number for m in early.manifests()] == [2, 3, 4, 5]


@pytest.mark.parametrize("name", ["v0002.json", "tags/current/000002.json"])
def test_what_was_adopted_is_guarded_from_then_on(early, name):
    early.begin()
    assert wrong(early) == {}
    alter(early.objects.folder / "pets" / name, by="somebody else")
    assert set(wrong(early)) == {name}


def test_a_move_that_is_put_where_moves_were_before_moves_nothing_anywhere_and_is_found(early, tmp_path):
    early.begin()
    home = early.objects.folder / "pets/tags/current"
    shutil.copy(home / "000002.json", home / "000009.json")
    early.move("golden", "v0003", "ann", "why")
    assert early.version_of("current") == "v0004"
    assert len(early.moves("current")) == 4
    assert "moves nothing" in wrong(early)["tags/current/000009.json"]
    build(tmp_path)
    with duckdb.connect(str(tmp_path / "catalogue.duckdb"), read_only=True) as db:
        tags = dict(db.execute("SELECT tag, version FROM tags ORDER BY tag").fetchall())
        asked = "SELECT tag, number, version, moved_by, reason FROM tag_moves ORDER BY tag, number"
        moves = db.execute(asked).fetchall()
    assert tags == early.tags()
    assert moves == [
        (tag, number, move.version, move.by, move.reason)
        for tag in ("current", "golden")
        for number, move in enumerate(early.moves(tag), 1)
    ]


def test_who_strips_a_version_of_its_seal_or_the_store_of_its_log_is_found(history):
    home = history.objects.folder / "pets"
    document = json.loads((home / "v0003.json").read_text())
    (home / "v0003.json").write_text(json.dumps(document | {"seal": None}))
    assert "has no seal" in wrong(history)["v0003.json"]
    (home / "v0003.json").write_text(json.dumps(document, indent=1))
    shutil.rmtree(home / "log")
    history.begin()
    assert Seal.of(history.data(4)) is not None
    assert any(name.startswith("log/") for name in wrong(history))


# ---- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["parts", "decisions"])
def test_nothing_is_exported_compared_or_gone_back_to_that_is_not_what_was_published(published, tmp_path, what):
    ready = published()
    history, manifest = ready.history, ready.history.manifest(2)
    name = manifest.parts[0].path if what == "parts" else manifest.rows_of.decided
    path = history.objects.folder / "tiny" / name
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    for asked in (
        lambda: export(history, manifest, "parquet", tmp_path / "to"),
        lambda: difference(history, history.manifest(1), manifest),
        lambda: roll_back(history, manifest, "ann", "why not"),
    ):
        with pytest.raises(BadArtefact, match=r"other content|missing or damaged"):
            asked()
    assert not (tmp_path / "to").exists()
    found = checks(history, manifest, ready.run.lake)
    assert [check.what for check in found if check.state == "wrong"] == [name]
    ready.publish()
    assert path.read_bytes() == data


def test_a_manifest_that_cannot_be_read_is_said_and_the_others_are_looked_at_all_the_same(history, tmp_path):
    path = history.objects.folder / "pets/v0003.json"
    path.write_bytes(path.read_bytes()[:100])
    chain = Chain(history)
    found = {number: list(version_checks(history, number, tmp_path, chain)) for number in (3, 4)}
    assert [(check.what, check.state) for check in found[3]] == [("manifest", "wrong")]
    assert {check.what: check.detail for check in found[4]}["parent"] == "v0003 is damaged"


def test_a_version_made_since_the_chain_was_read_is_no_damage(history):
    chain = Chain(history)
    newer = history.commit(facts("e", parent="v0004", verdict=VERDICT))
    assert chain.of_version(newer.file).state == "unknown"
    assert Chain(history).of_version(newer.file).state == "ok"
