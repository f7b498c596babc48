"""What is done with versions: compared, gone back to, exported, verified, cleared away; by the commands people type."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from histories import alter, forge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import write_pictures

from flows.__main__ import main
from tasks.core.errors import BadArtefact, BadConfig
from tasks.dataset.samples import table_of
from tasks.ingestion.copies import LEFT_OUT
from tasks.versions.chain import Chain
from tasks.versions.contents import THIN, rows_of
from tasks.versions.difference import CHANGES, difference
from tasks.versions.export import export
from tasks.versions.history import History
from tasks.versions.integrity import checks
from tasks.versions.live import LiveDataset
from tasks.versions.rollback import roll_back
from tasks.versions.vacuum import clear, clearance


def members(history: History, version: str) -> dict[str, str]:
    with rows_of(history, history.resolve(version).rows_of) as rows:
        table = rows.members()
    return dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))


# ---- differences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [("v0001", "v0002"), ("v0002", "v0001"), ("v0002", "v0003"), ("v0003", "v0003")])
def test_a_difference_is_what_a_naive_comparison_says_each_row_with_its_reason(three, a, b):
    history = three.history
    before, after = members(history, a), members(history, b)
    found = difference(history, history.resolve(a), history.resolve(b))
    rows = found.rows.to_pylist()
    named = {row["sample_id"]: row for row in rows}
    with rows_of(history, history.resolve(b).rows_of) as content:
        decided = set(content.decisions["sample_id"].to_pylist())
    assert set(named) == {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    for name, row in named.items():
        assert (row["old_label"], row["new_label"]) == (before.get(name), after.get(name))
        assert row["change"] in CHANGES
        assert row["reason"]
        if name not in after:
            assert row["change"] == "removed"
        if name not in before:
            assert row["change"] == "restored"
            # Under another label, it is that decision's reason which counts.
            assert row["reason"].startswith(("no longer removed for: reason ", "reason ")[name in decided])
    order = [CHANGES.index(row["change"]) for row in rows]
    assert order == sorted(order)


def test_a_relabelled_row_goes_from_one_label_to_another_and_back(three):
    there = difference(three.history, *(three.history.resolve(v) for v in ("v0001", "v0003")))
    back = difference(three.history, *(three.history.resolve(v) for v in ("v0003", "v0001")))
    assert there.counts == {"removed": 2, "relabelled": 4}
    assert back.counts == {"restored": 6}
    labels = {r["sample_id"]: (r["old_label"], r["new_label"]) for r in there.rows.to_pylist()}
    assert {r["sample_id"]: (r["new_label"], r["old_label"]) for r in back.rows.to_pylist()} == labels


def test_rows_that_come_and_go_with_the_source_are_told_from_decisions(prepare, archive):
    prepare(flagged=2).publish()
    prepare(flagged=2, source=archive("other.npz", rows=30, seed=5)).publish()
    history = prepare(flagged=2).history
    counts = difference(history, history.resolve("v0001"), history.resolve("v0003")).counts
    assert set(counts) == {"added", "gone"}
    assert counts["added"] == 30


# ---- going back ------------------------------------------------------------------------------------------------------


def test_going_back_is_a_new_version_and_deletes_nothing(three):
    history = three.history
    before = [found.name for found in history.objects.list()]
    made = roll_back(history, history.resolve("v0001"), "ann", "it was better")
    assert (made.version, made.kind, made.rollback_of, made.parent) == ("v0004", "rollback", "v0001", "v0003")
    assert history.version_of("current") == "v0004"
    assert members(history, "current") == members(history, "v0001")
    assert set(before) <= {found.name for found in history.objects.list()}
    assert (history.moves("current")[-1].by, history.moves("current")[-1].reason) == ("ann", "it was better")


def test_a_rollback_that_was_cut_before_the_tag_is_finished_and_not_made_twice(three, monkeypatch):
    history = three.history
    with monkeypatch.context() as cut:
        cut.setattr(History, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            roll_back(history, history.resolve("v0001"), "ann", "why")
    assert history.version_of("current") == "v0003"
    assert roll_back(history, history.resolve("v0001"), "ann", "why").version == "v0004"
    assert history.version_of("current") == "v0004"
    assert history.numbers() == [1, 2, 3, 4]


def test_a_rollback_that_is_asked_for_again_makes_no_second_version_whatever_came_between(three, monkeypatch):
    history = three.history
    with monkeypatch.context() as cut:
        cut.setattr(History, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            roll_back(history, history.resolve("v0001"), "ann", "why")
    roll_back(history, history.resolve("v0002"), "bob", "why")
    history.move("current", "v0003", "bob", "no")
    for _ in range(2):
        assert roll_back(history, history.resolve("v0001"), "ann", "why").version == "v0004"
    assert (history.numbers(), history.version_of("current")) == ([1, 2, 3, 4, 5], "v0004")
    assert roll_back(history, history.resolve("v0002"), "ann", "why").version == "v0006"


def test_nobody_goes_back_to_what_is_not_whole(three):
    history = three.history
    name = next(found.name for found in history.objects.list() if "/parts/" in found.name)
    history.objects.delete([name])
    with pytest.raises(BadArtefact, match="missing"):
        roll_back(history, history.resolve("v0001"), "ann", "why")
    assert history.numbers() == [1, 2, 3]


# ---- other forms -----------------------------------------------------------------------------------------------------


def by_split(history: History, version: str) -> dict[str, dict[str, str]]:
    with rows_of(history, history.resolve(version).rows_of) as rows:
        table = rows.members().to_pylist()
    found: dict[str, dict[str, str]] = {}
    for row in table:
        found.setdefault(row["split"], {})[row["sample_id"]] = row["label"]
    return found


def exported(three, tmp_path: Path, form: str) -> Path:
    manifest = three.history.resolve("v0003")
    assert export(three.history, manifest, form, tmp_path / "out") == manifest.rows  # type: ignore[arg-type]
    assert json.loads((tmp_path / "out" / "version.json").read_text())["version"] == "v0003"
    return tmp_path / "out"


def test_as_parquet(three, tmp_path):
    out = exported(three, tmp_path, "parquet")
    for split, expected in by_split(three.history, "v0003").items():
        table = pq.read_table(out / split)
        assert dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True)) == expected


def test_as_a_folder_of_images_which_our_own_reader_takes(three, tmp_path):
    out = exported(three, tmp_path, "image_folder")
    for split, expected in by_split(three.history, "v0003").items():
        found = {path.stem: path.parent.name for path in (out / split).glob("*/*.png")}
        assert found == expected
    (out / "version.json").unlink()
    code = "from tasks.ingestion.readers import ReaderChoice as C; import sys; "
    code += (
        "print(sum(len(c.label) for c in C(kind='image_folder', options={'path': sys.argv[1]}).component.open()[1]))"
    )
    read = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False)
    assert read.stdout.strip() == str(three.history.resolve("v0003").rows), read.stderr


def test_pictures_keep_the_names_of_their_files_and_none_writes_over_another(prepare, archive, tmp_path):
    names = [f"{label}/{day}/IMG_{i:04d}.JPG" for label in ("ape", "bee") for day in ("mo", "tu") for i in range(8)]
    root = write_pictures(tmp_path / "photos", *names, *(f"ape/{i}.png" for i in range(4)), "bee/mo/img_0001.jpg")
    ready = prepare(flagged=2, relabelled=1, source=archive("photos", kind="image_folder"))
    ready.publish()
    out = tmp_path / "out"
    rows = export(ready.history, ready.history.resolve("v0002"), "image_folder", out)
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "version.json"]
    assert len(files) == rows == len(names) + 5 - 1
    contents = {path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert {path.read_bytes() for path in files} < contents
    stems = {path.stem.partition("-")[0].lower() for path in files}
    assert stems <= {f"img_{i:04d}" for i in range(8)} | {str(i) for i in range(4)}
    assert {path.suffix for path in files} <= {".JPG", ".png", ".jpg"}


def test_for_hugging_face(three, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_from_disk(str(exported(three, tmp_path, "huggingface")))
    for split, expected in by_split(three.history, "v0003").items():
        assert dict(zip(loaded[split]["sample_id"], loaded[split]["label"], strict=True)) == expected


def test_for_torch_without_pickles(three, tmp_path):
    import torch

    out = exported(three, tmp_path, "torch")
    for split, expected in by_split(three.history, "v0003").items():
        saved = torch.load(out / f"{split}.pt", weights_only=True)
        labels = [saved["classes"][y] for y in saved["y"]]
        assert dict(zip(saved["sample_ids"], labels, strict=True)) == expected
        assert saved["x"].shape[1:] == (1, 8, 8)


def test_nothing_is_written_over_and_what_has_no_images_is_no_image_folder(three, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(BadConfig, match="not there yet"):
        export(three.history, three.history.resolve("v0003"), "parquet", tmp_path / "out")
    flat = three.history.resolve("v0003").model_copy(update={"payload": PAYLOAD})
    with pytest.raises(BadConfig, match="images"):
        export(three.history, flat, "image_folder", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir() if path.name == "other"] == []


PAYLOAD = {"kind": "array", "columns": ["x"], "shape": [64], "dtype": "float32"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8, unique=True))
def test_a_class_of_any_name_has_a_folder_of_its_own_that_is_no_path(classes):
    from tasks.versions.export import _folder_names

    names = _folder_names(classes)
    assert len({name.lower() for name in names.values()}) == len(classes)
    for name in names.values():
        assert name
        assert Path(name).name == name
        assert name not in (".", "..")


def test_a_live_dataset_follows_its_tag(three):
    where = three.history.objects.where
    live, fixed = LiveDataset(where, "tiny"), LiveDataset(where, "tiny", "v0001")
    assert (live.manifest or fixed.manifest).version == "v0003"  # type: ignore[union-attr]
    assert not live.refresh()
    roll_back(three.history, three.history.resolve("v0001"), "ann", "why")
    assert live.refresh()
    assert not fixed.refresh()
    expected = by_split(three.history, "v0001")["train"]
    assert {name: live.classes[live[i][1]] for i, name in enumerate(live.tensors.ids)} == expected
    assert np.array_equal(live[0][0].numpy(), fixed[fixed.tensors.ids.index(live.tensors.ids[0])][0].numpy())


# ---- verifying -------------------------------------------------------------------------------------------------------


def wrong(three, version: str = "v0003") -> set[str]:
    found = list(checks(three.history, three.history.resolve(version), three.run.lake))
    return {check.what.partition("/")[0] for check in found if check.state == "wrong"}


def test_what_was_not_touched_is_right_from_the_source_to_the_rows(three):
    found = list(checks(three.history, three.history.resolve("v0003"), three.run.lake))
    assert {check.what for check in found if check.state != "ok"} == {"provenance"}
    assert {check.what.partition("/")[0] for check in found} == {
        "seal", "parent", "verdict", "provenance",
        "source", "run", "parts", "contents", "identities", "decisions", "members", "plain",
    }  # fmt: skip


def flip(path: Path) -> None:
    """Another byte in the middle, in a file of its own: links to it keep theirs."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("lake/versions/tiny/parts/*.parquet", "parts"),
        ("lake/versions/tiny/contents/*/decisions.parquet", "contents"),
        ("lake/versions/tiny/contents/*/data/train-*.parquet", "contents"),
        ("source.npz", "source"),
        ("lake/runs/*/flags.parquet", "run"),
        ("lake/runs/*/checkpoints/*.pt", "run"),
    ],
)
def test_a_flipped_byte_is_found_and_named(published, pattern, said):
    ready = published(flagged=6, relabelled=4)
    paths = list(ready.run.lake.parent.glob(pattern))
    assert paths
    for path in paths:
        flip(path)
    assert wrong(ready, "v0002") == {said}


