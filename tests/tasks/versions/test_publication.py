"""A version is made by one write: whoever publishes beside it, whenever it is killed, there is all of it or nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadArtefact, BadConfig
from tasks.pipeline.durable_files import sha256_of
from tasks.versions import publication
from tasks.versions.contents import members_digest, rows_of
from tasks.versions.history import History
from tasks.versions.mirror import mirror_now
from tasks.versions.object_store import Objects

KILLS = 20


def members(history: History, version: int) -> dict[str, str]:
    """sample_id → label of a version's rows."""
    with rows_of(history, history.manifest(version).rows_of) as rows:
        table = rows.members()
    return dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))


# What files say, described with their digests, and the digest of the members that were read from them.
RIGHT: set[tuple[str, str]] = set()


def whole(history: History) -> None:
    """Every version has all its files as they were described, every tag points at one, and no number is left out."""
    manifests = history.manifests()
    assert [m.number for m in manifests] == list(range(1, len(manifests) + 1))
    for manifest in manifests:
        assert history.missing(manifest.rows_of) == []
        with rows_of(history, manifest.rows_of) as rows:
            for name, file in manifest.rows_of.objects.items():
                assert sha256_of(rows.file(name)) == file.sha256
            # Files of the same bytes have the same members: these were just looked at, and their rows are read once.
            content = (manifest.rows_of.model_dump_json(), manifest.members)
            if content not in RIGHT:
                assert members_digest(rows.members()) == manifest.members
                RIGHT.add(content)
    assert set(history.tags().values()) <= {m.version for m in manifests}


# ---- what a version is ---------------------------------------------------------------------------------------------


def test_first_comes_the_dataset_as_it_is_then_what_is_left_of_it(prepare, store):
    ready = prepare(flagged=6, store=store)
    made = ready.publish()
    history = ready.history
    came, cleaned = history.manifests()
    assert (came.kind, came.parent, came.removed, came.verdict) == ("ingested", None, 0, None)
    assert (cleaned.version, cleaned.parent, cleaned.removed) == (made.facts["version"], "v0001", 6)
    assert len(members(history, 1)) - len(members(history, 2)) == 6
    assert members(history, 2).items() <= members(history, 1).items()
    whole(history)


def test_a_remedy_may_be_another_label(prepare, store):
    ready = prepare(flagged=6, relabelled=4, store=store)
    ready.publish()
    before, after = (members(ready.history, version) for version in (1, 2))
    made = ready.history.manifest(2)
    assert (made.remedy, made.removed, made.relabelled) == ("relabel", 2, 4)
    assert len(before) - len(after) == 2
    assert sum(before[name] != label for name, label in after.items()) == 4
    whole(ready.history)


def test_the_same_again_is_the_same_version_and_writes_nothing(prepare, store):
    ready = prepare(store=store)
    first = ready.publish()
    before = ready.history.objects.list()
    assert ready.publish().facts == first.facts
    assert ready.history.objects.list() == before


def test_what_was_damaged_in_the_store_is_found_refused_and_put_right_by_the_next_run(prepare, store):
    ready = prepare(flagged=6, store=store)
    ready.publish()
    history, manifest = ready.history, ready.history.manifest(2)
    good = {name: history.objects.read(f"tiny/{name}") for name in manifest.rows_of.objects}
    for name, data in good.items():
        history.objects.delete([f"tiny/{name}"])
        history.objects.create(f"tiny/{name}", data[:99] + bytes([data[99] ^ 1]) + data[100:])
    assert set(history.missing(manifest.rows_of)) == set(good)
    with pytest.raises(BadArtefact, match=f"{len(good)} missing or damaged"):
        history.check_whole(manifest)
    assert prepare(flagged=6, store=store).publish().facts["version"] == "v0002"
    assert {name: history.objects.read(f"tiny/{name}") for name in good} == good


def test_a_new_source_is_a_new_version_as_it_came(prepare, archive, store):
    prepare(store=store).publish()
    prepare(store=store, source=archive("more.npz", rows=250)).publish()
    history = prepare(store=store).history
    assert [(m.kind, m.parent) for m in history.manifests()] == [
        ("ingested", None),
        ("cleaned", "v0001"),
        ("ingested", "v0001"),
        ("cleaned", "v0003"),
    ]
    whole(history)


