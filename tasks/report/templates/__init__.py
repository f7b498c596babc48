"""Pages a browser shows without a network: jinja2 templates, one self-contained file each."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def page(name: str, **values: Any) -> str:
    """``tasks/report/templates/<name>.html.j2`` filled in; every value is escaped."""
    loader = PackageLoader("tasks.report", "templates")
    environment = Environment(
        loader=loader, autoescape=select_autoescape(["j2"], default=True), undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(f"{name}.html.j2").render(**values)
