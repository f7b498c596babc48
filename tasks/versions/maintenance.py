"""Keeping a lake in order: what is cleared away, looked at again and brought up to date, at night."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks.core.form_schema import without_none
from tasks.versions.store import Store


class MaintainConfig(BaseModel):
    """Clear old versions away, look whether what is current is whole, bring the catalogue up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=without_none)
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    dataset: str | None = Field(default=None, description="Whose versions; default: every dataset's.")
    store: Store = None
    keep: int = Field(default=10, ge=1, description="The newest versions that stay; tagged ones stay besides.")
    grace_hours: float = Field(default=24.0, ge=0, description="Files no version names stay so long.")
    features_days: float = Field(
        default=90.0, ge=0, description="Vectors of encoders that no run has used for so long go; they are made again."
    )
    runs_days: float | None = Field(
        default=None,
        ge=0,
        description="Prefect's runs that ended so long ago go, with logs and artifacts; default: the server's affair, "
        "and gradsieve serve lets them go after --keep-runs-days.",
    )
    dry_run: bool = Field(default=False, description="Only say what would go.")
    verify: bool = Field(default=True, description="Recompute every digest of what current points at, and of runs.")
