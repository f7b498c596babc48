"""Pages a browser shows without a network: jinja2 templates, one self-contained file each."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def page(name: str, **values: Any) -> str:
    """``tasks/report/templates/<name>.html.j2`` filled in; every value is escaped."""
    return _with_hash(templates().get_template(f"{name}.html.j2").render(**values))


@cache
def templates() -> Environment:
    """All of them, each compiled when it is first asked for."""
    loader = PackageLoader("tasks.report", "templates")
    return Environment(
        loader=loader, autoescape=select_autoescape(["j2"], default=True), undefined=StrictUndefined, trim_blocks=True
    )


def _with_hash(text: str) -> str:
    """A page that runs its own scripts and no other: each is named by its hash, as its policy has it."""
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{each}'" for each in hashes)
    return text.replace("script-src 'none'", f"script-src {sources}", 1)
