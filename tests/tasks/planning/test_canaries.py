"""Canaries are a share of the samples, a third of each kind, never their given label, whatever the rows' order."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.dataset.payload import Payload
from tasks.dataset.targets import Target
from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import link_or_copy
from tasks.pipeline.schemas import SAMPLES
from tasks.pipeline.schemas import canaries as canaries_schema
from tasks.pipeline.schemas import votes as votes_schema
from tasks.planning.canaries import KINDS, Canaries, canary_labels_of, indices_among
from tasks.planning.plant import plant
from tasks.training.base_run import base_of

CLASSES = ["a", "b", "c", "d"]
TARGET = Target(classes=tuple(CLASSES))


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "canaries")


class World:
    """Samples, folds and votes as their verbs leave them.

    Samples of class a are voted b by their neighbours (three in four) or c, the others are voted as given.
    """

    def __init__(self, run, n=4000, folds=5, seed=0):
        self.run, self.count = run, folds
        self.ids = [f"{i * 7919 % 100_003:032x}" for i in range(n)]
        self.labels = [CLASSES[i % 4] for i in range(n)]
        self.base = base_of(run, None, "canaries")
        self.store(np.random.default_rng(seed).permutation(n))

    def store(self, order):
        """Samples and folds in this order; votes are always by sorted id."""
        run, ids = self.run, [self.ids[i] for i in order]
        n = len(ids)
        columns = {
            "sample_id": ids,
            "source": ["test"] * n,
            "row": range(n),
            "split": ["train"] * n,
            "label": [self.labels[i] for i in order],
        }
        table = pa.table([pa.array(columns.get(f.name, [None] * n), f.type) for f in SAMPLES], schema=SAMPLES)
        payload = Payload(kind="array", columns=("x",), shape=(1,), dtype="float32")
        with run.draft("samples") as draft:
            pq.write_table(table, draft.path("samples/train-00000.parquet", n))
            self.samples = draft.commit(payload=payload.model_dump(mode="json"), classes=CLASSES)
        with run.draft("folds") as draft:
            fold = pa.array([int(name, 16) % self.count for name in ids], pa.int16())
            pq.write_table(pa.table({"sample_id": ids, "fold": fold}), draft.path("folds.parquet", n))
            self.folds = draft.commit(folds=self.count, samples=n)
        by_id = sorted(zip(self.ids, self.labels, strict=True))
        votes = np.array(
            [[0, 0.75, 0.25, 0] if y == "a" else np.eye(4)[CLASSES.index(y)] for _, y in by_id], np.float32
        )
        with run.draft("votes") as draft:
            table = pa.table(
                [
                    pa.array([name for name, _ in by_id]),
                    pa.FixedSizeListArray.from_arrays(pa.array(votes.ravel()), 4),
                    pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n, np.int32)), 1),
                ],
                schema=votes_schema(4, 1),
            )
            pq.write_table(table, draft.path("votes.parquet", n))
            self.votes = draft.commit()

    def plant(self, base=None, **options):
        canaries = Canaries(**options)
        return plant.fn(self.run, self.samples, self.folds, self.votes, canaries, base or self.base)

    def planted(self, **options):
        return canary_labels_of(self.run, self.plant(**options), TARGET)

    def fold_of(self, ids):
        return np.array([int(name, 16) % self.count for name in ids])


@pytest.fixture
def world(run):
    return World(run)


def test_the_table_is_of_its_schema_and_sorted_by_id(world):
    artefact = world.plant()
    table = pq.read_table(world.run.path(artefact))
    assert table.schema.equals(canaries_schema(5))
    assert artefact.facts == {"canaries": table.num_rows}
    ids = table["sample_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert set(ids) <= set(world.ids)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
def test_the_share_is_about_what_was_asked_for(world, share):
    assert len(world.planted(share=share)) == pytest.approx(share * 4000, abs=3.5 * (share * 4000) ** 0.5)


def test_each_kind_is_a_third_and_takes_its_labels_in_its_own_way(world):
    planted = world.planted(share=0.3)
    given = dict(zip(world.ids, world.labels, strict=True))
    labels = np.array([CLASSES.index(given[name]) for name in planted.ids])
    assert (planted.labels != labels).all()
    np.testing.assert_allclose(np.bincount(planted.kinds, minlength=3) / len(planted), 1 / 3, atol=0.05)
    for kind, name in enumerate(KINDS):
        found = planted.labels[(planted.kinds == kind) & (labels == 0)]
        shares = np.bincount(found, minlength=4) / len(found)
        expected = [0, 1 / 3, 1 / 3, 1 / 3] if name == "slip" else [0, 0.75, 0.25, 0]
        np.testing.assert_allclose(shares, expected, atol=0.15)


@pytest.mark.parametrize("folds", [1, 2, 3, 4, 5, 8])
def test_just_under_half_of_the_networks_that_see_a_canary_learn_it_and_its_own_never_does(run, folds):
    world = World(run, 600, folds)
    planted = world.planted(share=0.2)
    assert planted.networks.shape == (len(planted), folds)
    assert (planted.networks.sum(1) == (folds - 1) // 2).all()
    assert not planted.networks[np.arange(len(planted)), world.fold_of(planted.ids)].any()
    if folds == 5:
        # No network is favoured.
        assert planted.networks.mean(0) == pytest.approx(np.full(5, 0.4), abs=0.15)


def test_the_order_of_rows_changes_nothing(world):
    before = world.plant()
    world.store(np.arange(4000)[::-1])
    assert world.plant().digest == before.digest


def test_another_seed_chooses_others_and_the_same_the_same(world):
    assert world.plant().digest == world.plant().digest
    one, other = world.planted(), world.planted(seed=1)
    assert len(set(one.ids) & set(other.ids)) < len(one) / 4


@pytest.mark.parametrize(("n", "least", "most"), [(4, 0, 4), (40, 2, 16), (250, 30, 70), (600, 30, 70)])
def test_a_small_dataset_has_at_least_so_many_up_to_a_fifth(run, n, least, most):
    assert least <= len(World(run, n, 2).planted(share=0.01)) <= most


def test_who_is_a_canary_follows_from_its_own_draw_alone():
    draws = np.random.default_rng(0).random(5000)
    chosen = Canaries(share=0.05).draw(draws)
    assert (chosen == (draws < 0.05)).all()
    few = draws[:500]
    assert (Canaries(share=0.05).draw(few) == (few < 0.1)).all()
    fewer = draws[:50]
    assert (Canaries(share=0.05).draw(fewer) == (fewer < 0.2)).all()
    assert Canaries().draw(np.zeros(0)).tolist() == []


def test_a_share_of_nought_plants_none(world):
    artefact = world.plant(share=0)
    assert artefact.facts == {"canaries": 0}
    planted = canary_labels_of(world.run, artefact, TARGET)
    assert len(planted) == 0
    assert planted.networks.shape == (0, 5)
    assert [part.tolist() for part in indices_among(np.array(world.ids, object), planted.ids)] == [[], []]


@pytest.mark.parametrize(("option", "value"), [("share", -0.1), ("share", 0.31), ("seed", 2**63)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValidationError, match=option):
        Canaries(**{option: value})


def test_canaries_stand_where_their_ids_do():
    rows, canary = indices_among(np.array(["x", "b", "c", "a"], object), np.array(["a", "b", "z"], object))
    assert (rows.tolist(), canary.tolist()) == ([1, 3], [1, 0])


# ---- with a base -------------------------------------------------------------------------------------------------


@pytest.fixture
def based(world):
    """Plant once more, upon a base that recorded the given stages."""

    def plant_upon(*stages, **options):
        home = world.run.lake / "runs" / "before"
        home.mkdir()
        for stage in stages:
            link_or_copy(world.run.path(stage), home / stage.files[0].name)
        about = {"run_id": "before", "dataset": "canaries", "recorded": "2000-01-01T00:00:00", "facts": {}}
        (home / "run.json").write_text(json.dumps(about | {"stages": [s.model_dump(mode="json") for s in stages]}))
        base = base_of(world.run, "before", "canaries")
        return canary_labels_of(world.run, world.plant(base=base, **options), TARGET)

    return plant_upon


def test_canaries_of_a_base_are_kept_as_they_are_whatever_the_options(world, based):
    before = canary_labels_of(world.run, world.plant(), TARGET)
    after = based(world.plant(), share=0.3, seed=9)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_canaries_of_a_base_that_are_gone_or_now_bear_their_planted_label_are_none_any_more(world, based):
    artefact = world.plant()
    before = canary_labels_of(world.run, artefact, TARGET)
    relabelled, gone = before.ids[0], before.ids[1]
    world.labels[world.ids.index(relabelled)] = CLASSES[before.labels[0]]
    keep = [i for i, name in enumerate(world.ids) if name != gone]
    world.ids, world.labels = [world.ids[i] for i in keep], [world.labels[i] for i in keep]
    world.store(np.arange(len(keep)))
    assert set(based(artefact).ids) == set(before.ids) - {relabelled, gone}


@pytest.mark.parametrize("has_stage", [False, True])
def test_a_base_without_canaries_gets_such_that_no_network_was_trained_on(world, based, has_stage):
    planted = based(*([world.plant(share=0)] if has_stage else []))
    assert set(planted.ids) == set(world.planted().ids)
    assert not planted.networks.any()