def leave_out(ready, count: int) -> list[str]:
    """What a run leaves of copies that it left out, the last few training samples; their ids."""
    thin = table_of(ready.run, ready.samples, THIN)
    thin = thin.filter(pc.equal(thin["split"], "train")).to_pylist()[-count:]
    about = {"other_id": "another", "kind": "near", "distance": 0.1, "reason": "near copy of a test sample"}
    with ready.run.draft("copies") as draft:
        table = pa.Table.from_pylist([row | about for row in thin], LEFT_OUT)
        pq.write_table(table, draft.path("left_out.parquet", count))
        ready.given["copies"] = draft.commit()
    shutil.copy(ready.run.path(ready.given["copies"]), ready.run.lake / "runs" / ready.run.run_id)
    return [row["sample_id"] for row in thin]


def test_copies_that_a_run_left_out_are_removed_by_decision_whatever_else_was_decided(prepare):
    ready = prepare(flagged=6)
    copies = leave_out(ready, 3)
    made = ready.publish()
    assert made.facts["removed"] == 9
    manifest = ready.history.manifest(2)
    with rows_of(ready.history, manifest.rows_of) as rows:
        decided = {row["sample_id"]: row for row in rows.decisions.to_pylist() if row["rule"] == "copies.remove"}
        assert not set(copies) & set(rows.members()["sample_id"].to_pylist())
    assert decided.keys() == set(copies)
    for row in decided.values():
        assert (row["decision"], row["reason"], row["rank"]) == ("remove", "near copy of a test sample", None)
    found = {check.what: check.state for check in checks(ready.history, manifest, ready.run.lake)}
    # The run was recorded before it left them out, so that the table is none of its own.
    assert found.pop("run") == "wrong"
    assert (found["copies"], found["decisions"], set(found.values())) == ("ok", "ok", {"ok", "attested"})
    left_out = ready.run.lake / "runs" / ready.run.run_id / "left_out.parquet"
    table = pq.read_table(left_out)
    left_out.unlink()
    pq.write_table(table.slice(1), left_out)
    assert wrong(ready, "v0002") == {"run", "copies"}


