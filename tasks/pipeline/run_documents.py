"""Whether a run's own documents are as they were written: run.json and config.yaml, by their digests in its manifest.

The tables of a run have their digests in run.json. What is altered here is refused by whoever reads it, and a run that
is asked for again is recorded anew. Runs of before these digests were kept are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel

from tasks.core.errors import BadArtefact
from tasks.pipeline.durable_files import sha256_of

_DIGESTS = "documents"


def with_documents(manifest: BaseModel, documents: dict[str, str]) -> str:
    """A manifest's text that also says the digests of documents beside it, by their names and texts."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in documents.items()}
    return json.dumps(manifest.model_dump(mode="json") | {_DIGESTS: digests}, indent=1)


def altered_documents(manifest: Path) -> list[str]:
    """Which documents beside a manifest are not what it says; none of one that says nothing of them.

    Raises:
        BadArtefact: the manifest cannot be read.
    """
    try:
        digests = json.loads(manifest.read_bytes()).get(_DIGESTS, {})
        paths = {manifest.with_name(name): str(digest) for name, digest in digests.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BadArtefact(
            where=str(manifest),
            expected="the manifest of a run",
            got=f"{type(error).__name__}: {error}",
            do=_do(manifest),
        ) from error
    return [path.name for path, digest in paths.items() if not path.is_file() or sha256_of(path) != digest]


def check_document(path: Path, manifest: Path) -> None:
    """Let a document be read that is as it was written.

    Raises:
        BadArtefact: it is another, or the manifest beside it cannot be read.
    """
    if manifest.is_file() and path.name in altered_documents(manifest):
        raise BadArtefact(
            where=str(path),
            expected="the document whose digest the run's manifest keeps",
            got="another content",
            do=_do(path),
        )


def _do(path: Path) -> str:
    run = path.parent.name
    return f"Restore it from a copy; or delete the folder runs/{run} in the lake and run again: it is recorded anew."
