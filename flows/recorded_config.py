"""The configuration that a recorded run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tasks.core.errors import BadArtefact
from tasks.core.foreign_code import named_by_a_lake

if TYPE_CHECKING:
    from tasks.config import CleanConfig


def recorded_config(lake: Path, run_id: str) -> CleanConfig:
    """That of the run in this lake, which nobody has typed.

    Raises:
        BadArtefact: its file cannot be read.
    """
    from tasks.config import CleanConfig

    path = lake / "runs" / run_id / "config.yaml"
    try:
        with named_by_a_lake():
            return CleanConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadArtefact(
            where=str(path),
            expected="the configuration of a recorded run",
            got=f"{type(error).__name__}: {error}",
            do="Choose another run, or run again.",
        ) from error