def test_rows_that_do_not_follow_from_the_decisions_are_found(published):
    ready = published(flagged=6)
    forge(ready.history.objects.folder / "tiny" / "v0002.json", members="0" * 64)
    assert wrong(ready, "v0002") == {"members", "plain"}


def test_ids_that_are_not_those_of_their_inputs_are_found(published):
    ready = published(flagged=6)
    manifest = ready.history.manifest(2)
    part = manifest.parts[0]
    path = ready.history.objects.folder / "tiny" / part.path
    table = pq.read_table(path)
    names = table["sample_id"].to_pylist()
    swapped = [names[1], names[0], *names[2:]]
    path.unlink()
    pq.write_table(table.set_column(0, table.schema.field(0), pa.array(swapped)), path)
    from tasks.pipeline.durable_files import sha256_of

    lying = part.model_copy(update={"sha256": sha256_of(path), "size": path.stat().st_size})
    path.rename(path.with_name(f"{lying.sha256}.parquet"))
    parts = [each.model_dump() for each in (lying, *manifest.parts[1:])]
    forge(ready.history.objects.folder / "tiny" / "v0002.json", parts=parts, plain=None)
    decisions = ready.history.objects.folder / "tiny" / ready.history.manifest(2).rows_of.decided
    decisions.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ready.history.objects.folder / "tiny" / manifest.rows_of.decided, decisions)
    assert "identities" in wrong(ready, "v0002")


