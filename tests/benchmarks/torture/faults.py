"""One harm, done to a forked child at its n-th deed on files below a folder."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

SOURCE = Path(__file__).with_name("faults.c")
KINDS = ("open", "write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "truncate")
_HARMS = ("nothing", "kill", "torn", "cut", "fail", "lasting", "short")
Harm = Literal["nothing", "kill", "torn", "cut", "fail", "lasting", "short"]
# What an error of the disk cannot strike: a full one still deletes, a forbidden name is not that of an open file.
_ALL = frozenset(KINDS)
_STRUCK = {
    "ENOSPC": _ALL - {"unlink", "rmdir", "fsync", "truncate"},
    "EDQUOT": _ALL - {"unlink", "rmdir", "fsync", "truncate"},
    "EROFS": _ALL,
    "EIO": _ALL,
    "EACCES": _ALL - {"write", "fsync", "truncate"},
}


class Fault(NamedTuple):
    """What happens at which deed."""

    at: int = 0
    harm: Harm = "nothing"
    """kill: before it. torn: in the middle of a write. cut: as by the mains, what was not flushed is gone. fail: it
    fails. lasting: it and all after it fail. short: half of a write is done, which is no error."""
    error: str = ""
    """Of fail and lasting: ENOSPC, EDQUOT, EROFS, EIO or EACCES."""

    def strikes(self, kind: str) -> bool:
        """Whether a deed of this kind can meet with it."""
        return kind in _STRUCK[self.error] if self.error else kind == "write" or self.harm not in ("torn", "short")


class Deed(NamedTuple):
    """One thing done to files."""

    number: int
    kind: str
    path: str
    stage: str
    """The last mark before it."""


def library() -> Path | None:
    """faults.c, compiled once for each text of it; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    folder = Path(tempfile.gettempdir()) / f"gradsieve-torture-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"faults-{sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not built.exists():
        aside = built.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", aside, SOURCE, "-ldl"], check=True)
        aside.rename(built)
    return built


class Shim:
    """The loaded library, as a child drives it."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.library.torture_disarm.restype = ctypes.c_long

    def arm(self, folder: Path, fault: Fault, trace: int = -1) -> None:
        """Count from now on, and do the harm."""
        struck = sum(1 << place for place, kind in enumerate(KINDS) if fault.strikes(kind))
        number = getattr(errno, fault.error) if fault.error else 0
        self.library.torture_arm(
            os.fsencode(folder), struck, ctypes.c_long(fault.at), _HARMS.index(fault.harm), number, trace
        )

    def disarm(self) -> int:
        """Count no more; how many deeds there were."""
        return int(self.library.torture_disarm())

    def mark(self, stage: str) -> None:
        """A stage begins."""
        self.library.torture_mark(stage.encode())


def deeds_of(trace: Path) -> list[Deed]:
    """What a child did, in its order."""
    deeds, stage = [], ""
    for line in trace.read_text(errors="replace").splitlines():
        number, kind, path = line.split("\t", 2)
        if kind == "mark":
            stage = path
        else:
            deeds.append(Deed(int(number), kind, path, stage))
    return deeds
