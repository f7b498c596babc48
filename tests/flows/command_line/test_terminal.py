"""What somebody called a class, a column or a reason moves no cursor, and its brackets are no markup."""

from __future__ import annotations

import pytest

from flows.__main__ import main
from flows.command_line.versions import say

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
