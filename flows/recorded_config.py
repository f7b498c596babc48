"""The configuration that a recorded run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.foreign_code import named_by_a_lake
from tasks.pipeline.recorded_run import recorded_options

if TYPE_CHECKING:
    from tasks.config import CleanConfig


def recorded_config(lake: Path, run_id: str) -> CleanConfig:
    """That of the run in this lake, which nobody has typed.

    Raises:
        BadArtefact: its file cannot be read.
    """
    from tasks.config import CleanConfig

    with recorded_options(lake, run_id) as options, named_by_a_lake():
        return CleanConfig.model_validate(options)