# ---- clearing away ---------------------------------------------------------------------------------------------------


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_asked_it_changes_nothing_and_names_all_that_would_go(many):
    history, lake = many[-1].history, many[-1].run.lake
    before = ([found.name for found in history.objects.list()], tree(lake))
    found = clearance(history, lake, keep=2, grace_hours=0)
    assert [m.version for m in found.versions] == ["v0002", "v0004", "v0005"]
    assert {path.suffix for path in found.files} == {".pt", ".arrow"}
    assert found.size > 0
    assert ([f.name for f in history.objects.list()], tree(lake)) == before


def test_what_is_tagged_new_or_needed_stays_whole_and_the_rest_is_gone(many):
    history, lake = many[-1].history, many[-1].run.lake
    clear(history, lake, clearance(history, lake, keep=2, grace_hours=0))
    assert [m.version for m in history.manifests()] == ["v0001", "v0003", "v0006", "v0007"]
    for manifest in history.manifests():
        assert history.missing(manifest.rows_of) == []
    runs = {m.run_id for m in history.manifests()}
    for ready in many:
        left = {path.suffix for path in (lake / "runs" / ready.given["record"].made_by).rglob("*")}
        assert (".pt" in left and ".arrow" in left) == (ready.given["record"].made_by in runs)
        assert ".json" in left
        assert ".parquet" in left
    assert clearance(history, lake, keep=2, grace_hours=0).size == 0
    assert not any(check.state == "wrong" for check in Chain(history).of_all())


