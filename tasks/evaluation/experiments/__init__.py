"""The paper's experiments, one YAML file each: data, parameters by scale, and the paper's own figures.

To add one, add a file here; ``gradsieve reproduce FILE.yaml`` takes one from anywhere.
"""

from __future__ import annotations

import os
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.core.errors import BadConfig, BadInput

ScaleName = Literal["small", "paper"]
Measure = Literal[
    "detection", "precision", "average_precision", "roc_auc", "accuracy", "seconds", "seconds_over_l2",
    "query_roc_auc", "query_recall",
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PaperRow(_Strict):
    """One row of a table of the paper; shares in per cent."""

    method: str
    set: str = ""
    untouched: float | None = None
    figures: dict[Measure, float | None]


class Paper(_Strict):
    """What the paper says."""

    source: str
    """Which table or figure the rows are from."""
    protocol: str
    epoch: str = "not said"
    """Of which epoch its accuracies are."""
    rows: list[PaperRow] = []


class Variant(_Strict):
    """One method on one set of data: what it sets otherwise than the scale does."""

    method: str
    set: str = ""
    parameters: dict[str, Any] = {}
    tracing: dict[str, Any] = {}


class Scale(_Strict):
    """What one scale runs."""

    data: str
    """Which data, in words."""
    differs: str
    """What is otherwise than in the paper, in words."""
    needs: list[str] = []
    """Files of the bench folder without which it cannot run."""
    get: str = ""
    """Where they come from, in words."""
    made: str | None = None
    """The generated data set that it reads (tasks/evaluation/experiments/generated.py)."""
    minutes: int | None = Field(default=None, ge=1)
    """What it takes on one of two cores; None where nobody has run it."""
    seeds: int = Field(ge=1)
    seeded: dict[str, int] = Field(min_length=1)
    """Options that repetition i = 1, 2, … sets, to its number times the factor."""
    parameters: dict[str, Any] = {}
    tracing: dict[str, Any] | None = None
    """How the run is traced afterwards; None where it is not."""
    variants: list[Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_goes_by_its_name(self) -> Self:
        names = [(variant.method, variant.set) for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("variants: two have the same method and set")
        if self.tracing is None and any(variant.tracing for variant in self.variants):
            raise ValueError("tracing: expected the scale's own beside a variant's, if only {}")
        if self.needs and not self.get:
            raise ValueError("get: expected where the needed files come from")
        return self

    def parameters_of(self, variant: Variant, repetition: int, folders: dict[str, Path]) -> dict[str, Any]:
        """A flow's parameters.

        Args:
            variant: which one.
            repetition: 1, 2, …
            folders: what stands for ``{bench}`` and ``{made}`` in them; ``{repetition}`` is its number.
        """
        parameters = _merge(deepcopy(self.parameters), variant.parameters)
        for option, factor in self.seeded.items():
            *path, last = option.split(".")
            index = parameters
            for name in path:
                index = index.setdefault(name, {})
            index[last] = factor * repetition
        words = {name: str(folder) for name, folder in folders.items()} | {"repetition": str(repetition)}
        return _fill(parameters, {f"{{{name}}}": word for name, word in words.items()})

    def tracing_of(self, variant: Variant) -> dict[str, Any] | None:
        """How a variant's run is traced; None where it is not."""
        return None if self.tracing is None else self.tracing | variant.tracing


class Experiment(_Strict):
    """One experiment of the paper."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    title: str
    flow: Literal["clean", "compare"] = "clean"
    measures: list[Measure] = Field(min_length=1)
    paper: Paper
    scales: dict[ScaleName, Scale] = Field(min_length=1)

    @property
    def minutes(self) -> int | None:
        """What the small scale takes, as far as that is known."""
        return self.scales["small"].minutes if "small" in self.scales else None

    def scale(self, name: ScaleName) -> Scale:
        """What one scale runs.

        Raises:
            BadConfig: there is none of that name.
        """
        if name not in self.scales:
            raise BadConfig(
                where=f"experiment {self.name}",
                expected=f"one of the scales {', '.join(self.scales)}",
                got=name,
                do="Name another scale.",
            )
        return self.scales[name]


def names() -> list[str]:
    """Of the experiments that are at hand."""
    return sorted(path.name.removesuffix(".yaml") for path in files(__name__).iterdir() if path.name.endswith(".yaml"))


def experiment(name: str) -> Experiment:
    """The experiment of that name, or of that YAML file.

    Raises:
        BadConfig: there is no such experiment, or its file is not one.
        BadInput: the file cannot be read.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(where=name, expected="a YAML file", got=str(error.strerror), do="Check the path.") from error
    elif name in names():
        text = (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise BadConfig(
            where="the experiment",
            expected=f"one of {', '.join(names())}, or a YAML file",
            got=name,
            do="gradsieve reproduce lists what they are.",
        )
    try:
        return Experiment.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise BadConfig(
            where=f"experiment {name}",
            expected="what tasks/evaluation/experiments describes",
            got=str(error),
            do="Correct the file.",
        ) from error


def bench_folder(option: Path | None, name: str, scale: Scale) -> Path:
    """The folder of benchmark data, checked to hold what a scale needs.

    Args:
        option: the folder by option; default: the environment's GRADSIEVE_BENCH.
        name: of the experiment, for the message.
        scale: what is to be run.

    Raises:
        BadInput: nobody named a folder, or it lacks a file.
    """
    folder = option or (Path(value) if (value := os.environ.get("GRADSIEVE_BENCH")) else None)
    if not scale.needs:
        return folder or Path()
    if folder is None:
        missing, got = scale.needs, "no folder"
    else:
        folder = folder.expanduser().resolve()
        missing = [file for file in scale.needs if not (folder / file).exists()]
        got = f"{folder}, which lacks {', '.join(missing)}"
    if folder is None or missing:
        raise BadInput(
            where=f"experiment {name}, --bench or GRADSIEVE_BENCH",
            expected=f"a folder with {', '.join(scale.needs)}",
            got=got,
            do=scale.get,
        )
    return folder


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    for name, value in over.items():
        # Another kind of component has other options.
        if _same_component(under.get(name), value):
            under[name] = _merge(under[name], value)
        else:
            under[name] = deepcopy(value)
    return under


def _same_component(before: Any, value: Any) -> bool:
    if not isinstance(before, dict) or not isinstance(value, dict):
        return False
    return "kind" not in value or value["kind"] == before.get("kind")


def _fill(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _fill(part, words) for name, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, words) for part in value]
    if isinstance(value, str):
        for word, folder in words.items():
            value = value.replace(word, folder)
    return value
