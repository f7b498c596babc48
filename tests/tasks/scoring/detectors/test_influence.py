"""Influence is told within a fold, in the sign of harm; and what cannot be told is refused with what to do."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.core.errors import BadArtefact, BadConfig
from tasks.gradients.shards import GradientShards, ShardMetadata, ShardWriter
from tasks.kernels.curvature import Fisher, SoftmaxHessian
from tasks.kernels.gradients import FactorGradients, Whole
from tasks.kernels.influence import Series, damping_of, datainf, exact, gradient_tracing, lissa, self_influence
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import gradient_shard
from tasks.scoring.detectors import DETECTORS, DetectorChoice

N, K, H1, FLIPPED = 120, 3, 5, (10, 61)
KINDS = ("hessian", "gradient_tracing", "lissa", "datainf", "self_influence", "self_lissa")
REFERRED = ("hessian", "gradient_tracing", "lissa", "datainf")
CURVED = ("hessian", "lissa", "self_influence", "self_lissa")


def detector_of(kind, **options):
    """The detector; unless said otherwise it refers to all samples, as the twins here do."""
    if kind in REFERRED:
        options = {"reference": "all"} | options
    return DetectorChoice.model_validate({"kind": kind} | options).component


def toy():
    """(residual, features, probabilities, labels, folds): separable classes, two flipped labels, a network a fold."""
    generator = np.random.default_rng(0)
    truth = np.arange(N) % K
    features = np.concatenate([generator.normal(size=(N, H1 - 1)) * 0.1, np.ones((N, 1))], 1)
    features[np.arange(N), truth] += 2
    folds = (np.arange(N) // 3 % 2).astype(np.int16)
    # The second fold's network is less sure than the first's.
    weights = np.stack([np.eye(K, H1) * scale for scale in (1.0, 0.7)])[folds]
    logits = np.einsum("nkh,nh->nk", weights, features)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = truth.copy()
    labels[list(FLIPPED)] = (labels[list(FLIPPED)] + 1) % K
    return p - np.eye(K)[labels], features, p, labels, folds


def stored(lake, columns, metadata=None, order=None, cuts=(N,)):
    """Vector columns (n × width each) as shards; rows in ``order``, cut into shards at ``cuts``."""
    options = {"gradient": {"kind": "head"}, "loss": ("cross_entropy", 0.0), "epochs": (1,), "joined": "sum"}
    metadata = ShardMetadata(**options | {"checkpoints": ("a", "b"), "layers": ()} | (metadata or {}))
    schema = metadata.on(gradient_shard({name: values.shape[1] for name, values in columns.items()}))
    order = np.arange(N) if order is None else order
    texts = {"sample_id": [f"{i:04d}" for i in range(N)], "predicted": ["a"] * N}
    scalars = {name: np.full(N, 0.5, np.float32) for name in ("loss", "p_label", "p_predicted", "l1", "l2")}
    arrays = {"fold": pa.array(toy()[4])} | {name: pa.array(value) for name, value in (texts | scalars).items()}
    for name, values in columns.items():
        arrays[name] = pa.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(), values.shape[1])
    table = pa.table([arrays[name] for name in schema.names], schema=schema).take(pa.array(order))
    run, artefacts = Run.start(lake, "influence"), []
    for i, (first, last) in enumerate(zip((0, *cuts), cuts, strict=False)):
        with run.draft("gradients") as draft:
            with ShardWriter(draft, f"{i:05d}") as writer:
                for batch in table.slice(first, last - first).combine_chunks().to_batches():
                    writer.write(batch)
            artefacts.append(draft.commit())
    return GradientShards(run, artefacts)


def evidence_of(gradients):
    _, _, p, labels, folds = toy()
    in_base = np.ones(len(labels), bool)
    return SimpleNamespace(
        gradients=gradients,
        folds=folds,
        labels=labels,
        probabilities=p.astype(np.float32),
        in_base=in_base,
        once=lambda _, make: make(),
    )


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    residual, features, *_ = toy()
    return evidence_of(stored(tmp_path_factory.mktemp("one"), {"residual": residual, "features": features}))


@pytest.fixture(scope="module")
def rows():
    """Whole gradients, n × p."""
    residual, features, *_ = toy()
    return np.einsum("nk,nh->nkh", residual, features).reshape(N, -1)


def test_the_base_classes_are_no_detectors_and_the_six_are():
    assert set(KINDS) <= set(DETECTORS.components)
    assert {"influence", "curved", "referred"}.isdisjoint(DETECTORS.components)
    assert [detector_of(kind).name for kind in KINDS] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_labels_rank_first_among_finite_scores(evidence, kind):
    suspicion = detector_of(kind).score(evidence)
    assert suspicion.shape == (N,)
    assert suspicion.dtype == np.float64
    assert np.isfinite(suspicion).all()
    for fold in (0, 1):
        members = np.flatnonzero(evidence.folds == fold)
        assert members[suspicion[members].argmax()] == next(i for i in FLIPPED if evidence.folds[i] == fold)
    assert (suspicion[list(FLIPPED)] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_and_shards_changes_nothing(evidence, tmp_path, kind):
    residual, features, *_ = toy()
    order = np.random.default_rng(5).permutation(N)
    shuffled = stored(tmp_path, {"residual": residual, "features": features}, order=order, cuts=(1, 70, N))
    detector = detector_of(kind)
    np.testing.assert_array_equal(detector.score(evidence_of(shuffled)), detector.score(evidence))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_is_scored_as_if_there_were_no_other(evidence, kind):
    suspicion = detector_of(kind).score(evidence)
    residual, features, p, _, folds = (torch.from_numpy(values) for values in toy())
    for fold in (0, 1):
        members = folds == fold
        sides = (side[members].float() for side in (residual.unsqueeze(1), features.unsqueeze(1)))
        gradients = FactorGradients(*sides, "sum")
        hessian = SoftmaxHessian(p[members].float(), gradients.features[:, 0])
        damping = damping_of(hessian, 0.1)
        twins = {
            "gradient_tracing": lambda g: gradient_tracing(g),
            "datainf": lambda g: datainf(g, damping_of(Fisher(g), 0.1)),
            "hessian": lambda g, c=hessian, d=damping: exact(g, c, d),
            "self_influence": lambda g, c=hessian, d=damping: self_influence(g, c, d),
            "lissa": lambda g, c=hessian, d=damping: lissa(g, c, d, Series(100), torch.Generator().manual_seed(0)),
        }
        if kind in twins:
            np.testing.assert_allclose(suspicion[members.numpy()], twins[kind](gradients).numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_stored_whole_score_as_their_factors_do_under_the_fisher(evidence, rows, tmp_path, kind):
    options = {"curvature": "fisher"} if kind in CURVED else {}
    whole = evidence_of(stored(tmp_path, {"gradient": rows}))
    expected = detector_of(kind, **options).score(evidence)
    # auto is the Fisher of gradients without factors
    np.testing.assert_allclose(detector_of(kind).score(whole), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("joined", ["sum", "stack"])
@pytest.mark.parametrize("kind", KINDS)
def test_several_checkpoints_are_scored_by_the_gradient_they_make(tmp_path, rows, kind, joined):
    residual, features, *_ = toy()
    two = {"residual": np.concatenate([residual, residual], 1), "features": np.concatenate([features, features], 1)}
    evidence = evidence_of(stored(tmp_path / "a", two, {"epochs": (1, 2), "joined": joined}))
    explicit = 2 * rows if joined == "sum" else np.concatenate([rows, rows], 1)
    whole = evidence_of(stored(tmp_path / "b", {"gradient": explicit}))
    options = {"curvature": "fisher"} if kind in CURVED else {}
    expected = detector_of(kind).score(whole)
    np.testing.assert_allclose(detector_of(kind, **options).score(evidence), expected, rtol=1e-3, atol=1e-5)
    if kind in CURVED:
        with pytest.raises(BadConfig, match=r"option curvature: .*got factors of 2 checkpoints.* to fisher"):
            detector_of(kind, curvature="hessian").score(evidence)


def test_the_exact_hessian_needs_factors_and_the_cross_entropy(tmp_path, rows):
    residual, features, *_ = toy()
    whole = evidence_of(stored(tmp_path / "a", {"gradient": rows}))
    with pytest.raises(BadConfig, match="got gradients without factors"):
        detector_of("hessian", curvature="hessian").score(whole)
    squared = {"loss": ("squared_error", 0.0)}
    other = evidence_of(stored(tmp_path / "b", {"residual": residual, "features": features}, squared))
    with pytest.raises(BadConfig, match="loss squared_error"):
        detector_of("lissa", curvature="hessian").score(other)


@pytest.mark.parametrize("kind", REFERRED)
def test_the_reference_may_be_the_samples_whose_label_is_predicted(evidence, kind):
    suspicion = detector_of(kind, reference="agreed").score(evidence)
    assert (suspicion[list(FLIPPED)] > np.delete(suspicion, FLIPPED).max()).all()
    assert (suspicion != detector_of(kind).score(evidence)).any()
    residual, features, p, labels, folds = (torch.from_numpy(values) for values in toy())
    members = folds == 0
    agreed = (p.argmax(1) == labels)[members].nonzero().squeeze(1)
    gradients = FactorGradients(residual[members].unsqueeze(1), features[members].unsqueeze(1), "sum")
    if kind == "gradient_tracing":
        twin = gradient_tracing(gradients, gradients.at(agreed)).numpy()
        np.testing.assert_allclose(suspicion[members.numpy()], twin, rtol=1e-5)


def test_among_outweighing_flips_only_the_samples_agreed_with_tell_the_right_way_round(tmp_path):
    # Sure of everything, and a tenth is labelled otherwise: the mean loss is all of those labels'.
    _, features, _, labels, _ = toy()
    p = np.full((N, K), 1e-3) + np.eye(K)[np.arange(N) % K] * (1 - K * 1e-3)
    labels = np.where(np.arange(N) % 10 == 0, (np.arange(N) + 1) % K, np.arange(N) % K)
    columns = {"residual": p - np.eye(K)[labels], "features": features}
    evidence = evidence_of(stored(tmp_path, columns))
    evidence.labels, evidence.probabilities = labels, p.astype(np.float32)
    wrong = np.arange(N) % 10 == 0
    turned = detector_of("gradient_tracing").score(evidence)
    right = detector_of("gradient_tracing", reference="agreed").score(evidence)
    assert turned[wrong].max() < turned[~wrong].min()
    assert right[wrong].min() > right[~wrong].max()


def test_where_the_network_agrees_with_no_label_all_samples_are_the_reference(evidence):
    evidence = SimpleNamespace(**vars(evidence) | {"probabilities": np.eye(K)[(evidence.labels + 1) % K]})
    agreed, every = (detector_of("datainf", reference=which).score(evidence) for which in ("agreed", "all"))
    np.testing.assert_array_equal(agreed, every)


@pytest.mark.parametrize(("kind", "instead"), [("hessian", "lissa or datainf"), ("self_influence", "self_lissa")])
def test_too_many_parameters_for_a_matrix_are_refused_with_their_number(evidence, kind, instead):
    with pytest.raises(BadConfig, match=f"at most 14 parameters, got {K * H1}, .*Use the detector {instead}"):
        detector_of(kind, max_parameters=14).score(evidence)
    assert np.isfinite(detector_of(kind, max_parameters=15).score(evidence)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_over_the_runs_memory_is_refused_with_its_size(evidence, kind, monkeypatch):
    monkeypatch.setattr(evidence.gradients, "largest", 1)
    with pytest.raises(BadArtefact, match=f"60 × {K + H1} float32"):
        detector_of(kind).score(evidence)


def test_a_seed_repeats_mini_batches_and_another_draws_others(evidence):
    first, again, other = (detector_of("self_lissa", seed=seed).score(evidence) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_an_estimate_at_which_the_series_diverges_is_told(evidence, monkeypatch):
    monkeypatch.setattr("tasks.kernels.influence.largest_eigenvalue", lambda *_: 1e-3)
    with pytest.raises(BadConfig, match=r"detector lissa: .*at whose estimate .* grows.*Raise the detector's damping"):
        detector_of("lissa").score(evidence)


def test_the_largest_eigenvalue_is_estimated_once_for_given_and_planted_labels(evidence):
    cache, made = {}, []

    def once(key, make):
        made.append(key)
        if key not in cache:
            cache[key] = make()
        return cache[key]

    twins = [SimpleNamespace(**vars(evidence) | {"once": once}) for _ in range(2)]
    first, again = (detector_of("lissa").score(twin) for twin in twins)
    np.testing.assert_array_equal(first, again)
    assert len(made) == 4
    assert len(cache) == 2  # a fold each
    # The empirical Fisher depends on the labels.
    detector_of("lissa", curvature="fisher").score(twins[0])
    assert len(made) == 4


def test_half_precision_shards_are_held_in_float32(rows):
    from tasks.scoring.detectors.influence import gradients_of

    shards = SimpleNamespace(
        factored=False, widths={"gradient": K * H1}, rows=lambda members, _: {"gradient": rows[members].astype("f2")}
    )
    gradients = gradients_of(shards, np.array([3, 1]), 1 << 20)
    assert isinstance(gradients, Whole)
    assert gradients.dtype == torch.float32
    np.testing.assert_allclose(gradients.rows.numpy(), rows[[3, 1]], rtol=2e-3, atol=1e-4)


def test_the_validation_split_may_be_what_is_influenced(referred):
    """−⟨v, g⟩ with v the mean gradient of the validation split by the network of the sample's own fold."""
    suspicion = detector_of("gradient_tracing", reference="validation").score(referred)
    own, held_out = referred.gradients.dense(1 << 20), referred.reference.dense(1 << 20)
    networks = referred.reference.scalar("fold")
    for fold in np.unique(referred.folds):
        members = np.flatnonzero(referred.folds == fold)
        twin = -own[members] @ held_out[networks == fold].mean(0)
        np.testing.assert_allclose(suspicion[members], twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["gradient_tracing", "datainf", "lissa", "hessian"])
def test_a_sample_that_hurts_the_validation_split_is_suspect_by_a_name_of_its_own(referred, kind):
    detector = detector_of(kind, reference="validation")
    assert detector.name == f"{kind}_validation"
    assert detector.score(referred).argmax() == 37


@pytest.mark.parametrize("kind", ["gradient_tracing", "datainf", "lissa", "hessian"])
def test_where_there_is_no_validation_split_it_says_how_to_name_one(evidence_of, kind):
    with pytest.raises(BadConfig, match="reader's reference_path"):
        detector_of(kind, reference="validation").score(evidence_of())