def test_versions_share_the_parts_they_have_in_common(prepare, monkeypatch):
    monkeypatch.setattr(publication, "PLAIN_BYTES", 0)
    for first in range(3):
        ready = prepare(first=10 * first)
        ready.publish()
    home = ready.history.objects.folder / ready.dataset
    assert len(ready.history.manifests()) == 4
    named = {part.sha256 for m in ready.history.manifests() for part in m.parts}
    assert len(list((home / "parts").iterdir())) == len(named)
    for path in (home / "parts").iterdir():
        assert path.stat().st_nlink >= 2, "a part is the ingested file itself"


def test_leaving_out_two_percent_of_a_large_dataset_adds_next_to_nothing(prepare, archive, monkeypatch):
    monkeypatch.setattr(publication, "PLAIN_BYTES", 1 << 20)
    source = archive("large.npz", rows=6000, side=64)
    ready = prepare(flagged=0, source=source, shard_rows=1000)
    ready.publish()
    before = room(ready.run.lake)
    # As a run whose ingestion is cached: a second one of the same rows gives the same parts, and takes as long.
    more = prepare(flagged=96, source=source, shard_rows=1000, lake=ready.run.lake, samples=ready.samples)
    made = more.publish()
    assert made.facts["removed"] == 96
    assert made.facts["plain"] is False
    home = more.history.objects.folder
    added = room(home) - sum(size for _, size in parts_of(home))
    whole_size = sum(size for _, size in parts_of(home))
    assert whole_size > 20_000_000
    assert added < 0.05 * whole_size
    assert before > 0


def room(folder: Path) -> int:
    """Bytes below a folder, a file of several names counted once."""
    seen = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(seen.values())


def parts_of(home: Path) -> list[tuple[Path, int]]:
    return [(path, path.stat().st_size) for path in home.glob("*/parts/*")]


def test_plain_parquet_is_read_without_gradsieve(prepare):
    datasets = pytest.importorskip("datasets")
    ready = prepare(flagged=6, relabelled=4)
    ready.publish()
    expected = members(ready.history, 2)
    made = ready.history.manifest(2)
    folder = ready.history.objects.folder / ready.dataset / made.rows_of.folder / "data"
    pandas = pytest.importorskip("pandas")
    read = {
        "pandas": pa.Table.from_pandas(pandas.read_parquet(folder, columns=["sample_id", "label"])),
        "pyarrow": pq.read_table(folder).select(["sample_id", "label"]),
        "duckdb": duckdb.sql(f"SELECT sample_id, label FROM '{folder}/*.parquet'").to_arrow_table(),
        "datasets": datasets.Dataset.from_parquet(
            [str(path) for path in sorted(folder.glob("*.parquet"))], cache_dir=str(ready.run.lake / "hf")
        )
        .select_columns(["sample_id", "label"])
        .with_format("arrow")[:],
    }
    for name, table in read.items():
        got = dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))
        assert got == expected, name


def test_every_decision_says_who_decided_when_by_what_rule_and_why(prepare):
    ready = prepare(flagged=6, relabelled=4)
    ready.publish()
    with rows_of(ready.history, ready.history.manifest(2).rows_of) as rows:
        decided = rows.decisions
    by_kind = {row["values"]: row["counts"] for row in pc.value_counts(decided["decision"]).to_pylist()}
    # The seventh was kept by a guard: that is a decision as well.
    assert by_kind == {"remove": 2, "relabel": 4, "keep": 1}
    for row in decided.to_pylist():
        assert row["reason"].startswith("reason ")
        assert "l2" in row["rule"]
        assert row["decided_by"] == "rule"
        assert dict(row["scores"]).keys() == {"l2"}
        assert (row["new_label"] is not None) == (row["decision"] == "relabel")


def test_a_damaged_manifest_is_said_to_be_one(prepare):
    ready = prepare()
    ready.publish()
    path = ready.history.objects.folder / ready.dataset / "v0002.json"
    for text in ("", "{}", path.read_text().replace('"rows"', '"raws"')):
        path.write_text(text)
        with pytest.raises(BadArtefact, match=r"v0002\.json"):
            ready.history.manifest(2)


# ---- tags ------------------------------------------------------------------------------------------------------------


