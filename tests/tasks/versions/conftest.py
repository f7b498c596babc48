"""What the tests of versions share: an S3 server of one's own, both stores, and runs that are ready to be published."""

from __future__ import annotations

import logging
import os
import urllib.request
import uuid
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_states import States
from s3_server import s3_server

from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import FLAGS, scores
from tasks.versions.address import objects_of
from tasks.versions.history import History
from tasks.versions.object_store import Objects

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of an S3 server with the bucket ``bucket``, which the environment names as well."""
    before = {name: os.environ.get(name) for name in (*CREDENTIALS, "AWS_ENDPOINT_URL")}
    os.environ.update(CREDENTIALS)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with s3_server() as address:
        os.environ["AWS_ENDPOINT_URL"] = address
        urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=10)  # noqa: S310
        yield address
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def bucket(s3: str) -> str:
    """A prefix of its own in the bucket."""
    return own_bucket()


@dataclass(frozen=True)
class Prepared:
    """A run that has been recorded and is ready to be published."""

    run: Run
    store: str | None
    dataset: str
    given: dict[str, Any]
    """What publish takes beside the run and the history."""

    @property
    def history(self) -> History:
        return History(objects_of(self.store, self.run.lake), self.dataset)

    @property
    def samples(self) -> Artefact:
        return self.given["samples"]

    @property
    def verdict(self) -> dict[str, Any]:
        return self.given["metrics"].facts["verdict"]

    def copy(self) -> Prepared:
        """The same, with what publish takes to be changed by one test alone."""
        return replace(self, given=dict(self.given))

    def publish(self) -> Artefact:
        from tasks.versions.publish import publish

        return publish.fn(run=self.run, history=self.history, **self.given)

    def promote(self, version: Artefact, promotion: str = "auto") -> str:
        from tasks.versions.promote import promote

        return promote.fn(self.run, self.history, version, self.given["metrics"], promotion)


@dataclass
class Source:
    """An archive of small images, n × 1 × 8 × 8 bytes of three classes."""

    path: Path
    rows: int = 240
    seed: int = 0
    side: int = 8
    kind: str = "npz"

    def write(self) -> Path:
        draw = np.random.default_rng(self.seed)
        x = draw.integers(0, 256, (self.rows, self.side, self.side), dtype=np.uint8)
        y = draw.choice(["ape", "bee", "cat"], self.rows)
        np.savez(self.path, x=x, y=y)
        return self.path


def flags_of(run: Run, samples: Artefact, flagged: int, relabelled: int, first: int) -> tuple[Artefact, Artefact]:
    """Scores and flags: ``flagged`` training samples from the ``first`` on, the last ``relabelled`` of them with a
    suggestion, and one more that a guard kept."""
    from tasks.dataset.samples import sample_paths

    thin = pa.concat_tables(
        [pq.read_table(path, columns=["sample_id", "label"]) for path in sample_paths(run, samples, "train")]
    )
    names, labels = thin["sample_id"].to_pylist(), thin["label"].to_pylist()
    classes = samples.facts["classes"]
    rows = []
    for rank, place in enumerate([*range(first, first + flagged), first + flagged], 1):
        wrong = rank <= flagged
        other = classes[(classes.index(labels[place]) + 1) % len(classes)]
        rows.append(
            dict.fromkeys(FLAGS.names)
            | {
                "sample_id": names[place],
                "flag": wrong,
                "rank": rank,
                "suspicion": 1 / rank,
                "detector": "l2",
                "marked_by": ["l2"],
                "reason": f"reason {rank}",
                "guard": None if wrong else "rare",
                "suggested_label": other if flagged - relabelled < rank <= flagged else None,
            }
        )
    with run.draft("scores") as draft:
        table = pa.table([pa.array(names), pa.array(np.linspace(0, 1, len(names)))], schema=scores(["l2"]))
        pq.write_table(table, draft.path("scores.parquet", table.num_rows))
        scored = draft.commit(detectors=["l2"], first=first)
    with run.draft("flags") as draft:
        table = pa.Table.from_pylist(rows, schema=FLAGS)
        pq.write_table(table, draft.path("flags.parquet", table.num_rows))
        found = {"count": flagged, "share": None}
        return scored, draft.commit(detector="l2", flagged=flagged, budget=flagged, found=found)


def large(run: Run, stage: str, *names: str) -> Artefact:
    """Files as large stages have them."""
    with run.draft(stage) as draft:
        for name in names:
            draft.path(name).write_bytes(os.urandom(2000))
        return draft.commit()


def prepared(
    folder: Path,
    flagged: int = 6,
    relabelled: int = 0,
    first: int = 0,
    promote: bool = True,
    store: str | None = None,
    source: Source | None = None,
    dataset: str = "tiny",
    lake: Path | None = None,
    shard_rows: int = 64,
    samples: Artefact | None = None,
) -> Prepared:
    """A run of an archive of images in a folder, up to its record; ``samples`` are those that an earlier one made."""
    from tasks.config import CleanConfig
    from tasks.ingestion.ingest import ingest
    from tasks.pipeline.record import record

    run = Run.start(lake or folder / "lake", dataset)
    source = source or Source(folder / "source.npz")
    if not source.path.exists():
        source.write()
    config = CleanConfig.model_validate(
        {
            "lake": run.lake,
            "dataset": dataset,
            "reader": {"kind": source.kind, "path": str(source.path)},
            "ingestion": {"shard_rows": shard_rows},
        }
    )
    samples = samples or ingest.fn(run, config.reader.component, config.ingestion)
    scored, flags = flags_of(run, samples, flagged, relabelled, first)
    trained = large(run, "checkpoints", "checkpoints/fold-0.pt")
    gradients = large(run, "gradients", "gradients/00000.arrow", "gradients/00000.parquet")
    accuracy = dict.fromkeys(("untouched", "cleaned", "random", "relabelled"), 0.9)
    verdict = {
        "word": "helps" if promote else "no evidence",
        "arm": "relabelled" if relabelled else "cleaned",
        "sentence": "so",
        "promote": promote,
        "because": [f"because of {flagged} from {first}"],
    }
    with run.draft("metrics") as draft:
        draft.path("metrics.json").write_text("{}")
        metrics = draft.commit(verdict=verdict, gains={}, accuracy=accuracy, first=first, flagged=flagged)
    stages = [samples, trained, gradients, scored, flags, metrics]
    given = {
        "record": record.fn(run, dataset, config.yaml(), stages),
        "samples": samples,
        "checkpoints": [trained],
        "scores": scored,
        "flags": flags,
        "metrics": metrics,
        "reader": config.reader.component,
    }
    return Prepared(run, store, dataset, given)


class Preparation:
    """Makes the runs of one test, all in one folder.

    What a test begins with was made once for all tests of the worker, and is put back as it was. What it asks for later
    is made beside that, and so is what has a lake or a source of its own.
    """

    def __init__(self, states: States, own: Path) -> None:
        self._states, self._own = states, own
        self.home: Path | None = None

    def prepare(self, store: str | None = None, **options: Any) -> Prepared:
        """A run up to its record, as ``prepared`` makes it; it can be published to ``store``."""
        if self.home is None and not options.keys() & {"lake", "source"}:
            ready = self._begin(("prepared", _key(options)), lambda home: prepared(home, **options))
            return replace(ready, store=store)
        self.home = self.home or self._own
        return prepared(self.home, store=store, **options)

    def published(self, elsewhere: bool = False, promoted: bool = False, **options: Any) -> Prepared:
        """The same, published in the lake or in a bucket ``elsewhere``, and promoted as its verdict says."""
        assert self.home is None, "what is published is what a test begins with"

        def make(home: Path) -> Prepared:
            ready = prepared(home, store=own_bucket() if elsewhere else None, **options)
            version = ready.publish()
            if promoted:
                ready.promote(version)
            return ready

        return self._begin(("published", elsewhere, promoted, _key(options)), make)

    def begin(
        self, name: str, elsewhere: bool, make: Callable[[Callable[..., Prepared]], list[Prepared]]
    ) -> list[Prepared]:
        """What ``make(run)`` makes with several calls of ``run``, which is ``prepared`` in one folder and store."""
        assert self.home is None, "what is named is what a test begins with"

        def both(home: Path) -> tuple[list[Prepared], Objects]:
            ready = make(partial(prepared, home, store=own_bucket() if elsewhere else None))
            return ready, ready[-1].history.objects

        ready = self._states.get((name, elsewhere), both)
        self.home = ready[-1].run.lake.parent
        return [each.copy() for each in ready]

    def _begin(self, key: Hashable, make: Callable[[Path], Prepared]) -> Prepared:
        def both(home: Path) -> tuple[Prepared, Objects]:
            ready = make(home)
            return ready, ready.history.objects

        ready = self._states.get(key, both)
        self.home = ready.run.lake.parent
        return ready.copy()


def _key(options: dict[str, Any]) -> Hashable:
    return tuple(sorted(options.items()))


def own_bucket() -> str:
    """A prefix of its own in the bucket."""
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    """What was made once for all tests of versions of this worker."""
    return States(lambda: tmp_path_factory.mktemp("state"))


@pytest.fixture
def preparation(states: States, tmp_path: Path) -> Preparation:
    """What makes the runs of a test."""
    return Preparation(states, tmp_path)


@pytest.fixture
def prepare(preparation: Preparation) -> Callable[..., Prepared]:
    """Make a run of an archive of images, up to its record."""
    return preparation.prepare


@pytest.fixture
def published(preparation: Preparation, request: pytest.FixtureRequest) -> Callable[..., Prepared]:
    """Begin with a run that is published: ``published(elsewhere=…, promoted=…, …)``."""

    def begin(elsewhere: bool = False, **options: Any) -> Prepared:
        if elsewhere:
            request.getfixturevalue("s3")
        return preparation.published(elsewhere, **options)

    return begin


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Source]:
    """An archive of images of one's own."""
    return lambda name, **options: Source(tmp_path / name, **options)