def test_what_was_just_written_has_a_day_of_grace(many):
    history, lake = many[-1].history, many[-1].run.lake
    assert clearance(history, lake, keep=2, grace_hours=24).objects == []


def test_what_was_left_half_written_goes_after_its_time_whoever_wrote_it_and_what_is_being_written_stays(published):
    ready = published()
    history, lake = ready.history, ready.run.lake
    names = ["cache/.partial-elsewhere-1-0123abcd", "versions/tiny/.partial-elsewhere-1-0123abcd#1"]
    mine = lake / f"cache/.partial-{socket.gethostname()}-{os.getpid()}-0123abcd"
    paths = [lake / name for name in names]
    for path in [*paths, mine]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    assert clearance(history, lake, keep=9, grace_hours=0).unfinished == []
    for path in [*paths, mine]:
        os.utime(path, (0, 0))
    removal = clearance(history, lake, keep=9, grace_hours=24)
    assert (removal.unfinished, removal.size) == (paths, 2000)
    again = clearance(history, lake, keep=9, grace_hours=24, told=removal.unfinished)
    assert (again.unfinished, again.size) == ([], 0)
    assert clear(history, lake, removal).unfinished == paths
    assert [path.exists() for path in [*paths, mine]] == [False, False, True]


def test_a_version_that_is_tagged_meanwhile_is_spared(many):
    history, lake = many[-1].history, many[-1].run.lake
    found = clearance(history, lake, keep=2, grace_hours=0)
    history.move("saved", "v0004", "ann", "at the last moment")
    gone = clear(history, lake, found)
    assert "v0004" not in {m.version for m in gone.versions}
    assert history.missing(history.resolve("saved").rows_of) == []


def test_a_kill_in_the_middle_leaves_versions_that_are_whole_and_the_next_vacuum_finishes(many, monkeypatch):
    from tasks.versions.object_store import Objects

    history, lake = many[-1].history, many[-1].run.lake
    delete = Objects.delete
    for after in range(2):
        calls = iter(range(after, -1, -1))

        def cut(self, names, calls=calls):
            if not next(calls):
                raise KeyboardInterrupt
            delete(self, names)

        with monkeypatch.context() as patched:
            patched.setattr(Objects, "delete", cut)
            with pytest.raises(KeyboardInterrupt):
                clear(history, lake, clearance(history, lake, keep=2, grace_hours=0))
        for manifest in history.manifests():
            assert history.missing(manifest.rows_of) == []
    clear(history, lake, clearance(history, lake, keep=2, grace_hours=0))
    needed = {f"tiny/{name}" for m in history.manifests() for name in m.rows_of.objects}
    there = {f.name for f in history.objects.list() if "/parts/" in f.name or "/contents/" in f.name}
    assert there == needed


