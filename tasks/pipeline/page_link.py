"""Where the page of a run is, and where a browser finds it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from tasks.pipeline.stored_names import inside

ADDRESS = "GRADSIEVE_REPORTS_URL"
"""The environment variable that names where ``gradsieve serve`` shows the pages of its lake."""
LAKE = "GRADSIEVE_LAKE"
"""The one that names that lake."""


def page_path(lake: Path, run_id: str) -> Path:
    """``<lake>/reports/<run_id>.html``."""
    return inside(lake / "reports", f"{run_id}.html", single=True)


def link_to(page: Path) -> str:
    """The page by HTTP where its lake is served, else by its path, which a browser opens on this machine alone."""
    address, lake = os.environ.get(ADDRESS), os.environ.get(LAKE)
    if not address or not lake or page.parent != Path(lake).expanduser().resolve() / "reports":
        return page.as_uri()
    return f"{address.rstrip('/')}/{quote(page.name)}"
