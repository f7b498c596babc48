"""A class, a number, a set of labels, a response: each is read, learned, scored and judged as what it is."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import cross_fitted, retrained
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import hamming_loss, r2_score

from tasks.config import CleanConfig, CompareConfig
from tasks.core.errors import BadConfig, BadInput
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load, sample_paths
from tasks.dataset.targets import Target, target_of
from tasks.dataset.targets.labels import NOTHING, OTHERS, labels_from
from tasks.dataset.targets.number import number_from
from tasks.decision.budgets.share import Share
from tasks.decision.flag import flag
from tasks.decision.flagging import Flagging
from tasks.gradients.extraction import batch_rows
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Noise
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.pipeline.artefacts import Run
from tasks.planning.canaries import Canaries
from tasks.planning.neighbours import Neighbours
from tasks.proof.arms import ARMS, Verification
from tasks.proof.audit_heldout_labels import audit_heldout_labels
from tasks.proof.verify import verify
from tasks.scoring.detectors.dynamics import MeanLoss
from tasks.scoring.detectors.fusion import Fusion
from tasks.scoring.detectors.l2 import L2
from tasks.scoring.detectors.self_confidence import SelfConfidence
from tasks.scoring.evidence import Evidence
from tasks.scoring.score import score
from tasks.scoring.wrongness import observations_of
from tasks.training.fit import build, load_networks
from tasks.training.models.causal_lm import CausalLM
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training
from tasks.versions.live import LiveDataset

NUMBER = number_from(np.arange(100.0), "here")
LABELS = labels_from({"a": 3, "a|b": 2, "b|c": 1, NOTHING: 4}, "|", "here")
BINARY = Loss("binary_cross_entropy")


# ---- what labels are ------------------------------------------------------------------------------------------------


def test_ranges_of_a_number_hold_equally_many_and_their_lower_end():
    strata = NUMBER.strata(pa.array([str(float(y)) for y in range(100)]))
    assert np.bincount(strata).tolist() == [20] * 5
    edge = NUMBER.edges[0]
    assert NUMBER.strata(pa.array([repr(edge), repr(float(np.nextafter(edge, 0))), None])).tolist() == [1, 0, -1]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=30).filter(lambda y: np.std(y) > 1e-3))
def test_a_number_learned_and_said_again_is_the_same_to_six_digits(numbers):
    target = number_from(np.array(numbers), "here")
    values = target.values(pa.array([repr(y) for y in numbers]))
    said = target.said(values, Loss("squared_error")).label.cast(pa.float64()).to_numpy()
    far = 10 * target.scale
    wanted = np.clip(numbers, target.centre - far, target.centre + far)
    np.testing.assert_allclose(said, wanted, rtol=1e-5, atol=1e-4 * np.std(numbers) + 1e-6 * np.abs(numbers).max())


def test_one_typo_is_not_all_that_a_network_of_numbers_learns():
    y = np.random.default_rng(0).normal(50, 5, 340)
    y[7] = 1e9
    target = number_from(y, "here")
    values = target.values(pa.array([repr(float(v)) for v in y]))[:, 0]
    assert values[7] == 10
    usual = np.delete(np.arange(340), 7)
    assert 0.9 < float(values[usual].std()) < 1.2
    assert abs(float(values[usual].mean())) < 0.1
    skewed = number_from(np.r_[np.zeros(300), np.random.default_rng(0).lognormal(3, 1, 100)], "here")
    assert skewed.scale > 5  # most are nought, and the others count all the same


def test_test_numbers_that_are_all_one_are_judged_in_the_trained_ones_scale():
    y, z = pa.array(["3.0", "3.0"]), pa.array(["3.0", str(3 + NUMBER.scale)])
    np.testing.assert_allclose(NUMBER.credit(y, z, np.ones(2)), [1, 0])


def test_the_likelihoods_of_all_ranges_are_the_normal_distributions():
    from scipy.stats import norm

    outputs = torch.tensor([[0.3], [-9.0]])
    found = NUMBER.probabilities(outputs, 0.5, Loss("squared_error")).numpy()
    ends = np.concatenate([[-np.inf], (np.array(NUMBER.edges) - NUMBER.centre) / NUMBER.scale, [np.inf]])
    np.testing.assert_allclose(found, np.diff(norm.cdf((ends - outputs.numpy()) / 0.5), axis=1), atol=1e-6)
    assert NUMBER.scores(torch.tensor([[1e4], [-1e4]]), 1e-3).isfinite().all()


def test_the_spread_is_that_of_the_many_whatever_the_wrong_ones_are():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 1, generator=generator)
    outputs = values + 0.2 * torch.randn(2000, 1, generator=generator)
    outputs[:200] += 50
    assert NUMBER.spread(outputs, values) == pytest.approx(0.2, rel=0.2)


def test_the_credit_of_numbers_is_r_squared_and_of_sets_one_less_the_hamming_loss():
    rng = np.random.default_rng(0)
    y, z = rng.normal(size=50), rng.normal(size=50)
    text = [pa.array([repr(float(v)) for v in side]) for side in (y, z)]
    assert NUMBER.credit(*text, np.ones(50)).mean() == pytest.approx(r2_score(y, z))
    sets = [pa.array(["a", "a|b", NOTHING, "c"]), pa.array(["a|b", "a|b", "c", NOTHING])]
    members = [LABELS.values(each).numpy() for each in sets]
    assert LABELS.credit(*sets, np.ones(4)).mean() == pytest.approx(1 - hamming_loss(*members))
    classes = Target(classes=("x", "y"))
    assert classes.credit(pa.array(["x", "y"]), pa.array(["x", "x"]), np.ones(2)).tolist() == [True, False]


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abc")), min_size=1, max_size=8))
def test_a_set_of_labels_learned_and_said_again_is_the_same(sets):
    text = ["|".join(sorted(each)) or NOTHING for each in sets]
    values = LABELS.values(pa.array(text))
    assert LABELS.said(values * 8 - 4, BINARY).label.to_pylist() == text


def test_sets_that_are_rare_share_a_stratum_and_likelihoods_are_products():
    assert LABELS.classes == (NOTHING, "a", "a|b", OTHERS)
    assert LABELS.strata(pa.array([NOTHING, "a|b", "b|c", "c", None])).tolist() == [0, 2, 3, 3, -1]
    outputs = torch.tensor([[1.0, -2.0, 0.5]])
    p = torch.sigmoid(outputs)[0]
    found = LABELS.scores(outputs, 1.0).exp()[0]
    wanted = torch.stack([(1 - p).prod(), p[0] * (1 - p[1]) * (1 - p[2]), p[0] * p[1] * (1 - p[2])])
    torch.testing.assert_close(found[:3], wanted)
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    outcome = LABELS.outcome(outputs, LABELS.values(pa.array(["a|b"])), BINARY)
    torch.testing.assert_close(outcome.p_label[0], wanted[2])


def test_a_set_that_nobody_was_trained_on_goes_with_the_one_that_fewest_labels_tell_it_from():
    known = labels_from({"a": 3, "b|c": 2, NOTHING: 4}, "|", "here")
    assert known.classes == (NOTHING, "a", "b|c")
    assert known.strata(pa.array(["a|b|c", "b", "c", None, "a"])).tolist() == [2, 0, 0, -1, 1]
    assert known.names_of(pa.array(["a|b|c"])).to_pylist() == ["b|c"]


@pytest.mark.parametrize(
    ("target", "good", "bad"),
    [
        (NUMBER, {"3": "3", "-1e4": "-10000", " 5.0 ": "5", "-0": "0"}, ["x", "nan", "", "1_000", "５", "1e99"]),
        (
            LABELS,
            {"a": "a", "c|a|a": "a|c", " b | a": "a|b", NOTHING: NOTHING, "": NOTHING},
            ["d", "a|d", f"a|{NOTHING}"],
        ),
        (Target(classes=("x", "y")), {"x": "x"}, ["z", ""]),
    ],
)
def test_a_persons_label_is_read_as_it_is_known_and_is_one_that_there_can_be(target, good, bad):
    assert {label: target.read(label) for label in good} == good
    assert [target.read(label) for label in bad] == [None] * len(bad)
    known = pa.array(list(good.values()))
    assert (target.strata(known) >= 0).all()


def test_numbers_that_are_all_alike_and_sets_that_are_all_alike_are_refused():
    with pytest.raises(BadInput, match="not all the same number"):
        number_from(np.ones(9), "here")
    with pytest.raises(BadInput, match="two different sets"):
        labels_from({"a": 9}, "|", "here")


def test_a_number_that_a_person_gives_is_trained_on_though_its_range_is_the_same(numbers):
    run, table = numbers.run, numbers.table("train")
    flags = pq.read_table(run.path(numbers.flags))
    chosen = flags.filter(flags["flag"])["sample_id"][0].as_py()
    label = float(table.filter(pc.field("sample_id") == chosen)["label"][0].as_py())
    near = repr(label + 1e-3)
    rows = flags.to_pylist()
    for row in rows:
        row["flag"], row["suggested_label"] = row["sample_id"] == chosen, near if row["sample_id"] == chosen else None
    with run.draft("flags") as draft:
        pq.write_table(pa.Table.from_pylist(rows, schema=flags.schema), draft.path("flags.parquet", len(rows)))
        mended = draft.commit(flagged=1)
    assert numbers.target.strata(pa.array([near])).tolist() == numbers.target.strata(pa.array([repr(label)])).tolist()
    recipe = Recipe(model=numbers.model, training=numbers.training)
    counts = [
        retrained(run, numbers.samples, mended, arm, 0, recipe).facts["trained_on"] for arm in ("cleaned", "relabelled")
    ]
    assert counts == [table.num_rows - 1, table.num_rows]


# ---- a run of each --------------------------------------------------------------------------------------------------


class World:
    """What a run makes of one dataset, up to the verdict."""

    def __init__(self, home, reader, model, training, gradient, detectors, share=0.1, seeds=2):
        run = self.run = Run.start(home / "lake", "targets")
        self.model, self.training = model, training
        self.samples = ingest.fn(run, reader, Ingestion())
        self.target = target_of(self.samples)
        recipe = Recipe(model=model, training=training)
        crossfit = self.crossfit = cross_fitted(run, self.samples, recipe, gradient, canaries=Canaries(share=share))
        self.examination = audit_heldout_labels.fn(
            run, self.samples, self.samples, crossfit.checkpoints, Neighbours(), recipe
        )
        self.evidence = Evidence(run, crossfit)
        self.scores = score.fn(run, crossfit, detectors)
        self.flags = flag.fn(run, crossfit, self.scores, Share(share=0.1), Flagging(rare="off"))
        self.trials = [
            retrained(run, self.samples, self.flags, arm, seed, recipe) for seed in range(seeds) for arm in ARMS
        ]
        about = (self.samples, self.scores, self.flags, self.examination, self.trials, Verification(seeds=seeds))
        self.metrics = verify.fn(run, *about)

    def table(self, split):
        return pa.concat_tables([pq.read_table(path) for path in sample_paths(self.run, self.samples, split)])

    def network(self, fold):
        checkpoint = self.crossfit.checkpoints[fold]
        return load_networks(self.run, checkpoint, self.model, payload_of(self.samples), self.target.outputs)[-1]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    home, rng = tmp_path_factory.mktemp("numbers"), np.random.default_rng(0)
    x = rng.normal(size=(420, 4)).astype(np.float32)
    y = 50 + 20 * (x @ [2, -1, 0.5, 0] + 0.1 * rng.normal(size=420))
    pq.write_table(pa.table({**{f"x{i}": x[:, i] for i in range(4)}, "price": y}), home / "t.parquet")
    noise = Noise(share=0.1, exact=True)
    reader = Parquet(path=home / "t.parquet", label="price", target="number", noise=noise)
    training = Training(epochs=25, batch_size=32, device="cpu")
    detectors = [L2(), SelfConfidence(), Fusion()]
    return World(home, reader, Mlp(hidden=[16]), training, Head(), detectors)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    home, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    x = rng.normal(size=(420, 4)).astype(np.float32)
    there = x @ rng.normal(size=(4, 3)) > 0.3
    tags = [[name for name, one in zip("abc", row, strict=True) if one] for row in there]
    table = {f"x{i}": x[:, i] for i in range(4)} | {"tags": pa.array(tags, pa.list_(pa.string()))}
    pq.write_table(pa.table(table), home / "t.parquet")
    noise = Noise(share=0.1, exact=True)
    reader = Parquet(path=home / "t.parquet", label="tags", target="labels", noise=noise)
    training = Training(epochs=25, batch_size=32, device="cpu")
    return World(home, reader, Mlp(hidden=[16]), training, Head(), [L2(), SelfConfidence(), Fusion()])


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    pytest.importorskip("transformers")
    home, rng = tmp_path_factory.mktemp("answers"), np.random.default_rng(0)
    things, colours = ["apple", "house", "car"], ["red", "blue", "green"]
    rows = []
    for i in range(90):
        thing, colour = rng.choice(things), rng.choice(colours)
        rows.append({"prompt": f"{i} paint the {thing} {colour} !", "answer": f"the {thing} is {colour} ."})
    (home / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reader = Jsonl(
        path=home / "t.jsonl", text="prompt", label="answer", target="response",
        tokens={"max_length": 16, "vocabulary": 128},
        noise=Noise(share=0.1, exact=True),
    )  # fmt: skip
    model = CausalLM(width=16, depth=1, heads=2, tuning="full")
    training = Training(epochs=3, batch_size=16, device="cpu")
    gradient = Layers(layers_like=["*q_proj", "*norm"], projection="none")
    return World(home, reader, model, training, gradient, [L2(), MeanLoss()], share=0.0, seeds=1)


def test_wrong_numbers_are_found_and_a_verdict_is_by_r_squared(numbers):
    detection = numbers.metrics.facts["detection"]
    assert min(detection[name]["roc_auc"] for name in ("l2", "self_confidence", "fusion")) > 0.8
    assert numbers.metrics.facts["figure"] == "R²"
    assert numbers.metrics.facts["accuracy"]["untouched"] > 0.7
    assert numbers.metrics.facts["calibration"] == {}
    trial = numbers.trials[0]
    told = pq.read_table(numbers.run.path(trial))
    y, z = (told[name].cast(pa.float64()).to_numpy() for name in ("label", "predicted"))
    assert trial.facts["credit"] == pytest.approx(r2_score(y, z))
    assert numbers.metrics.facts["accuracy"]["untouched"] == pytest.approx(
        np.mean([trial.facts["credit"] for trial in numbers.trials if trial.facts["arm"] == "untouched"])
    )


def test_a_run_looks_for_far_labels_among_numbers_alone(numbers, sets):
    tail = observations_of(numbers.evidence).tail
    assert tail.numbers.tolist() == [float(text) for text in numbers.evidence.texts.to_pylist()]
    assert not tail.far.any()
    assert observations_of(sets.evidence).tail is None
    assert [each["subject"] for each in numbers.flags.facts["diagnoses"]][-1] == "far labels"
    assert "far labels" not in [each["subject"] for each in sets.flags.facts["diagnoses"]]


def test_wrong_sets_are_found_and_a_verdict_is_by_the_labels_right(sets):
    detection = sets.metrics.facts["detection"]
    assert min(detection[name]["roc_auc"] for name in ("l2", "self_confidence", "fusion")) > 0.8
    assert sets.metrics.facts["figure"] == "labels right"
    assert sets.metrics.facts["accuracy"]["untouched"] > 0.8
    predicted = set(pq.read_table(sets.run.path(sets.trials[0]))["predicted"].to_pylist())
    assert all(sets.target.read(label) == label for label in predicted)


@pytest.mark.parametrize("world", ["numbers", "sets"])
def test_head_gradients_of_other_targets_are_autograds_one_sample_at_a_time(world, request):
    world = request.getfixturevalue(world)
    inputs, evidence = load(world.run, world.samples, "train"), world.evidence
    objective = world.training.objective(world.target)
    order = np.argsort(inputs.ids, kind="stable")
    residual, features = (evidence.gradients.matrix(name) for name in ("residual", "features"))
    for rank in (0, 7, 40):
        network, row = world.network(int(evidence.folds[rank])), int(order[rank])
        network.zero_grad()
        objective.losses(network(inputs.x[row : row + 1]), inputs.y[row : row + 1]).sum().backward()
        head = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        whole = np.concatenate([head.weight.grad.numpy(), head.bias.grad.numpy()[:, None]], 1)
        np.testing.assert_allclose(np.outer(residual[rank], features[rank]), whole, atol=1e-5)


@pytest.mark.parametrize("world", ["numbers", "sets"])
def test_a_canary_bears_a_training_label_of_another_stratum(world, request):
    world = request.getfixturevalue(world)
    planted = world.crossfit.plan.canary_labels(world.run, world.target)
    table = world.table("train")
    assert len(planted)
    assert set(planted.text.to_pylist()) <= set(table["label"].to_pylist())
    given_ = table["label"].take(pc.index_in(pa.array(planted.ids, pa.string()), value_set=table["sample_id"]))
    assert (world.target.strata(given_) != planted.labels).all()
    assert (world.evidence.with_planted_labels.labels[world.evidence.canary_ranks] == planted.labels).all()


@pytest.mark.parametrize("world", ["numbers", "sets", "answers"])
def test_noise_gives_a_training_sample_the_label_of_another(world, request):
    world = request.getfixturevalue(world)
    train, test = world.table("train"), world.table("test")
    flipped = train.filter(pc.not_equal(train["label"], train["clean_label"]))
    assert flipped.num_rows == world.samples.facts["planted"] == round(0.1 * train.num_rows)
    assert set(flipped["label"].to_pylist()) <= set(train["clean_label"].to_pylist())
    assert pc.all(pc.equal(test["label"], test["clean_label"])).as_py()


@pytest.mark.parametrize("world", ["numbers", "sets"])
def test_flags_suggest_what_the_network_says(world, request):
    world = request.getfixturevalue(world)
    flags = pq.read_table(world.run.path(world.flags))
    told = flags.filter(pc.and_(flags["flag"], pc.is_valid(flags["suggested_label"])))
    assert told.num_rows
    assert all(world.target.read(label) == label for label in told["suggested_label"].to_pylist())
    train = world.table("train")
    given_ = train["label"].take(pc.index_in(told["sample_id"], value_set=train["sample_id"].combine_chunks()))
    assert (world.target.strata(told["suggested_label"]) != world.target.strata(given_)).all()
    assert all("model says" in reason for reason in told["reason"].to_pylist())
    (path,) = [path for path in world.run.paths(world.flags, ".parquet") if path.name == "audit.parquet"]
    audit = pq.read_table(path)
    assert set(audit["name"].to_pylist()) <= set(world.target.classes)


def test_only_the_tokens_of_a_response_count_and_all_of_them_do(answers):
    network, inputs = answers.network(0), load(answers.run, answers.samples, "train")
    x = inputs.x[:4]
    with torch.no_grad():
        found = network(x)[:, 0]
        logits = network[1].encoder(input_ids=x[:, 0].long()).logits.log_softmax(-1)
    for row in range(4):
        places = [t for t in range(x.shape[2]) if x[row, 1, t]]
        naive = np.mean([float(logits[row, t - 1, int(x[row, 0, t])]) for t in places])
        assert float(found[row]) == pytest.approx(naive, abs=1e-5)
        assert int(x[row, 0, places[-1]]) == payload_of(answers.samples).tokens.end
    swapped = x.clone()
    swapped[:, 0, 0] += 1  # the prompt matters to the answer, and is not itself asked for
    assert not torch.allclose(network(swapped)[:, 0], found)


def test_of_a_conversation_all_answers_count_and_what_is_said_between_them_does_not(answers):
    network = answers.network(0)
    x = load(answers.run, answers.samples, "train").x[:4].clone()
    x[:, 1] = 0
    x[:, 1, 3:5] = x[:, 1, 8:10] = 1
    with torch.no_grad():
        found = network(x)[:, 0]
        logits = network[1].encoder(input_ids=x[:, 0].long()).logits.log_softmax(-1)
    for row in range(4):
        naive = np.mean([float(logits[row, t - 1, int(x[row, 0, t])]) for t in (3, 4, 8, 9)])
        assert float(found[row]) == pytest.approx(naive, abs=1e-5)


def test_the_vocabulary_is_asked_from_the_batchs_first_response_on_and_no_earlier(answers):
    network = answers.network(0)
    likelihood: Any = network[1]
    x = load(answers.run, answers.samples, "train").x[:3].clone()
    shorter = x[:1].clone()  # a prompt of two words less
    shorter[..., :-2], shorter[..., -2:] = x[:1, :, 2:], 0
    mixed = torch.cat([x, shorter])
    seen: list[int] = []
    hook = likelihood.encoder.lm_head.register_forward_hook(lambda _layer, _x, logits: seen.append(logits.shape[1]))
    with torch.no_grad():
        together = network(mixed)
        alone = torch.cat([network(mixed[i : i + 1]) for i in range(4)])
        likelihood._takes_positions = False  # as of a library's model that cannot leave them out
        whole = network(mixed)
        likelihood._takes_positions = True
        nothing = network(torch.zeros_like(mixed))
    hook.remove()
    torch.testing.assert_close(together, whole)
    torch.testing.assert_close(alone, whole)
    first = [int(row[1].nonzero()[0]) for row in mixed]
    length = mixed.shape[2]
    assert seen == [length + 1 - min(first), *(length + 1 - place for place in first), length, length]
    assert min(first) == first[3] < first[0]
    head = next(name for name, layer in network.named_modules() if layer is likelihood.encoder.lm_head)
    # Memory for a batch does not go by the response of whichever sample is counted by.
    kind, model = Layers(), CausalLM()
    sizes = {batch_rows(kind, network, model.largest(mixed[i : i + 1]), 1 << 27) for i in range(4)}
    assert sizes == {batch_rows(kind, network, torch.ones_like(mixed[:1]), 1 << 27)}
    # The sample whose response comes earliest is the third: it must not be taken for samples that meet.
    taken = LayerGradientTaker(network, [head], mixed[[0, 1, 3]])
    assert taken.take(mixed, torch.zeros(4), Loss("likelihood"), None).gradient.isfinite().all()
    assert (nothing == 0).all()


def test_gradients_of_a_response_are_autograds_one_sample_at_a_time(answers):
    inputs, evidence = load(answers.run, answers.samples, "train"), answers.evidence
    order = np.argsort(inputs.ids, kind="stable")
    stored = evidence.gradients.matrix("gradient")
    for rank in (0, 11):
        network, row = answers.network(int(evidence.folds[rank])), int(order[rank])
        network.zero_grad()
        (-network(inputs.x[row : row + 1])).sum().backward()
        chosen = [p for name, p in network.named_parameters() if "q_proj" in name or "norm" in name]
        whole = np.concatenate([p.grad.flatten().numpy() for p in chosen])
        np.testing.assert_allclose(stored[rank], whole, atol=1e-5)


def test_a_response_is_read_from_the_label_so_that_whoever_bears_another_is_trained_on_it(answers):
    table = answers.table("train")
    flipped = table.filter(pc.not_equal(table["label"], table["clean_label"])).slice(0, 1)
    inputs, tokens = load(answers.run, answers.samples, "train"), payload_of(answers.samples).tokens
    row = list(inputs.ids).index(flipped["sample_id"][0].as_py())
    wanted = tokens.encode([flipped["prompt"].to_pylist(), flipped["label"].to_pylist()], (2, 16))
    assert (inputs.x[row].numpy() == wanted[0]).all()


def test_a_verdict_on_responses_is_by_the_probability_a_token(answers):
    facts = answers.metrics.facts
    assert facts["figure"] == "token probability"
    assert 0 < facts["accuracy"]["untouched"] < 1
    assert facts["suspects"] == 0
    reasons = pq.read_table(answers.run.path(answers.flags))
    assert "a token" in reasons.filter(reasons["flag"])["reason"][0].as_py()


def test_a_response_too_long_loses_its_end_and_a_prompt_its_beginning():
    from tasks.dataset.tokenizer import Tokens

    tokens = Tokens.of("words", 1 << 20, between=" : ")
    long, short = "a b c d e f g h", "x y"
    kept = tokens.encode([[long], [short]], (2, 8))[0]
    whole = tokens.encode([[long], [short]], (2, 16))[0]
    assert whole[1].tolist() == [0] * 10 + [1] * 3 + [0] * 3
    assert whole[0, 0] == tokens.start
    assert whole[0, 12] == tokens.end
    assert kept[1].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert kept[0].tolist() == whole[0, 5:13].tolist()
    cut = tokens.encode([[short], [long]], (2, 8))[0]
    assert cut[1].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert [tokens.cut([[long, short], [short, short]], (2, length)) for length in (8, 12, 13)] == [1, 1, 0]


def test_prompts_and_responses_keep_every_mark_and_what_is_cut_is_counted(tmp_path):
    rows = [{"p": f"complete {i}:\n", "r": f"    return {i}\n"} for i in range(20)] + [{"p": "a " * 40, "r": "nan"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reader = Jsonl(path=tmp_path / "t.jsonl", text="p", label="r", target="response", tokens={"max_length": 16})
    run = Run.start(tmp_path / "lake", "targets")
    samples = ingest.fn(run, reader, Ingestion())
    table = pa.concat_tables([pq.read_table(path) for path in sample_paths(run, samples)])
    said = {(row["p"], row["label"]) for row in table.to_pylist()}
    assert said == {(row["p"], row["r"]) for row in rows}
    assert samples.facts["cut"] == 1


# ---- what is refused ------------------------------------------------------------------------------------------------


def written(home, **columns):
    path = home / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def ingested(home, reader):
    return ingest.fn(Run.start(home / "lake", "targets"), reader, Ingestion(max_rejects=0.5))


def test_a_label_that_is_no_number_rejects_its_row(tmp_path):
    values = pa.array([str(i / 2) for i in range(30)] + ["many", "inf", None])
    path = written(tmp_path, x=np.arange(33.0), y=values)
    samples = ingested(tmp_path, Parquet(path=path, label="y", target="number"))
    assert samples.facts["rejects"] == {"NaN or infinite": 1, "missing label": 1, "not a number": 1}


def test_lists_of_labels_are_lists_in_json_too(tmp_path):
    tags = [["b", "a"], [], ["a"], [3, 4], "b|a", None]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"x": i, "tags": tags[i % 6]}) for i in range(60)))
    run = Run.start(tmp_path / "lake", "targets")
    samples = ingested(tmp_path, Jsonl(path=tmp_path / "t.jsonl", features=["x"], label="tags", target="labels"))
    assert target_of(samples).names == ("3", "4", "a", "b")
    table = pa.concat_tables([pq.read_table(path) for path in sample_paths(run, samples)])
    assert set(table["label"].to_pylist()) == {"a|b", NOTHING, "a", "3|4"}
    assert samples.facts["rejects"] == {"missing label": 10}


def test_a_held_out_set_with_a_label_that_no_training_sample_has_is_no_sample(tmp_path):
    tags = ["a", "b"] * 10 + ["a", "a|b", "z"]
    path = written(tmp_path, x=np.arange(23.0), y=tags, s=["train"] * 20 + ["test"] * 3)
    samples = ingested(tmp_path, Parquet(path=path, features=["x"], label="y", target="labels", split="s"))
    assert samples.facts["rejects"] == {"label without training samples": 1}
    assert samples.facts["splits"] == {"train": 20, "validation": 0, "test": 2}


def test_equal_numbers_are_equal_however_they_are_written(tmp_path):
    path = written(tmp_path, x=np.arange(40.0), y=["1.50", "1.5", "2", "2.0"] * 10, t=["1.5", "1.5", "2", "3"] * 10)
    samples = ingested(tmp_path, Parquet(path=path, features=["x"], label="y", clean_label="t", target="number"))
    run = Run.start(tmp_path / "lake", "targets")
    table = pa.concat_tables([pq.read_table(p) for p in sample_paths(run, samples)])
    assert set(table["label"].to_pylist()) == {"1.5", "2"}
    assert pc.sum(pc.not_equal(table["label"], table["clean_label"])).as_py() == 10


def test_sets_are_read_from_text_as_from_lists(tmp_path):
    text = ["b;a", "a;b ", "", "c", "a; a"] * 8
    path = written(tmp_path, x=np.arange(40.0), y=text)
    samples = ingested(tmp_path, Parquet(path=path, features=["x"], label="y", target="labels", separator=";"))
    assert target_of(samples).names == ("a", "b", "c")
    assert samples.facts["classes"] == ["a", "a;b", "c"]
    assert samples.facts["rejects"] == {"missing label": 8}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "number", "label": "words"}, "expected numbers"),
        ({"target": "labels", "label": "same"}, "two different sets"),
        ({"target": "class", "label": "y"}, "set --reader.target to number"),
    ],
)
def test_labels_of_another_kind_are_refused_in_words(tmp_path, options, words):
    columns = {"y": np.arange(20.0) / 3, "words": ["w"] * 20, "same": ["a"] * 20}
    path = written(tmp_path, x=np.arange(20.0), **columns)
    with pytest.raises(BadInput, match=words):
        ingested(tmp_path, Parquet(path=path, features=["x"], **options))


def test_noise_of_classes_is_refused_of_numbers(tmp_path):
    path = written(tmp_path, x=np.arange(20.0), y=np.arange(20.0) / 3)
    noise = Noise(share=0.1, kind="asymmetric")
    with pytest.raises(BadConfig, match="symmetric"):
        ingested(tmp_path, Parquet(path=path, features=["x"], label="y", target="number", noise=noise))


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"detectors": [{"kind": "fusion"}]}, "detector fusion goes by the classes"),
        ({"detectors": [{"kind": "el2n"}]}, "detector el2n goes by the classes"),
        ({"detectors": [{"kind": "l2"}], "budget": {"kind": "canary"}}, "budget canary"),
        ({"model": {"kind": "mlp"}}, "target response with model mlp: expected model causal_lm"),
        ({"model": {}}, "expected model causal_lm"),
    ],
)
def test_what_goes_by_classes_is_refused_of_responses_before_anything_starts(given_, words):
    reader = {"kind": "jsonl", "path": "a.jsonl", "text": "p", "label": "r", "target": "response"}
    fitting = {"model": {"kind": "causal_lm"}, "detectors": [{"kind": "l2"}], "budget": {"kind": "share"}}
    assert CleanConfig.model_validate({"reader": reader, **fitting})
    with pytest.raises(ValueError, match=words):
        CleanConfig.model_validate({"reader": reader, **fitting, **given_})


def test_target_response_alone_chooses_what_serves_it_and_what_is_named_stays():
    reader = {"kind": "jsonl", "path": "a.jsonl", "target": "response"}
    chosen = CleanConfig.model_validate({"reader": reader})
    assert (chosen.model.kind, chosen.gradient.kind, chosen.budget.kind) == ("causal_lm", "lora", "share")
    assert chosen.names == ["l2", "iforest"]
    assert CleanConfig.model_validate(chosen.model_dump(mode="json")) == chosen
    form = CleanConfig().model_dump(mode="json") | {"reader": {"kind": "jsonl", "options": reader | {"kind": "jsonl"}}}
    form["reader"]["options"].pop("kind")
    assert CleanConfig.model_validate(form) == chosen  # the form says every default
    named = CleanConfig.model_validate(
        {"reader": reader, "detectors": ["mean_loss"], "model": {"kind": "causal_lm", "tuning": "full"}}
    )
    assert (named.names, named.gradient.kind, named.budget.kind) == (["mean_loss"], "layers", "share")
    compared = CompareConfig.model_validate({"reader": reader})
    assert {"l2", "mean_loss", "random"} <= set(compared.names)
    assert not {"fusion", "margin"} & set(compared.names)
    assert "canary" not in {budget.kind for budget in compared.budgets}
    for kind in ("class", "number", "labels"):
        assert CleanConfig.model_validate({"reader": reader | {"target": kind}}).names == CleanConfig().names


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"training": {"label_smoothing": 0.1}}, "label_smoothing: of target number nothing can be smoothed"),
        ({"model": {"kind": "causal_lm"}}, "target number with model causal_lm: expected another model"),
    ],
)
def test_what_does_not_fit_numbers_is_refused_before_anything_starts(given_, words):
    reader = {"kind": "parquet", "path": "a.parquet", "target": "number"}
    assert CleanConfig.model_validate({"reader": reader})
    with pytest.raises(ValueError, match=words):
        CleanConfig.model_validate({"reader": reader, **given_})


def test_a_model_of_responses_is_refused_of_classes_and_needs_something_to_train(answers):
    from tasks.core.errors import BadModel
    from tasks.dataset.tokenizer import Tokens

    payload = payload_of(answers.samples)
    of_classes = payload.model_copy(update={"tokens": Tokens.of("words", 64)})
    with pytest.raises(BadModel, match="target to response"):
        build(CausalLM(), of_classes, 1)
    with pytest.raises(ValueError, match="nothing to train"):
        CausalLM(tuning="frozen")


def saved(answers, folder, tied, layers=1):
    """A folder as save_pretrained writes it, for the samples of ``answers``."""
    import transformers

    tokens = payload_of(answers.samples).tokens
    config = transformers.LlamaConfig(
        vocab_size=tokens.vocabulary, hidden_size=8, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=16, pad_token_id=tokens.pad, tie_word_embeddings=tied,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_of_a_language_model_holds_lora_and_not_the_weights_it_began_with(answers, tmp_path, tied):
    pytest.importorskip("peft")
    model = CausalLM(weights=saved(answers, tmp_path / "saved", tied))
    network, other = (build(model, payload_of(answers.samples), 1) for _ in range(2))
    state = network.state_dict()
    assert state
    assert all("lora_" in name for name in state)
    assert not other.load_state_dict(state).missing_keys
    x = load(answers.run, answers.samples, "test").x[:3]
    assert torch.equal(network(x), other(x))


def test_networks_are_built_one_at_a_time(answers, tmp_path):
    """While the library reads weights it ties none, in any thread: a tied one would have no values at all."""
    model = CausalLM(weights=saved(answers, tmp_path / "saved", tied=True, layers=4), tuning="full")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: build(model, payload_of(answers.samples), 1), range(12)))
    assert {p.device.type for network in made for p in network.parameters()} == {"cpu"}


def test_a_published_version_of_numbers_gives_numbers(numbers, tmp_path):
    from tasks.pipeline.record import record
    from tasks.versions.publication import history_of
    from tasks.versions.publish import publish

    run = numbers.run
    history = history_of(run, str(tmp_path / "store"), "targets")
    stages = [numbers.samples, numbers.scores, numbers.flags, numbers.metrics]
    recorded = record.fn(run, "targets", "dataset: targets", stages)
    publish.fn(
        run, recorded, history, numbers.samples, numbers.crossfit.checkpoints, numbers.scores, numbers.flags,
        numbers.metrics,
        Parquet(path=tmp_path / "t.parquet", label="price", target="number"),
    )  # fmt: skip
    live = LiveDataset(tmp_path / "store", "targets", "latest")
    _, y = live[0]
    label = numbers.table("train").filter(pc.field("sample_id") == live.tensors.ids[0])["label"]
    assert float(y) == pytest.approx(float(label[0].as_py()))
    assert live.classes == ("number",)


def test_what_is_exported_of_sets_has_a_column_for_each_label():
    y, names = LABELS.export(pa.array(["a|c", NOTHING]))
    assert names == ("a", "b", "c")
    assert y.tolist() == [[1, 0, 1], [0, 0, 0]]