# ---- hostile manifests -----------------------------------------------------------------------------------------------


@pytest.fixture
def old(preparation):
    """Three cleaned versions, the second of them to be dropped, and a folder outside the lake with what is large."""

    def make(run):
        ready = [run(first=first, promote=first == 20) for first in (0, 10, 20)]
        for each in ready:
            each.promote(each.publish())
        victim = ready[-1].run.lake.parent / "victim"
        for name in ("checkpoints/fold-0.pt", "gradients/0.arrow", "canaries/0.parquet"):
            (victim / name).parent.mkdir(parents=True)
            (victim / name).write_bytes(b"mine")
        return ready

    ready = preparation.begin("old", False, make)
    return ready[1:], ready[-1].run.lake.parent / "victim"


@pytest.mark.parametrize("where", ["run id", "link", "folder", "linked files", "another's"])
def test_vacuum_deletes_nothing_outside_the_lake_and_says_so(old, where):
    (dropped, last), victim = old
    history, lake = last.history, last.run.lake
    home = lake / "runs" / dropped.given["record"].made_by
    manifest = history.objects.folder / "tiny" / "v0003.json"
    if where == "run id":
        forge(manifest, run_id="../../victim")
    elif where == "link":
        (lake / "runs" / "linked").symlink_to(victim)
        forge(manifest, run_id="linked")
    elif where == "linked files":
        shutil.rmtree(home / "checkpoints")
        (home / "checkpoints").symlink_to(victim / "checkpoints")
    else:
        others = f"runs/{last.given['record'].made_by}"
        stages = json.loads((home / "run.json").read_text())["stages"]
        named = "cache/../../victim" if where == "folder" else others
        alter(home / "run.json", stages=[stage | {"folder": named} for stage in stages])
        (home / "manifest.json").unlink()
    before = (tree(lake), tree(victim))
    with pytest.raises(
        BadArtefact, match=r"expected the name of something below it, got .*Nothing was read or deleted"
    ):
        clearance(history, lake, keep=1, grace_hours=0)
    assert (tree(lake), tree(victim)) == before


@pytest.mark.parametrize("version", ["../../victim/v0001", "v0003", "x/../v0003"])
def test_a_manifest_that_calls_itself_another_version_is_refused(old, version):
    history = old[0][-1].history
    forge(history.objects.folder / "tiny" / "v0002.json", version=version)
    with pytest.raises(BadArtefact, match="expected the manifest of v0002, got that of"):
        clearance(history, old[0][-1].run.lake, keep=1, grace_hours=0)


@pytest.mark.parametrize("linked", [False, True])
def test_no_view_reads_outside_the_lake(published, tmp_path, linked):
    from tasks.catalogue.database import build, connect

    ready = published(promoted=True)
    home = ready.history.objects.folder / "tiny"
    manifest = ready.history.manifest(2)
    assert manifest.plain is not None
    file = manifest.plain[0]
    data = home / manifest.rows_of.folder / "data"
    secret = tmp_path / "secret.parquet"
    pq.write_table(pa.table({"sample_id": ["s"], "secret": ["word"]}), secret)
    if linked:
        (data / file.name).unlink()
        (data / file.name).symlink_to(secret)
    else:
        name = os.path.relpath(secret, data)
        forge(home / "v0002.json", plain=[file.model_copy(update={"name": name}).model_dump()])
    for asked in (build, connect):
        with pytest.raises(BadArtefact, match=r"expected the name of something below it, got .*secret"):
            asked(ready.run.lake)