def test_what_has_proven_itself_becomes_current_and_what_has_not_a_candidate(prepare, store):
    ready = prepare(store=store, promote=False)
    version = ready.publish()
    assert ready.history.tags() == {"current": "v0001"}
    ready.promote(version)
    assert ready.history.tags() == {"current": "v0001", "candidate": "v0002"}
    better = prepare(store=store, first=20, promote=True)
    better.promote(better.publish())
    assert better.history.tags() == {"current": "v0003"}
    assert [m.version for m in better.history.moves("candidate")] == ["v0002", None]
    assert all(m.reason and m.by == "run" for tag in ("current", "candidate") for m in better.history.moves(tag)[1:])


def test_current_never_goes_back_by_itself(prepare, store):
    older, newer = prepare(store=store), prepare(store=store, first=20)
    first, second = older.publish(), newer.publish()
    newer.promote(second)
    assert "newer" in older.promote(first)
    assert older.history.tags()["current"] == second.facts["version"]


def test_a_version_is_found_by_number_name_tag_time_and_where_a_tag_was(prepare, store):
    ready = prepare(store=store, promote=False)
    ready.promote(ready.publish())
    history = ready.history
    between = history.manifest(2).published
    better = prepare(store=store, first=20)
    better.promote(better.publish())
    asked = {
        "v0002": 2, "2": 2, "latest": 3, "current": 3, f"current@{between}": 1, between: 2,
        "2999-01-01": 3, "2999-01-01T00:00+02:00": 3,
    }  # fmt: skip
    assert {name: history.resolve(name).number for name in asked} == asked
    for name in ("v0009", "none", "candidate", "2001-01-01", "yesterday", "current@2001-01-01", "current@soon", ""):
        with pytest.raises(BadConfig, match="version"):
            history.resolve(name)


@pytest.mark.parametrize("name", ["v0001", "3", "latest", "", "a b", "../x", "1st", "x" * 65])
def test_a_tag_has_a_name_that_is_no_versions(prepare, name):
    ready = prepare()
    ready.publish()
    with pytest.raises(BadConfig, match="tag"):
        ready.history.move(name, "v0001", "me", "why")


# ---- several at once, and kills --------------------------------------------------------------------------------------


def test_of_many_that_publish_at_once_none_is_lost(prepare, store):
    ready = [prepare(store=store, first=10 * i) for i in range(6)]
    with ThreadPoolExecutor(len(ready)) as pool:
        made = list(pool.map(lambda one: one.publish(), ready))
        list(pool.map(lambda pair: pair[0].promote(pair[1]), zip(ready, made, strict=True)))
    history = ready[0].history
    whole(history)
    manifests = history.manifests()
    cleaned = [m for m in manifests if m.kind == "cleaned"]
    assert sorted(m.flags or "" for m in cleaned) == sorted(one.given["flags"].digest for one in ready)
    assert history.tags()["current"] == manifests[-1].version


