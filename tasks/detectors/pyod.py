"""Any detector of PyOD, by name and with its own parameters, on the dense gradient matrix."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from tasks.detectors import Detector
from tasks.errors import BadConfig
from tasks.evidence import Evidence


class PyOD(Detector):
    """``name`` is PyOD's class (ECOD, HBOS, KNN, OCSVM, PCA …), ``parameters`` what its constructor takes.

    PyOD's ``contamination`` only moves its own threshold, which is not used here: the budget decides how many.
    """

    kind: Literal["pyod"] = "pyod"
    detector: str = Field(description="PyOD's class name, for example ECOD.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Arguments of its constructor.")
    seed: int = Field(default=0, description="random_state, for detectors that have one.")
    max_gib: float = Field(default=4.0, gt=0, description="Refuse a dense gradient matrix larger than this.")

    @field_validator("detector")
    @classmethod
    def _known(cls, value: str) -> str:
        if _module_of(value) is None:
            near = difflib.get_close_matches(value.lower(), _modules(), n=3)
            raise ValueError(f"PyOD has no detector {value!r}" + (f"; near it: {', '.join(near)}" if near else ""))
        return value

    @property
    def name(self) -> str:
        """Its column: pyod_ and the class name in lower case."""
        return f"pyod_{self.detector.lower()}"

    def score(self, evidence: Evidence) -> np.ndarray:
        """``decision_scores_`` after fitting on all samples."""
        detector = build(self.detector, self.parameters, self.seed)
        matrix = evidence.gradients.dense(int(self.max_gib * 2**30))
        try:
            detector.fit(matrix)
        except (TypeError, ValueError) as error:
            raise BadConfig(
                where=f"detector {self.name}",
                expected=f"parameters that fit {len(matrix):,} gradients of {matrix.shape[1]:,} values",
                got=f"{self.parameters} ({error})",
                do="See PyOD's documentation of this detector.",
            ) from error
        return np.asarray(detector.decision_scores_, np.float64)


def build(name: str, parameters: dict[str, Any], seed: int) -> Any:
    """A PyOD detector, seeded if it takes a ``random_state``.

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
    if "random_state" in takes:
        parameters = {"random_state": seed} | parameters
    try:
        return kind(**parameters)
    except (TypeError, ValueError) as error:
        raise BadConfig(
            where=f"detector pyod, {name}",
            expected=f"parameters among {', '.join(takes)}",
            got=f"{', '.join(parameters)} ({error})",
            do="See PyOD's documentation of this detector.",
        ) from error


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