def test_nothing_of_a_hostile_manifest_is_verified_exported_or_gone_back_to(published, tmp_path):
    ready = published(promoted=True)
    history, path = ready.history, ready.history.objects.folder / "tiny" / "v0002.json"
    parts = [part.model_dump() for part in history.manifest(2).parts]
    forge(path, parts=[parts[0] | {"sha256": "../../../../secret"}, *parts[1:]], run_id="../../victim")
    manifest = history.manifest(2)
    found = {check.what: check for check in checks(history, manifest, ready.run.lake)}
    assert found["run"].state == found[manifest.parts[0].path].state == "wrong"
    for refused in (
        lambda: export(history, manifest, "parquet", tmp_path / "to"),
        lambda: roll_back(history, manifest, "ann", "why not"),
    ):
        with pytest.raises(BadArtefact):
            refused()
    # Where parts are to be written is stored as well.
    forge(path, parts=[parts[0] | {"split": "../../.."}, *parts[1:]], plain=None)
    manifest = history.manifest(2)
    with pytest.raises(BadArtefact, match="expected the name of something below it"):
        export(history, manifest, "parquet", tmp_path / "to")


# ---- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def versions(lake, capsys):
    """``gradsieve versions …``: (code, what it prints, its errors)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["versions", *arguments, *(["--lake", str(lake)] if arguments else [])])
        return code, *capsys.readouterr()

    return command


def test_they_are_listed_newest_first_with_their_tags(versions):
    code, out, _ = versions("list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["v0003", "v0002", "v0001"]
    assert "current" in lines[1]
    assert "helps" in lines[1]


def test_one_shows_all_it_knows_of_itself(versions):
    code, out, _ = versions("show", "current")
    assert code == 0
    for words in ("v0003", "v0001", "because of 6 from 3", "l2", "relabelled  4", "decisions.parquet", "by run"):
        assert words in out


def test_a_difference_is_printed_and_written_in_every_form(versions, tmp_path):
    code, out, _ = versions("diff", "v0001", "v0003", "--rows", "1")
    assert code == 0
    assert "2 removed, 4 relabelled" in out
    assert "reason " in out
    assert "3 more relabelled" in out
    for name in ("d.parquet", "d.csv", "d.json", "d.html"):
        assert versions("diff", "v0001", "v0003", "--output", str(tmp_path / name))[0] == 0
    assert pq.read_table(tmp_path / "d.parquet").num_rows == 6
    assert len((tmp_path / "d.csv").read_text().splitlines()) == 7
    assert len([json.loads(line) for line in (tmp_path / "d.json").read_text().splitlines()]) == 6
    page = (tmp_path / "d.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")


def test_a_tag_is_set_shown_and_taken_away(versions):
    assert versions("tag", "golden", "--version", "v0002", "--reason", "for the paper")[0] == 0
    assert "golden" in versions("list")[1]
    assert "for the paper" in versions("tag", "golden")[1]
    assert versions("show", "golden")[1].count("v0002") >= 1
    assert versions("tag", "golden", "--delete")[0] == 0
    assert versions("show", "golden")[0] == 2


def test_one_goes_back_and_the_catalogue_knows(versions, lake):
    code, out, _ = versions("rollback", "v0001", "--reason", "it was better")
    assert (code, "v0004" in out) == (0, True)
    with duckdb.connect(str(lake / "catalogue.duckdb"), read_only=True) as db:
        found = db.execute("SELECT version, kind FROM versions WHERE list_contains(tags, 'current')").fetchall()
    assert found == [("v0004", "rollback")]


def test_one_is_exported(versions, tmp_path):
    code, out, _ = versions("export", "--to", str(tmp_path / "out"), "--form", "torch")
    assert (code, "v0003" in out) == (0, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"train.pt", "test.pt", "version.json"}


def test_all_are_verified_and_a_wrong_one_ends_with_its_code(versions, lake):
    code, out, _ = versions("verify")
    assert code == 0
    assert out.count("identities") == 3
    assert "nothing is signed" in out
    manifest = lake / "versions/tiny/v0002.json"
    text = manifest.read_text()
    alter(manifest, verdict=json.loads(text)["verdict"] | {"promote": False})
    code, out, errors = versions("verify")
    assert (code, "wrong    seal: v0002.json was altered" in out, "wrong    verdict: helps, not to" in out) == (
        6,
        True,
        True,
    )
    manifest.write_text(text)
    run = next((lake / "runs").glob("tiny-*"))
    shutil.copytree(run, run.with_name("tiny-and-another"))
    code, out, _ = versions("verify")
    assert (code, "wrong    run tiny-and-another: altered: manifest.json" in out) == (6, True)
    shutil.rmtree(run.with_name("tiny-and-another"))
    flip(next((lake / "versions").glob("tiny/parts/*")))
    code, out, errors = versions("verify")
    assert code == 6
    assert "wrong" in out
    assert "differ" in errors


def test_with_a_key_what_is_there_is_signed_by_hand_and_then_by_itself(versions, monkeypatch):
    assert versions("sign")[0] == 2
    monkeypatch.setenv("GRADSIEVE_SIGNING_KEY", "a key of sixteen letters and more")
    code, _, errors = versions("tag", "golden", "--version", "v0002")
    assert (code, "gradsieve versions sign" in errors) == (6, True)
    assert versions("verify")[0] == 6
    assert "signed are all 3 versions" in versions("sign")[1]
    assert versions("tag", "golden", "--version", "v0002")[0] == 0
    code, out, _ = versions("verify")
    assert (code, "ok       signature: the last link is signed" in out) == (0, True)


def test_vacuum_tells_and_clears_only_when_told(versions, lake):
    before = tree(lake)
    code, out, _ = versions("vacuum", "--keep", "1", "--grace-hours", "0")
    assert (code, "would go" in out, "v0002" in out) == (0, True, True)
    assert tree(lake) == before
    assert "are gone" in versions("vacuum", "--keep", "1", "--grace-hours", "0", "--no-dry-run")[1]
    assert "v0002" not in versions("list")[1]
    assert versions("verify")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "v0009"], 2, "one of v0001"),
        (["diff", "v0001", "none"], 2, "none"),
        (["diff", "v0001", "v0002", "--output", "x.txt"], 2, ".parquet"),
        (["diff", "v0001", "v0002", "--output", "/none/x.csv"], 2, "can be written"),
        (["list", "--dataset", "other"], 3, "other"),
        (["tag", "v0007", "--version", "v0001"], 2, "letter"),
        (["export", "v0001", "--to", "."], 2, "not there yet"),
        (["export", "v0001", "--form", "none", "--to", "x"], 2, "form"),
        (["vacuum", "--keep", "0"], 2, "keep"),
        (["list", "--store", "nothing://x"], 2, "store"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_with_its_code(versions, arguments, code, words):
    got, _, errors = versions(*arguments)
    assert (got, words in errors, "Traceback" in errors) == (code, True, False), errors


def test_of_several_datasets_one_is_named(prepare, capsys):
    prepare().publish()
    ready = prepare(dataset="other")
    ready.publish()
    lake = ["--lake", str(ready.run.lake)]
    assert main(["versions", "show", "v0001", *lake]) == 2
    assert "other, tiny" in capsys.readouterr().err
    assert main(["versions", "show", "v0001", "--dataset", "tiny", *lake]) == 0
    assert main(["versions", "list", *lake]) == 0
    assert capsys.readouterr().out.count("ingested") >= 2


def test_a_folder_without_versions_says_what_to_do(tmp_path, capsys, monkeypatch):
    assert main(["versions", "list", "--lake", str(tmp_path)]) == 3
    assert "gradsieve clean" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["versions"]) == 3


def test_the_commands_ask_a_bucket_as_well(published, capsys):
    ready = published(elsewhere=True, promoted=True)
    where = ["--store", ready.store, "--lake", str(ready.run.lake)]
    for arguments in (["list"], ["show", "current"], ["diff", "v0001", "current"], ["verify"], ["rollback", "v0001"]):
        assert main(["versions", *arguments, *where]) == 0, capsys.readouterr().err
    capsys.readouterr()
    with duckdb.connect(str(ready.run.lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute("SELECT version FROM tags WHERE tag = 'current'").fetchall() == [("v0003",)]