@pytest.fixture(params=["lake", "bucket"])
def store(request: pytest.FixtureRequest) -> str | None:
    """Each kind of store in turn, empty."""
    return None if request.param == "lake" else request.getfixturevalue("bucket")


@pytest.fixture(params=["lake", "bucket"])
def elsewhere(request: pytest.FixtureRequest) -> bool:
    """Whether what was made once is in a bucket: each kind of store in turn."""
    if request.param == "bucket":
        request.getfixturevalue("s3")
    return request.param == "bucket"


@pytest.fixture
def many(preparation: Preparation, elsewhere: bool) -> list[Prepared]:
    """Six cleaned versions of six runs, in each kind of store; v0003 is tagged, current is the last."""

    def make(run: Callable[..., Prepared]) -> list[Prepared]:
        ready = []
        for first in range(6):
            ready.append(run(first=10 * first, promote=first == 5))
            ready[-1].promote(ready[-1].publish())
        ready[-1].history.move("golden", "v0003", "ann", "for the paper")
        return ready

    return preparation.begin("many", elsewhere, make)


def three_versions(run: Callable[..., Prepared]) -> list[Prepared]:
    """v0001 as it came, v0002 without six, v0003 with four of the next ones relabelled and two removed."""
    first = run(flagged=6)
    first.publish()
    last = run(flagged=6, relabelled=4, first=3)
    last.promote(last.publish())
    return [first, last]


@pytest.fixture
def three(preparation: Preparation, elsewhere: bool) -> Prepared:
    """``three_versions`` in each kind of store: the last run."""
    return preparation.begin("three", elsewhere, three_versions)[-1]


@pytest.fixture
def lake(preparation: Preparation) -> Path:
    """The lake of ``three_versions``; current is v0003."""
    return preparation.begin("three", False, three_versions)[-1].run.lake
