"""Any detector of PyOD, by name and with its own parameters, on the matrix of gradients."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from tasks.core.errors import BadConfig
from tasks.scoring.detectors.dense import Dense, within
from tasks.scoring.evidence import Evidence

# Detector → values of a gradient that it affords, 256 where it is not named. Measured with PyOD 3.6.7 on 50,000
# gradients, 16 GiB and two cores: of 5,130 values the first four took 1 to 40 s and at most 3.6 GiB. PCA, COPOD, ECOD,
# INNE, LOF, KNN, VAE and AutoEncoder took over 185 s of those and of 512 from 8 (GMM, LODA, COPOD, ECOD) over 33 (INNE)
# and 109 (KNN) to 173 s (DeepSVDD); DIF, LUNAR and OCSVM over 185 s even of these.
# ROD looks at all triples of values: at 32, 4,960 of them took 35 s for 300 samples.
_AFFORDS = {"iforest": 5130, "sampling": 5130, "hbos": 5130, "cblof": 5130, "rod": 10}
_NOT_ON_A_MATRIX = {
    "mad": "is univariate; the detectors l1 and l2 rank by one figure of a gradient",
    "devnet": "is told which samples are outliers, and nobody knows",
    "xgbod": "is told which samples are outliers, and nobody knows",
    "audioae": "listens to sound files",
    "lscp": "is built of other detectors, which options cannot hold; name those, and let fusion weigh them",
}


class PyOD(Dense, kind="pyod"):
    """``detector`` is PyOD's class (ECOD, HBOS, KNN, PCA …), ``parameters`` what its constructor takes.

    Held are n × width float32, and what the detector makes of them: mostly 2 to 4 times as much, 18 times for ECOD and
    COPOD. PyOD's ``contamination`` only moves its own threshold, which is not used here: the budget decides how many.
    """

    detector: str = Field(description="PyOD's class name, for example ECOD.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Arguments of its constructor.")
    by: Literal["all", "class", "fold"] = Field(
        default="all",
        description="One fit for all samples, or one for each given class or cross-fitting fold; scores are then (s − "
        "median) / interquartile range of their group.",
    )
    least: int = Field(
        default=20, ge=2, description="Groups of fewer samples are not fitted: they get 0, the middle of every group."
    )

    @field_validator("detector")
    @classmethod
    def _check_detector(cls, value: str) -> str:
        if _module_of(value) is None:
            near = difflib.get_close_matches(value.lower(), _modules(), n=3)
            raise ValueError(f"PyOD has no detector {value!r}" + (f"; near it: {', '.join(near)}" if near else ""))
        if value.lower() in _NOT_ON_A_MATRIX:
            raise ValueError(f"PyOD's {value} {_NOT_ON_A_MATRIX[value.lower()]}")
        return value

    @property
    def name(self) -> str:
        """Its column: pyod_, the class name in lower case, and what it does otherwise than by default."""
        ways = "_normalised" * (self.on == "normalised") + f"_by_{self.by}" * (self.by != "all")
        return f"pyod_{self.detector.lower()}{ways}"

    @property
    def affordable(self) -> int:
        """As the table above says."""
        return _AFFORDS.get(self.detector.lower(), super().affordable)

    def score(self, evidence: Evidence) -> np.ndarray:
        """``decision_scores_`` after fitting, of new samples what it then says; groups are made comparable by
        ``dense.within``."""
        # What does not exist, or does not take the parameters, is told before gradients are read.
        build(self.detector, self.parameters, self.seed)
        matrix, in_base = self.matrix(evidence.gradients), evidence.in_base
        if self.by == "all":
            return self._fit(matrix, in_base, "all samples")
        groups = evidence.labels if self.by == "class" else evidence.folds
        scores = np.zeros(len(matrix), np.float64)
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            if in_base[members].sum() >= self.least:
                which = evidence.classes[group] if self.by == "class" else group
                scores[members] = self._fit(matrix[members], in_base[members], f"{self.by} {which}")
        return within(scores, groups, self.least, in_base)

    def _fit(self, matrix: np.ndarray, in_base: np.ndarray, of: str) -> np.ndarray:
        try:
            # Some report every epoch, asked or not.
            with _fixed_seed(self.seed), redirect_stdout(io.StringIO()):
                detector = build(self.detector, self.parameters, self.seed, matrix.shape[1])
                detector.fit(matrix[in_base])
                scores = np.empty(len(matrix), np.float64)
                scores[in_base] = detector.decision_scores_
                if not in_base.all():
                    scores[~in_base] = detector.decision_function(matrix[~in_base])
        except (TypeError, ValueError) as error:
            raise BadConfig(
                where=f"detector {self.name}",
                expected=f"parameters that fit {len(matrix):,} gradients of {matrix.shape[1]:,} values ({of})",
                got=f"{self.parameters} ({error})",
                do="See PyOD's documentation of this detector.",
            ) from error
        return scores


def build(name: str, parameters: dict[str, Any], seed: int, width: int = 1) -> Any:
    """A PyOD detector, silent, and seeded if it takes a ``random_state``.

    Args:
        name: of its class.
        parameters: of its constructor, before ours.
        seed: for ``random_state``.
        width: of the matrix, for the one that asks for it (DeepSVDD).

    Raises:
        BadConfig: it is not installed whole, or does not take the parameters.
    """
    module = _module_of(name)
    try:
        classes = vars(importlib.import_module(f"pyod.models.{module}"))
    except ImportError as error:
        raise BadConfig(
            where=f"detector pyod, {name}",
            expected="what this PyOD detector needs",
            got=str(error),
            do=f"Install the missing package ({error.name}).",
        ) from error
    kind = next(value for key, value in classes.items() if key.lower() == name.lower() and isinstance(value, type))
    takes = inspect.signature(kind).parameters
    ours = {"random_state": seed, "verbose": 0, "n_features": width}
    try:
        return kind(**{key: value for key, value in ours.items() if key in takes} | parameters)
    except (TypeError, ValueError) as error:
        raise BadConfig(
            where=f"detector pyod, {name}",
            expected=f"parameters among {', '.join(takes)}",
            got=f"{', '.join(parameters)} ({error})",
            do="See PyOD's documentation of this detector.",
        ) from error


@contextmanager
def _fixed_seed(seed: int) -> Iterator[None]:
    """numpy's and torch's own generators seeded, and put back as they were: some detectors draw from these alone."""
    import torch

    before = np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


@cache
def _modules() -> dict[str, str]:
    """Detector's name in lower case → module, told by the sources; nothing of PyOD is imported."""
    spec = importlib.util.find_spec("pyod")
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [path for folder in folders for path in (Path(folder) / "models").glob("*.py")]
    return {
        name.lower(): path.stem
        for path in sorted(files)
        for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if name.lower().replace("_", "") == path.stem.replace("_", "")
    }


def _module_of(name: str) -> str | None:
    return _modules().get(name.lower())
