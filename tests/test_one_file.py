"""One new file is a new component: found by its folder, offered everywhere, born with its conformance tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# A detector that does not look at the label, a reader with a suffix of its own, a model.
FILES = {
    "tasks/scoring/detectors/lone.py": '''"""lone: how few are near."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class Lone(Detector, kind="lone"):
    """Suspicion by the smallness of the largest logit; the label is not looked at."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)
    label_aware: ClassVar[bool] = False
    pointwise: ClassVar[bool] = True
    steepness: float = Field(default=1.0, gt=0, description="How fast suspicion falls.")

    def score(self, evidence: Evidence) -> np.ndarray:
        """1 − σ of the largest logit."""
        return 1 - 1 / (1 + np.exp(-self.steepness * evidence.logits.max(1).astype(np.float64)))
''',
    "tasks/ingestion/readers/semicolons.py": '''"""semicolons: numbers and a label, cells separated by semicolons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk, Reader, array_chunk, existing_file


class Semicolons(Reader, kind="semicolons"):
    """Numbers, and the label last."""

    suffixes: ClassVar[tuple[str, ...]] = (".scsv",)
    path: Path = Field(description="The file.")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        rows = [line.split(";") for line in existing_file(self.path, "a file").read_text().splitlines()]
        x = np.array([row[:-1] for row in rows], np.float32)
        payload = Payload(kind="array", columns=("x",), shape=(x.shape[1],), dtype="float32")
        return payload, iter([array_chunk(self.path.name, 0, x, [row[-1] for row in rows], None, "float32")])

    def files(self) -> list[Path]:
        return [self.path]

    @classmethod
    def example(cls, table: pa.Table, folder: Path) -> Self:
        rows = zip(*table.to_pydict().values(), strict=True)
        (folder / "a.scsv").write_text("".join(";".join(map(str, row)) + "\\n" for row in rows))
        return cls(path=folder / "a.scsv", test_share=0.0)
''',
    "tasks/training/models/bottleneck.py": '''"""bottleneck: two linear layers, the first a narrow one."""

from __future__ import annotations

import math

from pydantic import Field
from torch import nn

from tasks.dataset.payload import Payload
from tasks.training.models import Model


class Bottleneck(Model, kind="bottleneck"):
    """A narrow linear layer, then the head."""

    narrow: int = Field(default=3, ge=1, description="Units of the first layer.")

    def build(self, payload: Payload, classes: int) -> nn.Module:
        width = math.prod(payload.shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(width, self.narrow), nn.Linear(self.narrow, classes))
''',
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the code with three files more, and nothing else changed."""
    home = tmp_path_factory.mktemp("copy")
    for name in ("flows", "tasks", "tests"):
        shutil.copytree(REPOSITORY / name, home / name)
    shutil.copy(REPOSITORY / "pyproject.toml", home)
    for name, text in FILES.items():
        (home / name).write_text(text)
    return home


FILES_BY_KIND = ("lone", "semicolons", "bottleneck")


def run(copy, *arguments):
    environment = os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_command_line_offers_all_three_with_their_options(copy, nursery):
    said = nursery.run(("clean", "--help"), copy, None, COLUMNS="200").stdout
    for word in ("lone", "semicolons", "bottleneck", "--model.narrow"):
        assert word in said


def test_the_form_and_the_suffix_know_them(copy, nursery):
    code = (
        "import json, sys\n"
        "from tasks.config import CleanConfig\n"
        "from tasks.ingestion.files.source_kind import kind_of_source\n"
        "from pathlib import Path\n"
        "print(json.dumps([CleanConfig.model_json_schema(), kind_of_source(Path('a.scsv'))]))\n"
    )
    schema, kind = json.loads(nursery.script(code, copy).stdout)
    assert kind == "semicolons"
    offered = {name: schema["$defs"][name]["properties"]["kind"]["enum"] for name in ("DetectorChoice", "ModelChoice")}
    assert "lone" in offered["DetectorChoice"]
    assert "bottleneck" in offered["ModelChoice"]
    assert "semicolons" in schema["$defs"]["ReaderChoice"]["properties"]["kind"]["enum"]


def test_they_pass_the_conformance_tests_that_they_were_born_with(copy):
    files = [
        f"tests/tasks/{place}/test_conformance.py"
        for place in ("scoring/detectors", "ingestion/readers", "training/models")
    ]
    said = run(
        copy,
        "-m",
        "pytest",
        "-n",
        "0",
        "-rp",
        "-p",
        "no:cacheprovider",
        "-k",
        "lone or semicolons or bottleneck",
        *files,
    )
    for kind in FILES_BY_KIND:
        assert f"[{kind}" in said, f"no conformance test of {kind}"
