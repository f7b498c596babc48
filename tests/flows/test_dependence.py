"""A step is run when what it depends on has changed, and only then; one that is switched off is not run at all."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from kept_states import State

from tasks.versions.object_store import Objects

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


def cleaning(gradsieve, home):
    """Clean ``a.csv`` of a folder into its lake → the stages recomputed."""

    def run(*options):
        done = gradsieve(
            "clean", "--lake", str(home / "lake"), "--reader.path", str(home / "a.csv"), "--reader.label=kind",
            "--reader.split=part", "--folds=2", "--training.epochs=2", "--detectors=l2", "--budget.kind=share",
            "--verification.seeds=1", *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (made,) = re.findall(r"recomputed (.*?); \d+ of \d+ stage results unchanged", done.stdout)
        return {word.partition(" × ")[0] for word in made.split(", ")}

    return run


@pytest.fixture(scope="module")
def once(gradsieve, tmp_path_factory):
    """``a.csv`` and a lake in which it was cleaned once, with what that computed; kept as it is then."""
    home = tmp_path_factory.mktemp("once") / "home"
    home.mkdir()
    write(home / "a.csv")
    made = cleaning(gradsieve, home)()
    return State((home, made), home, Objects(home / "lake" / "versions"))


@pytest.fixture
def first(once, gradsieve):
    """(the folder of both as they were after the first cleaning, what that computed, how to clean once more)."""
    home, made = once.get()
    return home, made, cleaning(gradsieve, home)


def test_a_changed_test_row_trains_no_fold_and_scores_nothing_anew_a_training_row_does(first):
    of_training = {"folds", "votes", "canaries", "checkpoints", "gradients", "scores", "flags"}
    home, made, clean = first
    assert of_training <= made
    write(home / "a.csv", changed=ROWS - 1)
    assert clean() == {"samples", "copies", "examination", "predictions", "metrics", "version"}
    write(home / "a.csv", changed=0)
    assert of_training - {"canaries"} <= clean()


def test_nights_without_news_score_and_prove_nothing_anew(first):
    """Each builds upon another run; what it takes over is the same."""
    *_, clean = first
    clean("--base=latest")
    assert not {"scores", "flags", "predictions", "metrics"} & clean("--base=latest")


def test_a_step_that_is_off_is_not_run_and_leaves_no_table(gradsieve, tmp_path):
    write(tmp_path / "a.csv")
    assert not {"canaries", "drift", "search", "traced"} & cleaning(gradsieve, tmp_path)("--canaries.share=0")
    (run,) = (tmp_path / "lake" / "runs").glob("a-*")
    assert not [path for name in ("canaries", "drift", "search", "traced") for path in run.glob(f"{name}.parquet")]


def test_a_flipped_bit_in_any_intermediate_file_is_not_used_but_made_again_and_changes_nothing_after_it(
    first,
):
    home, _, clean = first
    cache, (run,) = home / "lake" / "cache", (home / "lake" / "runs").glob("a-*")
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
    assert list((home / "lake" / "runs").glob("a-*")) == [run]
