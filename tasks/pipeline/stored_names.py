"""Names out of manifests, run.json and tags become paths and keys here, and lead nowhere but below their folder.

Such files may come from elsewhere: a store that was copied, a lake that was mended by hand. What they name is read,
overwritten and cleared away, so a name with ``..``, an absolute one or a link that leads out is refused.
"""

from __future__ import annotations

from pathlib import Path

from tasks.core.errors import BadArtefact


def is_key(name: str) -> bool:
    """Whether each part of ``a/b/c`` is the name of a file or folder; of no part are '', '.' and '..'."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def is_name(name: str) -> bool:
    """Whether it is the name of one file or folder: a run's id, a file beside the one that names it."""
    return "/" not in name and is_key(name)


def key(name: str, where: str) -> str:
    """``name`` itself, where it is one below ``where``: a folder, or a prefix of a bucket, which knows no links.

    Raises:
        BadArtefact: it leads out.
    """
    if not is_key(name):
        raise _leading_out(where, repr(name))
    return name


def inside(root: Path, name: str, *, single: bool = False) -> Path:
    """``root / name``, which lies below ``root``, also once every link is followed.

    Args:
        root: a folder; it may be a link itself.
        name: as it is stored.
        single: it must be one name, without folders.

    Raises:
        BadArtefact: it leads out.
    """
    if single and not is_name(name):
        raise _leading_out(str(root), repr(name))
    path = root / key(name, str(root))
    try:
        there = path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise _leading_out(str(root), f"{name!r}, which leads nowhere") from error
    if not there.is_relative_to(root.resolve()):
        raise _leading_out(str(root), f"{name!r}, which leads to {there}")
    return path


def in_lake(lake: Path, name: str) -> Path:
    """``lake / name`` of ``cache/…`` or ``runs/…``; these folders themselves may be links, to another disk.

    Raises:
        BadArtefact: it leads out.
    """
    home, _, rest = key(name, str(lake)).partition("/")
    return inside(lake / home, rest)


def _leading_out(where: str, got: str) -> BadArtefact:
    return BadArtefact(
        where=where,
        expected="the name of something below it",
        got=got,
        do="Nothing was read or deleted there. A manifest, run.json or tag was altered: restore it from a copy.",
    )
