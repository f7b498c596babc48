"""What somebody called a class, a column or a reason moves no cursor, and its brackets are no markup."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flows.__main__ import main
from flows.command_line.versions import say
from tasks.pipeline.artefacts import File
from tasks.report.version_views import difference_view, version_facts, version_list
from tasks.versions.difference import Difference
from tasks.versions.history import History
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects

HOSTILE = "\x1b]0;title\x07\x1b[2J\u202e"


def test_inspect_spells_out_what_a_terminal_would_obey(tmp_path, capsys):
    rows = "".join(f"{i % 7},{i % 5},{(HOSTILE, 'y')[i % 2]}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"a,b{HOSTILE},label\n{rows}")
    assert main(["inspect", str(tmp_path / "a.csv")]) == 0
    said = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert r"\x1b]0;title\x07" in said


def test_a_refusal_spells_it_out_too(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("a,b,label\n" + f"1,2,{HOSTILE}\n" * 40)
    assert main(["clean", str(tmp_path / "a.csv"), "--reader.label", f"no{HOSTILE}", "--lake", str(tmp_path)]) == 3
    assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().err)


@pytest.mark.parametrize("reason", ["[/x] closes nothing", "[red]is not red", HOSTILE])
def test_a_reason_is_printed_as_it_was_given(capsys, reason):
    say(reason)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert reason in said or r"\x1b]0;title" in said


def test_the_tables_of_versions_spell_it_out_too(tmp_path, capsys):
    file = File(name=HOSTILE, rows=1, size=1, sha256="0")
    manifest = Manifest.model_construct(
        version="v0001",
        dataset="pets",
        kind="cleaned",
        parent=HOSTILE,
        published="2026-11-25T04:00:00",
        by=HOSTILE,
        run_id=HOSTILE,
        code="",
        model=None,
        verdict={"word": HOSTILE, "because": [HOSTILE]},
        rows=1,
        splits={HOSTILE: 1},
        removed=1,
        relabelled=0,
        members="",
        parts=(),
        decisions=file,
        plain=None,
        classes=(HOSTILE,),
        payload={},
    )
    words = dict.fromkeys(("sample_id", "source", "old_label", "new_label", "reason"), HOSTILE)
    rows = pa.Table.from_pylist([{"change": "removed", "row": 1} | words])
    say(difference_view(Difference(manifest, manifest, rows), rows=20))
    say(version_list([manifest], {HOSTILE: "v0001"}))
    say(version_facts(manifest, {HOSTILE: "v0001"}, History(Objects(tmp_path), "pets")))
    said = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert said.count(r"\x1b]0;title\x07") > 10
