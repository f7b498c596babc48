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
from tasks.kernels.augment import crop_flip
from tasks.kernels.folds import assign_folds
from tasks.kernels.head import head_gradient
from tasks.kernels.noise import flip_labels
from tasks.kernels.norms import rank_one_norms
from tasks.kernels.outer import dense_gradient
from tasks.kernels.ranking import average_precision, precision_at, roc_auc
taken = head_gradient(torch.zeros(2, 3), torch.ones(2, 4), torch.tensor([0, 1]), bias=True)
l1, l2 = rank_one_norms(taken.residual, taken.features)
out = np.empty((2, 15), np.float32)
dense_gradient(taken.residual.numpy(), taken.features.numpy(), out)
assert np.allclose(np.abs(out).sum(1), l1.numpy()) and np.allclose(np.linalg.norm(out, axis=1), l2.numpy())
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
