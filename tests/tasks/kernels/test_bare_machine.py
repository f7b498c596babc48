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
from tasks.kernels.attention import attend
from tasks.kernels.augment import crop_flip
from tasks.kernels.checkpoints import combine
from tasks.kernels.factors import Dense
from tasks.kernels.folds import assign_folds
from tasks.kernels.functional import sample_gradients
from tasks.kernels.head import head_gradient
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.noise import flip_labels
from tasks.kernels.norms import factored_norms
from tasks.kernels.outer import joined_outer
from tasks.kernels.precision import running_in
from tasks.kernels.projections import Projection
from tasks.kernels.rules import refuse_batch_statistics
from tasks.kernels.transfer import Arriving, send
from tasks.kernels.ranking import average_precision, precision_at, roc_auc
cpu = torch.device("cpu")
y = torch.tensor([0, 1])
head = head_gradient(torch.zeros(2, 3), torch.ones(2, 4), y, Loss(), bias=True)
dense = joined_outer(head.residual.unsqueeze(1), head.features.unsqueeze(1), "sum")
combined = combine([head._asdict()], [None], "average")
assert torch.allclose(combined.l1, dense.abs().sum(1)) and torch.allclose(combined.l2, dense.norm(dim=1))
assert factored_norms(head.residual.unsqueeze(1), head.features.unsqueeze(1), "stack")[1].equal(combined.l2)
network = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
refuse_batch_statistics(network)
x = send(torch.randn(2, 4), cpu)
with running_in("fp32", cpu):
    taken = LayerGradientTaker(network, ["0", "2"], x).take(x, y, Loss(), Projection("kronecker", 16, 0, cpu))
whole, _ = sample_gradients(network, [n for n, _ in network.named_parameters()], Loss(), None)(x, y)
assert torch.allclose(taken.squares.sum(1), whole.square().sum(1)) and taken.gradient.shape == (2, 16)
assert Arriving({"a": taken.gradient}).wait()["a"].equal(taken.gradient)
assert attend is not None and Dense(torch.ones(1, 2, 3), torch.ones(1, 2, 4)).squares().tolist() == [48.0]
assert crop_flip(torch.ones(2, 1, 4, 4), pad=1, generator=torch.Generator().manual_seed(0)).shape == (2, 1, 4, 4)
assert sorted(assign_folds(np.array(["a", "b"]), np.array([0, 0]), 2)) == [0, 1]
assert flip_labels(np.array([0]), np.zeros(1), np.zeros(1), share=1.0, classes=2, symmetric=True).tolist() == [1]
s, w = np.array([2.0, 1.0]), np.array([True, False])
assert average_precision(s, w) == roc_auc(s, w) == precision_at(s, w, 1) == 1.0
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
    kernels = {path.stem for path in root.glob("*.py")} - {"__init__", "axes"}
    assert kernels == {name for name in kernels if f"from tasks.kernels.{name} import" in SCRIPT}
