"""tidy: a dataset's versions → the same without the old ones, once what is current is found to be whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tasks.pipeline.artefacts import Run
from tasks.pipeline.step import act
from tasks.versions.history import CURRENT, History
from tasks.versions.maintenance import MaintainConfig


class Tidied(NamedTuple):
    """What was done, or would be."""

    lines: list[str]
    unfinished: list[Path]
    """What of it was half-written, in this dataset or in the lake."""


@act("tidy {history.dataset}")
def tidy(run: Run, history: History, config: MaintainConfig, told: Collection[Path] = ()) -> Tidied:
    """Verify and clear away as configured.

    In this order: of a dataset whose current version is damaged nothing goes, for an older version may be its cure.

    Args:
        run: whose lake it is.
        history: of the dataset.
        config: what stays.
        told: half-written files of the lake that were told with another dataset.

    Raises:
        BadArtefact: a digest of the current version is not as it was recorded.
        BadConfig: the store holds another history than the lake shows.
    """
    from tasks.versions.mirror import check, mirror_now
    from tasks.versions.vacuum import clear, clearance

    check(history, run.lake)
    lines = _verify(run, history) if config.verify else []
    removal = clearance(history, run.lake, config.keep, config.grace_hours, told)
    if not config.dry_run:
        removal = clear(history, run.lake, removal)
        mirror_now(history, run.lake)
    names = ", ".join(manifest.version for manifest in removal.versions) or "no version"
    says = "would go" if config.dry_run else "are gone"
    partial = f", {len(removal.unfinished):,} unfinished files" if removal.unfinished else ""
    lines.append(f"{history.dataset}: {names}{partial}, {removal.size / 1e6:,.1f} MB {says}")
    return Tidied(lines, removal.unfinished)


def _verify(run: Run, history: History) -> list[str]:
    from tasks.core.errors import BadArtefact
    from tasks.versions.chain import Chain
    from tasks.versions.integrity import version_checks

    current, before = history.version_of(CURRENT), None
    if current is None:
        return []
    chain = Chain(history)
    # Another run may publish and promote, or clear away, while the chain is read.
    while f"{current}.json" not in chain.versions and current != before:
        chain, before, current = Chain(history), current, history.version_of(CURRENT) or current
    results = [*version_checks(history, int(current[1:]), run.lake, chain), *chain.of_all()]
    # A source that has changed since is no damage: it is what the next cleaning is for.
    source_changes = [check for check in results if check.what == "source" and check.state == "wrong"]
    wrong = [
        f"{check.what}: {check.detail}" for check in results if check.state == "wrong" and check not in source_changes
    ]
    if wrong:
        raise BadArtefact(
            where=f"{history.dataset} {current}",
            expected="every digest as it was recorded",
            got="; ".join(wrong),
            do="Restore what is named from a copy, or roll back to a version that is whole.",
        )
    whole = f"{history.dataset}: {current}, which is current, is whole ({len(results)} checks)"
    return [whole, *(f"{history.dataset}: the source {check.detail}" for check in source_changes)]
