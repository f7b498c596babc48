"""A CIFAR ResNet by the paper's recipe, and by the fast one in a tenth of its epochs: same network, images and process.

    python tests/benchmarks/fast_retraining.py --bench FOLDER [--label aggre] [--seeds 2] [--scale small|paper]

Both recipes are the files in deployments/recipes, their epochs scaled. ``small`` is for one thread of a CPU: 5,000 +
1,000 images of CIFAR-10 (cifar10n-mini) at 16 × 16 pixels, a ResNet-18 of an eighth of the channels; what the recipes
adapt to that is printed. ``paper`` is ResNet-34, 50,000 + 10,000 images, 100 epochs, for a GPU.
Accuracy is of the last epoch on the true labels of the test images, after training under the labels people gave.
``--held-out`` instead trains on four fifths of the training images and tests on the others under their *given* labels:
whatever is tuned is tuned there.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from timing import machine

from tasks.core import devices
from tasks.dataset import images
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target
from tasks.training.fit import fit, predict
from tasks.training.models import Model
from tasks.training.models.resnet import ResNet18, ResNet34
from tasks.training.recipe import Recipe, Training

RECIPES = Path(__file__).resolve().parents[2] / "deployments" / "recipes"
TARGET = Target(classes=tuple(str(i) for i in range(10)))
TENTH = 10


class Scale(NamedTuple):
    """What is trained on what, and what both recipes must adapt to it."""

    folder: str
    truth: str
    """The column of the test images' labels."""
    pixels: int
    model: Model
    epochs: int
    """Of the paper's recipe; the fast one has a tenth."""
    paper: dict[str, Any]
    fast: dict[str, Any]


SCALES = {
    # Half the pixels: half the padding. A tenth of the images: smaller batches, or the fast recipe has few steps.
    # On a CPU without bf16 arithmetic autocast only costs, and a compilation takes longer than the training.
    "small": Scale(
        "cifar10n-mini", "label", 16, ResNet18(width=8), 60,
        {"augment_pad": 2},
        {"augment_pad": 1, "batch_size": 32, "precision": "fp32", "compile": False},
    ),
    "paper": Scale("cifar10n-images", "clean", 32, ResNet34(), 100, {}, {}),
}  # fmt: skip


class Split(NamedTuple):
    """Images, n × 3 × pixels × pixels bytes, and their classes."""

    x: torch.Tensor
    y: torch.Tensor

    @property
    def inputs(self) -> Inputs:
        """As training and prediction take them."""
        return Inputs(np.array([f"{i:05d}" for i in range(len(self.y))], dtype=object), self.y, self.x)


class Trained(NamedTuple):
    """What one training came to."""

    accuracy: float
    samples: int
    """That went forward and backward through the network."""
    seconds: float


def split_of(path: Path, label: str, pixels: int) -> Split:
    """Decoded, and averaged down to ``pixels``."""
    table = pq.read_table(path, columns=["image", label])
    decoded = [images.decode(data, (3, 32, 32), resize=False) for data in table["image"].to_pylist()]
    x = torch.from_numpy(np.stack(decoded))
    if pixels < 32:
        x = torch.nn.functional.avg_pool2d(x.float(), 32 // pixels).round().byte()
    return Split(x, torch.from_numpy(table[label].to_numpy().astype(np.int64)))


def recipe(name: str, epochs: int, own: dict[str, Any]) -> Training:
    """The recipe of a file, with the scale's epochs and whatever else is its own."""
    read = yaml.safe_load((RECIPES / f"cifar-{name}.yaml").read_text())["training"]
    return Training.model_validate(read | {"epochs": epochs} | own)


def trained(model: Model, training: Training, train: Split, test: Split, seed: int) -> Trained:
    """Train once, test the last epoch.

    Seconds are those of the training, compilation included: by the clock on a GPU, of the processor without one, so
    that what else the machine does is not counted.
    """
    payload = Payload(kind="array", columns=("image",), shape=tuple(train.x.shape[1:]), dtype="uint8")
    rows = np.arange(len(train.y))
    device = devices.resolve(training.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    network = fit(
        Recipe(model=model, training=training), payload, TARGET, train.inputs, rows, seed=seed, label=f"seed {seed}"
    )
    seconds = clock() - start
    said = predict(network, test.inputs, device, TARGET, training.objective(TARGET))
    right = TARGET.strata(said.label) == test.y.numpy()
    return Trained(float(right.mean()), len(rows) * training.epochs, seconds)


def told(values: list[float], unit: str) -> str:
    """Mean, and each."""
    return f"{np.mean(values):.1f}{unit} ({', '.join(f'{value:.1f}' for value in values)})"


def main() -> None:
    """Both recipes by turns, seed by seed, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=os.environ.get("GRADSIEVE_BENCH"))
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--label", default="aggre", help="column of the training labels: aggre, worse, clean")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--held-out", action="store_true", help="on training images alone, under their given labels")
    parser.add_argument("--fast", type=yaml.safe_load, default={}, help="options to try in the fast recipe: '{lr: .2}'")
    parser.add_argument("--only", choices=["paper", "fast"])
    asked = parser.parse_args()
    if asked.bench is None:
        parser.error("--bench FOLDER, or GRADSIEVE_BENCH: the folder that holds cifar10n-mini or cifar10n-images")
    scale = SCALES[asked.scale]
    home = Path(asked.bench) / scale.folder
    train = split_of(home / "train.parquet", asked.label, scale.pixels)
    if asked.held_out:
        kept = len(train.y) * 4 // 5
        train, test = Split(train.x[:kept], train.y[:kept]), Split(train.x[kept:], train.y[kept:])
    else:
        test = split_of(home / "test.parquet", scale.truth, scale.pixels)
    recipes = {
        "paper": recipe("paper", scale.epochs, scale.paper),
        "fast": recipe("fast", scale.epochs // TENTH, scale.fast | asked.fast),
    }
    if asked.only:
        recipes = {asked.only: recipes[asked.only]}
    device = devices.resolve("auto")
    about = machine(device, torch.get_num_threads())
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    where = "held-out training images, given labels" if asked.held_out else "test images"
    print(
        f"{scale.model!r}, {len(train.y):,} images of {scale.pixels} px under {asked.label!r}; {len(test.y):,} {where}"
    )
    for name, training in recipes.items():
        print(f"{name}: {training.model_dump(mode='json', exclude={'device', 'seed', 'loss'})}", flush=True)
    found: dict[str, list[Trained]] = {name: [] for name in recipes}
    for seed in range(asked.seeds):
        for name, training in recipes.items():
            found[name].append(trained(scale.model, training, train, test, seed))
            one = found[name][-1]
            print(f"  seed {seed}, {name}: {100 * one.accuracy:.1f} %, {one.seconds:.0f} s", flush=True)
    for name, several in found.items():
        accuracy, seconds = [100 * one.accuracy for one in several], [one.seconds for one in several]
        print(f"{name}: accuracy {told(accuracy, ' %')}, {several[0].samples:,} samples, {told(seconds, ' s')}")
    if len(found) == 2:
        paper, fast = found["paper"], found["fast"]
        gain = [100 * (b.accuracy - a.accuracy) for a, b in zip(paper, fast, strict=True)]
        compute = fast[0].samples / paper[0].samples
        seconds = sum(one.seconds for one in fast) / sum(one.seconds for one in paper)
        print(f"fast less paper: {told(gain, ' points')}; compute {compute:.3f}, seconds {seconds:.3f} of the paper's")


if __name__ == "__main__":
    main()
