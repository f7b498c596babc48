"""Kernels need torch and numpy, and nothing else that this project installs."""

import subprocess
import sys
from pathlib import Path

import tasks

SCRIPT = """
import sys
blocked = "jaxtyping beartype pydantic pyarrow prefect duckdb sklearn scipy pyod PIL rich".split()
sys.modules.update(dict.fromkeys(blocked))
import numpy as np, torch
from torch import nn
from tasks.kernels.attention import attend, input_weights
from tasks.kernels.augment import crop_flip
from tasks.kernels.bins import Bins, bins_of
from tasks.kernels.calibration import calibration_error
from tasks.kernels.canaries import ClassVotes, planted_labels, planting_networks
from tasks.kernels.checkpoints import combine
from tasks.kernels.curvature import Fisher
from tasks.kernels.curves import precision_recall, expected_flags as top
from tasks.kernels.dawid_skene import confusions, log_odds_wrong
from tasks.kernels.dynamics import Dynamics
from tasks.kernels.factors import Dense
from tasks.kernels.folds import assign_folds
from tasks.kernels.forest import Layout, Tree, lay_out, path_lengths
from tasks.kernels.functional import sample_gradients
from tasks.kernels.gradients import FactorGradients
from tasks.kernels.grams import Gram
from tasks.kernels.head import head_gradient
from tasks.kernels.influence import exact, self_influence
from tasks.kernels.krylov import krylov
from tasks.kernels.confusions import anywhere
from tasks.kernels.label_pools import fit_pools
from tasks.kernels.lapses import consensus, fit_lapses, label_evidence, lapse_chance
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.margins import margin, self_confidence
from tasks.kernels.near_pairs import near_hashes
from tasks.kernels.neighbours import comparable, nearest, votes
from tasks.kernels.noise import InstanceTargets, flip_labels, flip_rates
from tasks.kernels.norms import factored_norms
from tasks.kernels.outer import joined_outer
from tasks.kernels.paired import bootstrap
from tasks.kernels.pools import observe
from tasks.kernels.positions import seen
from tasks.kernels.precision import running_in
from tasks.kernels.projections import Projection, johnson_lindenstrauss
from tasks.kernels.ranking import average_precision, precision_at, roc_auc
from tasks.kernels.rarity import confirmed_neighbours, far_from_class
from tasks.kernels.rules import UnfitLayer, refuse_unknown
from tasks.kernels.sites import Sites
from tasks.kernels.set_errors import forgotten_share
from tasks.kernels.shifts import Convolution
from tasks.kernels.stack_trial import can_stack
from tasks.kernels.stacked import Stack
from tasks.kernels.tails import few_that_weigh
from tasks.kernels.suggestion import suggest_labels
from tasks.kernels.survey_sampling import hajek_share, systematic_sample
from tasks.kernels.tokens import bag, rarity
from tasks.kernels.tracing import shares_alike, trace_scores
from tasks.kernels.transfer import HostCopy, send
from tasks.kernels.transitions import label_flow, pairs_of, transitions
from tasks.kernels.wrongness import chances, strata_of, tally
cpu, x, y = torch.device("cpu"), torch.ones(2, 4), torch.tensor([0, 1])
taken = head_gradient(torch.zeros(2, 3), x, y, Loss(), bias=True)
residual, features = (factor.unsqueeze(1) for factor in taken)
l1, l2 = factored_norms(residual, features, "sum")
built = joined_outer(residual, features, "stack")
assert torch.allclose(built.abs().sum(1), l1) and torch.allclose(built.norm(dim=1), l2)
assert torch.allclose(Dense(residual, features).squares(), l2.square())
held = FactorGradients(residual, features, "sum")
assert torch.allclose(held.squares().float(), l2.square()) and exact(held, Fisher(held), 0.1)[0] < 0
assert (self_influence(held, Fisher(held), 0.1) > 0).all()
assert torch.allclose(combine([taken._asdict()], [None], "average").l2, l2)
network = nn.Sequential(nn.Linear(4, 3)).eval()
sites = Sites(network, ["0"], x)
assert sites.size == 15 and list(sites.by_key) == ["0"] and sites.layouts == {"0": [(0, 1)]}
with running_in("fp32", cpu):
    whole = LayerGradientTaker(network, ["0"], x).take(x, y, Loss(), None).gradient
    sketch = LayerGradientTaker(network, ["0"], x).take(x, y, Loss(), Projection("kronecker", 4, 0, cpu)).gradient
assert torch.allclose(whole, sample_gradients(network, ["0.weight", "0.bias"], Loss(), None)(x, y)[0], atol=1e-6)
assert sketch.shape == (2, 4) and johnson_lindenstrauss(2) > 4
attention = nn.MultiheadAttention(4, 1, batch_first=True).eval()
rows = lambda which: slice(input_weights(attention)[which][1], input_weights(attention)[which][1] + 4)
mixed, _ = attend(attention, lambda which, side: side @ attention.in_proj_weight[rows(which)].T, *[x[None]] * 3)
assert torch.allclose(mixed, attention(*[x[None]] * 3)[0], atol=1e-6)
try:
    refuse_unknown("memory", nn.LSTM(2, 2))
except UnfitLayer as error:
    assert error.name == "memory"
else:
    raise AssertionError("not refused")
words = bag(torch.tensor([[5, 5, 0], [7, 0, 0]]), pad=0, width=64)
assert torch.allclose(words.abs().sum(1), torch.tensor([2**0.5, 1.0])) and rarity(words).max() > 0
assert trace_scores(torch.eye(2), torch.eye(2), damping=None, cosine=True).equal(torch.eye(2))
assert shares_alike(np.eye(2), np.eye(2, dtype=bool))[0].tolist() == [1, 1]
assert torch.equal(HostCopy({"x": send(x, cpu)}).wait()["x"], x)
assert crop_flip(torch.ones(2, 1, 4, 4), pad=1, generator=torch.Generator().manual_seed(0)).shape == (2, 1, 4, 4)
assert sorted(assign_folds(np.array(["a", "b"]), np.array([0, 0]), 2)) == [0, 1]
assert flip_labels(np.array([0]), np.zeros(1), np.zeros(1), share=1.0, classes=2, symmetric=True).tolist() == [1]
assert InstanceTargets(4, 2, 0, centre=True)(np.eye(4), np.ones(4, int), np.zeros(4)).tolist() == [0] * 4
assert abs(flip_rates(np.full(1, 0.5), share=0.5)[0] - 0.5) < 1e-12
s, w = np.array([2.0, 1.0]), np.array([True, False])
assert average_precision(s, w) == roc_auc(s, w) == precision_at(s, w, 1) == 1.0
assert top(s, 1).tolist() == [1.0, 0.0] and precision_recall(s, w, 2)[1][0] == 1.0
assert suggest_labels(np.eye(2), np.eye(2), np.array([0, 0]))[0][1] == 1
two = np.array([0, 0])
assert not far_from_class(np.eye(2)[two], two, two, 0.5).any()
assert near_hashes(np.array([0, 1, 255], np.uint64), 1).first.tolist() == [0]
assert confirmed_neighbours(np.array([[1], [0]]), two, two, 1).tolist() == [1, 1]
assert systematic_sample(np.array([0.5, 0.5, 1.0]), 0.7).tolist() == [1, 2] and hajek_share(w, s / 2).value == 1 / 3
stump = Tree(*np.array([[0, -2, -2], [0, 0, 0], [1, -1, -1], [2, -1, -1], [0, 1, 1], [3, 1, 2]]))
assert path_lengths(lay_out([stump], Layout("sum", 0, 1, 1)), None, np.ones((1, 1), "f")).tolist() == [2.0]
line = torch.tensor([[0.0], [1.0], [2.0]])
line = comparable(line, scale=True, unit=False, width=8, seed=0)(line)
(_, near, _), = nearest(line, line, torch.arange(3), 1)
assert near[0] == 1 and near[2] == 1 and votes(near, torch.tensor([0, 1, 0]), 2)[0].tolist() == [0.0, 1.0]
assert bins_of(line, 1) is None and next(Bins(line, 1).nearest(line, torch.arange(3)))[1].shape == (3, 1)
z, c = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([0, 0])
assert margin(z, c).tolist() == [-1.0, 2.5] and self_confidence(z / 10, c).tolist() == [0.8, 0.95]
usual = ClassVotes(c, 2)
usual.add(c, z)
assert planted_labels(c, z, usual.means(), np.array([0, 2]), np.zeros(2)).tolist() == [1, 1]
assert planting_networks(np.array([0]), np.array([[0.0, 0.9, 0.1]])).tolist() == [[False, False, True]]
seen = Dynamics(2, 1, 1, cpu)
seen.note(y, torch.eye(2), y, torch.ones(2))
assert seen.means()["aum"].tolist() == [1.0, 1.0]
said = np.array([[0, 0, 0], [1, 1, 0]])
assert log_odds_wrong(said, confusions(said, 2), said[:, 2]).argmax() == 1
assert label_flow(np.eye(2), transitions(pairs_of(c, c, c, 2)), np.array([0, 1])).shape == (2,)
both = strata_of(np.arange(4.0), 2)
counts = tally(both, w[[0, 1, 0, 1]], w[[1, 1, 1, 1]], both[:0], w[:0], 2)
assert chances(counts).contradicted.tolist() == [1.0, 1.0]
assert few_that_weigh(np.r_[np.zeros(40), 9.0]).sum() == 1
assert consensus(np.eye(2), np.eye(2))[0].tolist() == [0, 1] and fit_lapses(z, c > 0).rate == 0.0
assert lapse_chance(0.5, z[0], z[:, :1]).shape == (2,) and label_evidence(np.eye(2), np.eye(2), c) == 0.0
both = observe(np.eye(2), np.eye(2), c * 0, None)
assert anywhere(both).tolist() == [[0.0, 1.0], [1.0, 0.0]]
assert fit_pools(np.eye(2), np.eye(2), c * 0).lapses.low == 0.0
assert all(sys.modules[name] is None for name in blocked)
print("ran")
"""


def test_every_kernel_runs_without_the_rest_of_the_project():
    root = Path(tasks.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran\n"


def test_every_kernel_is_in_that_script():
    root = Path(tasks.__file__).parent / "kernels"
    kernels = {path.stem for path in root.glob("*.py")} - {"__init__", "axes", "pieces"}
    assert kernels == {name for name in kernels if f"from tasks.kernels.{name} import" in SCRIPT}
