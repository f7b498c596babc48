"""clear_features: a lake → the same without the vectors of encoders that no run uses any more."""

from __future__ import annotations

from tasks.pipeline.artefacts import Run
from tasks.pipeline.step import act
from tasks.versions.maintenance import MaintainConfig


@act("clear features")
def clear_features(run: Run, config: MaintainConfig) -> list[str]:
    """Remove the vectors of encoders that are no longer used; a line for each."""
    import shutil

    from tasks.dataset.feature_store import unused_encoders

    lines = []
    for folder in unused_encoders(run.lake, config.features_days):
        size = sum(path.stat().st_size for path in folder.iterdir())
        if not config.dry_run:
            shutil.rmtree(folder)
        says = "would go" if config.dry_run else "are gone"
        age = f"unused for {config.features_days:g} days"
        lines.append(f"features of encoder {folder.name}, {age}: {size / 1e6:,.1f} MB {says}")
    return lines
