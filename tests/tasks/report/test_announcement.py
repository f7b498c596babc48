"""What automations are told of a run: promoted is what is current, and not what its verdict would have had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.pipeline.artefacts import Artefact
from tasks.report import report as module

VERDICT = {"word": "helps", "sentence": "so", "promote": True}


@pytest.mark.parametrize("is_current", [True, False])
def test_promoted_is_what_is_current(monkeypatch, is_current):
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "emit_event", lambda name, **about: events.append({"name": name} | about))
    summary: Any = SimpleNamespace(facts={"metrics": {"verdict": VERDICT}}, dataset="tiny", run_id="r")
    version = Artefact(stage="version", folder="f", files=(), facts={"version": "v0002"}, digest="d", made_by="r")
    module._announce(summary, version, is_current, [], "page")
    assert [(event["name"], event["payload"]["promoted"]) for event in events] == [
        ("gradsieve.verdict.helps", is_current)
    ]