PUBLISH = """
import sys
sys.path.insert(0, sys.argv[1])
import json, os, signal, time
from pathlib import Path
from tasks.pipeline.artefacts import Artefact, Run
from tasks.versions.history import History
from tasks.versions.object_store import Objects
from tasks.versions.publish import publish
from tasks.versions.promote import promote
from tasks.ingestion.readers import ReaderChoice
from tasks.versions.address import objects_of

ReaderChoice.model_validate({"kind": "npz", "path": sys.argv[1]}).component
import tasks.versions.publication, tasks.versions.mirror, tasks.dataset.samples, pyarrow.dataset
from tasks.pipeline.provenance import code_version
code_version()
taken = step = 0

def counted(name):
    before = getattr(Objects, name)
    def act(self, *arguments):
        global taken
        taken += 1
        if taken == step:
            os._exit(9)
        done = before(self, *arguments)
        taken += 1
        if taken == step:
            os._exit(9)
        return done
    setattr(Objects, name, act)

for name in ("create", "keep"):
    counted(name)
for line in sys.stdin:
    step, _, path = line.strip().partition(" ")
    step = int(step)
    child = os.fork()
    if not child:
        about = json.loads(Path(path).read_text())
        run = Run.model_validate(about["run"])
        given = {n: Artefact.model_validate(v) for n, v in about["artefacts"].items()}
        given["checkpoints"] = [Artefact.model_validate(v) for v in about["checkpoints"]]
        given["reader"] = ReaderChoice.model_validate(about["reader"]).component
        history = History(objects_of(None, run.lake), about["dataset"])
        made = publish.fn(run=run, history=history, **given)
        promote.fn(run, history, made, given["metrics"], "auto")
        os._exit(0 if step == 0 else 100 + taken)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def described(prepare, tmp_path):
    """A run ready to be published by another process: (prepared, the file that says it)."""
    ready = prepare(flagged=6, promote=True)
    about = {
        "run": ready.run.model_dump(mode="json"),
        "dataset": ready.dataset,
        "artefacts": {
            name: value.model_dump(mode="json") for name, value in ready.given.items() if hasattr(value, "stage")
        },
        "checkpoints": [artefact.model_dump(mode="json") for artefact in ready.given["checkpoints"]],
        "reader": {"kind": "npz", "path": str(ready.run.lake.parent / "source.npz")},
    }
    (tmp_path / "about.json").write_text(json.dumps(about))
    return ready, tmp_path / "about.json"


class Nursery:
    """A process that has imported all there is to import, and has children that publish and promote."""

    def __init__(self) -> None:
        home = str(Path(__file__).resolve().parents[3])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, about: Path, step: int = 0) -> int:
        """Begin one of the run that a file says, which ends itself before its ``step``th touch of the store."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{step} {about}\n")
        self.process.stdin.flush()
        return self.line()

    def line(self) -> int:
        """What it says: after a process, how it ended."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery():
    started = Nursery()
    yield started
    started.process.kill()


def test_a_crash_between_any_two_steps_leaves_the_old_state_or_the_new(described, nursery):
    ready, about = described
    history = ready.history
    states = set()
    for step in range(1, 200):
        nursery.start(about, step)
        code = nursery.line()
        whole(history)
        states.add((len(history.numbers()), history.tags().get("current")))
        if code != 9:
            break
        # Begun anew, and not where the last one stopped: every step is cut in turn.
        clear(history)
    assert code == 100 + step - 1
    assert step > 10
    assert states >= {(0, None), (1, None), (1, "v0001"), (2, "v0001"), (2, "v0002")}
    assert len(members(history, 2)) == history.manifest(2).rows


def clear(history: History) -> None:
    import shutil

    shutil.rmtree(history.objects.folder / history.dataset, ignore_errors=True)


def test_twenty_kills_at_random_moments_leave_no_half_state_and_the_next_one_goes_on(described, nursery):
    ready, about = described
    history = ready.history
    for _ in range(2):  # the first waits for the imports
        clear(history)
        start = time.monotonic()
        nursery.start(about)
        assert nursery.line() == 0
    took = time.monotonic() - start
    undisturbed = [m.model_dump(exclude={"published", "seal"}) for m in history.manifests()]
    clear(history)
    moments = random.Random(0)
    struck = tried = 0
    while struck < KILLS:
        process = nursery.start(about)
        time.sleep(moments.uniform(0, took))
        with suppress(ProcessLookupError):  # it was faster
            os.kill(process, signal.SIGKILL)
        struck += nursery.line() == -signal.SIGKILL
        tried += 1
        assert tried < 10 * KILLS
        whole(history)
        if tried % 2:
            clear(history)
    nursery.start(about)
    assert nursery.line() == 0
    whole(history)
    assert [m.model_dump(exclude={"published", "seal"}) for m in history.manifests()] == undisturbed
    assert history.tags() == {"current": "v0002"}


def test_what_a_killed_process_left_half_written_is_swept_by_the_next_run(described):
    from tasks.pipeline.artefacts import Run
    from tasks.pipeline.durable_files import PARTIAL

    ready, _ = described
    import socket

    home = ready.run.lake / "versions" / ready.dataset
    home.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = home / f"{PARTIAL}{socket.gethostname()}-{dead.pid}-0123abcd"
    left.write_text("half")
    # What obstore writes to before it has the name.
    (home / f"{left.name}#1").write_text("ha")
    mine = home / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-0123abcd"
    mine.write_text("being written")
    Run.start(ready.run.lake, ready.dataset)
    assert [path.name for path in home.iterdir()] == [mine.name]


# ---- a store elsewhere -----------------------------------------------------------------------------------------------


def test_the_lake_shows_what_is_published_elsewhere(prepare, bucket):
    from tasks.catalogue.database import NAME, build

    ready = prepare(store=bucket, promote=True)
    ready.promote(ready.publish())
    build(ready.run.lake)
    with duckdb.connect(str(ready.run.lake / NAME), read_only=True) as db:
        assert db.execute("SELECT version, tags FROM versions ORDER BY 1").fetchall() == [
            ("v0001", []),
            ("v0002", ["current"]),
        ]
        assert db.execute("SELECT count(*) FROM removed").fetchall() == [(6,)]
    parts = list((ready.run.lake / "versions" / ready.dataset).glob("parts/*"))
    samples = (ready.run.lake / "runs" / ready.run.run_id / "samples").glob("*.parquet")
    assert {path.stat().st_ino for path in parts} == {path.stat().st_ino for path in samples}


def test_a_damaged_copy_in_the_lake_is_dropped_and_copied_again(prepare, bucket):
    ready = prepare(store=bucket)
    ready.promote(ready.publish())
    mirror = History(Objects(ready.run.lake / "versions"), "tiny")
    names = [f"tiny/{mirror.manifest(1).rows_of.decided}", "tiny/v0002.json", "tiny/log/000003.json"]
    for name in names:
        path = mirror.objects.folder / name
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data.replace(b"2", b"3"))
    publication.history_of(ready.run, bucket, "tiny")
    assert mirror_now(ready.history, ready.run.lake) == len(names)
    for name in names:
        assert mirror.objects.read(name) == ready.history.objects.read(name)
    assert mirror.tags() == {"current": "v0002"}


@pytest.mark.parametrize("damage", ["empty", "unsealed"])
def test_a_document_of_the_copy_that_is_json_and_no_longer_what_it_was_is_copied_again(prepare, bucket, damage):
    ready = prepare(store=bucket)
    ready.promote(ready.publish())
    mirror = History(Objects(ready.run.lake / "versions"), "tiny")
    names = ["tiny/v0001.json", "tiny/v0002.json", "tiny/log/000002.json", "tiny/log/000003.json"]
    for name in names:
        path = mirror.objects.folder / name
        document = json.loads(path.read_bytes())
        path.unlink()
        path.write_text(json.dumps({} if damage == "empty" else document | {"seal": None}))
    publication.history_of(ready.run, bucket, "tiny")
    mirror_now(ready.history, ready.run.lake)
    for name in names:
        assert mirror.objects.read(name) == ready.history.objects.read(name)
    assert mirror.tags() == {"current": "v0002"}


def test_another_history_of_the_same_name_is_refused_before_anything_is_trained(prepare, bucket, tmp_path):
    from tasks.versions.publication import history_of

    ready = prepare(store=bucket)
    ready.promote(ready.publish())
    with pytest.raises(BadConfig, match="that the lake shows"):
        history_of(ready.run, f"{bucket}-other", ready.dataset)
    assert publication.history_of(ready.run, bucket, ready.dataset).numbers() == [1, 2]
    with pytest.raises(BadConfig, match="that the lake shows"):
        history_of(ready.run, str(tmp_path / "else"), ready.dataset)


def test_a_folder_elsewhere_is_a_store_like_any_other(prepare, tmp_path):
    ready = prepare(store=str(tmp_path / "elsewhere"))
    ready.promote(ready.publish())
    whole(ready.history)
    mirror = History(Objects(ready.run.lake / "versions"), ready.dataset)
    assert mirror.tags() == ready.history.tags()
    assert mirror.manifests() == ready.history.manifests()


def test_schemas_of_what_is_published_are_those_of_what_was_ingested(prepare):
    ready = prepare(flagged=6, relabelled=2)
    ready.publish()
    came, made = ready.history.manifests()
    with rows_of(ready.history, came.rows_of) as before, rows_of(ready.history, made.rows_of) as after:
        assert isinstance(before.schema(), pa.Schema)
        plain = [after.file(f"{made.rows_of.folder}/data/{file.name}") for file in made.plain or ()]
        assert all(pq.read_schema(path).equals(before.schema()) for path in plain)
