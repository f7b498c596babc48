"""The gate, from end to end: what helps is promoted; what does not stays a candidate, and current where it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.versions.history import History
from tasks.versions.object_store import Objects

REPOSITORY = Path(__file__).resolve().parents[2]

OPTIONS = [
    "--reader.kind=digits",
    "--reader.limit=900",
    "--promotion=gate",
    "--model.kind=mlp",
    "--training.epochs=8",
    "--folds=3",
    "--canaries.share=0",
    "--budget.kind=share",
    # Some twenty test samples a class: one of them is five percent.
    "--verification.class-loss=0.2",
]
# So many that, without as many of the right ones, the wrong ones are more.
NOISY = ["--reader.noise.share=0.35", "--reader.noise.kind=asymmetric", "--budget.share=0.45"]

INVERTED = '''"""The margin turned upside down: the surest labels look most suspect."""

from typing import ClassVar, Literal

from tasks.scoring.detectors import Detector


class Inverted(Detector, kind="inverted"):
    """Minus the margin."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)

    def score(self, evidence):
        """In nats."""
        from tasks.kernels.margins import margin

        return -margin(evidence.logits, evidence.labels)
'''


@pytest.fixture(scope="module")
def clean(tmp_path_factory, gradsieve):
    """A run with one detector, in a copy of the code that has an inverted one besides: the history and the text."""
    home = tmp_path_factory.mktemp("gate")
    for package in ("flows", "tasks"):
        shutil.copytree(REPOSITORY / package, home / package)
    (home / "tasks" / "scoring" / "detectors" / "inverted.py").write_text(INVERTED)

    def run(lake: Path, detector: str, *options: str) -> tuple[History, str]:
        arguments = ["clean", "--lake", str(lake), *OPTIONS, f"--detectors={detector}", *options]
        done = gradsieve(*arguments, cwd=home)
        assert done.returncode == 0, done.stderr
        return History(Objects(lake / "versions"), "digits"), done.stdout

    return run


def word_of(history: History) -> str:
    newest = history.newest("cleaned")
    assert newest is not None
    assert newest.verdict is not None
    return newest.verdict["word"]


def test_what_helps_is_promoted_and_what_harms_afterwards_does_not_move_current(clean, tmp_path):
    history, text = clean(tmp_path, "margin", *NOISY)
    assert word_of(history) == "helps"
    assert history.tags() == {"current": "v0002"}
    assert "verdict: helps" in text
    assert text.count("helps") >= 3  # the verdict, and the interval against each of the controls

    history, text = clean(tmp_path, "inverted", *NOISY)
    assert word_of(history) == "harms"
    assert history.tags() == {"current": "v0002", "candidate": "v0003"}
    assert "stays a candidate because" in text
    assert [move.version for move in history.moves("current")] == ["v0001", "v0002"]


def test_of_clean_data_there_is_no_evidence_and_nothing_is_promoted(clean, tmp_path):
    history, text = clean(tmp_path, "margin", "--reader.noise.share=0", "--budget.share=0.05")
    assert word_of(history) == "no evidence"
    assert history.tags() == {"current": "v0001", "candidate": "v0002"}
    assert "verdict: no evidence" in text
