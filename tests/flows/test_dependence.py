"""A step is run when what it depends on has changed, and only then; one that is switched off is not run at all."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

ROWS, TEST = 160, 40


def write(path, changed=None):
    """Two classes of points, the last rows for the test; one row may bear another number."""
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % 2
    x = rng.normal(size=(ROWS, 3)).round(3) + 2 * y[:, None]
    if changed is not None:
        x[changed, 0] += 0.125
    split = ["train"] * (ROWS - TEST) + ["test"] * TEST
    lines = [f"{a},{b},{c},{'ab'[k]},{part}" for (a, b, c), k, part in zip(x, y, split, strict=True)]
    path.write_text("\n".join(["x,y,z,kind,part", *lines]) + "\n")


@pytest.fixture
def clean(gradsieve, tmp_path):
    def run(*options):
        done = gradsieve(
            "clean", "--lake", str(tmp_path / "lake"), "--reader.path", str(tmp_path / "a.csv"), "--reader.label=kind",
            "--reader.split=part", "--folds=2", "--training.epochs=2", "--detectors=l2", "--budget.kind=share",
            "--verification.seeds=1", *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (made,) = re.findall(r"recomputed (.*?); \d+ of \d+ stage results unchanged", done.stdout)
        return {word.partition(" × ")[0] for word in made.split(", ")}

    return run


def test_a_changed_test_row_trains_no_fold_and_scores_nothing_anew_a_training_row_does(clean, tmp_path):
    of_training = {"folds", "votes", "canaries", "checkpoints", "gradients", "scores", "flags"}
    write(tmp_path / "a.csv")
    assert of_training <= clean()
    write(tmp_path / "a.csv", changed=ROWS - 1)
    assert clean() == {"samples", "copies", "examination", "predictions", "metrics", "version"}
    write(tmp_path / "a.csv", changed=0)
    assert of_training - {"canaries"} <= clean()


def test_nights_without_news_score_and_prove_nothing_anew(clean, tmp_path):
    """Each builds upon another run; what it takes over is the same."""
    write(tmp_path / "a.csv")
    clean()
    clean("--base=latest")
    assert not {"scores", "flags", "predictions", "metrics"} & clean("--base=latest")


def test_a_step_that_is_off_is_not_run_and_leaves_no_table(clean, tmp_path):
    write(tmp_path / "a.csv")
    assert not {"canaries", "drift", "search", "traced"} & clean("--canaries.share=0")
    (run,) = (tmp_path / "lake" / "runs").glob("a-*")
    assert not [path for name in ("canaries", "drift", "search", "traced") for path in run.glob(f"{name}.parquet")]


def test_a_flipped_bit_in_any_intermediate_file_is_not_used_but_made_again_and_changes_nothing_after_it(
    clean, tmp_path
):
    write(tmp_path / "a.csv")
    clean()
    cache, (run,) = tmp_path / "lake" / "cache", (tmp_path / "lake" / "runs").glob("a-*")
    damaged = {
        "samples": "samples/train-*.parquet",
        "checkpoints": "checkpoints/*.pt",
        "gradients": "gradients/*.arrow",
    }
    for stage, name in damaged.items():
        path = min(cache.glob(f"{stage}-*/{name}"))
        data, status = bytearray(path.read_bytes()), path.stat()
        data[len(data) // 2] ^= 1
        # Written anew: the run's own folder holds hard links to the cache's files.
        path.unlink()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert clean() == {"samples", "checkpoints", "gradients"}
    assert len(list(cache.glob("*.damaged-*"))) == 3
    # All came out as it was, to the byte: what follows was not computed anew, and the run is the same one.
    assert list((tmp_path / "lake" / "runs").glob("a-*")) == [run]
