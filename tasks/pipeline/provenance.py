"""Which code made something."""

from __future__ import annotations

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

from tasks.pipeline.cache_keys import code_digest


@cache
def code_version() -> str:
    """Version, commit and content of the code that runs, e.g. ``0.7.0+g1a2b3c4d5e6f, content 9f8e…``.

    The content's digest says what ran also where there is no commit, or files have changed since.
    """
    version = importlib.metadata.version("gradsieve")
    commit = _git("rev-parse", "HEAD")
    changes = ", with changes" if commit and _git("status", "--porcelain", "--", "flows", "tasks") else ""
    return f"{version}{f'+g{commit}' if commit else ''}{changes}, content {code_digest(['flows.clean'])[:16]}"


def _git(*words: str) -> str:
    """What git says of the folder this code lies in; nothing where there is no git, or it is no clone."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return ""
    try:
        answer = subprocess.run(["git", "-C", str(home), *words], capture_output=True, text=True, timeout=10)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
