"""What was parsed of our own source is kept, and only for the very source, Python and parser that it was parsed by."""

from __future__ import annotations

import pytest

from tasks.pipeline import source_code

SOURCE = b'"""Doc."""\nfrom . import noun\nimport json\n\n\ndef f():\n    return query("flag")\n'


@pytest.fixture
def of(tmp_path, monkeypatch):
    """Asks a new process's file for a source; how often one was parsed is counted."""
    parse, parsed = source_code._parse, []
    monkeypatch.setattr(source_code, "_parse", lambda *words: parsed.append(1) or parse(*words))

    def ask(source: bytes = SOURCE, name: str = "verb.py") -> tuple[source_code.Code, int]:
        kept = source_code._Kept(tmp_path / "kept.json")
        before = len(parsed)
        answer = kept.of(source, tmp_path / name, "pkg.verb")
        kept.write()
        return answer, len(parsed) - before

    return ask


def test_a_source_is_parsed_once_for_all_processes(of):
    first, second = of(), of()
    assert first[0] == second[0]
    assert first[0][:2] == (["pkg", "pkg.noun", "json"], ["flag"])
    assert (first[1], second[1]) == (1, 0)


def test_another_source_is_parsed_anew(of):
    of()
    answer, parsed = of(SOURCE.replace(b"flag", b"audit"))
    assert (answer.queries, parsed) == (["audit"], 1)


def test_a_module_that_becomes_a_package_is_parsed_anew(of):
    of()
    answer, parsed = of(name="__init__.py")
    assert (answer.imports[:2], parsed) == (["pkg.verb", "pkg.verb.noun"], 1)


@pytest.mark.parametrize("changed", ["damage", "python", "gone"])
def test_what_is_damaged_or_of_another_python_is_parsed_anew(of, tmp_path, monkeypatch, changed):
    file = tmp_path / "kept.json"
    first = of()[0]
    if changed == "damage":
        file.write_bytes(file.read_bytes().replace(b"json", b"jsom"))
    elif changed == "python":
        monkeypatch.setattr(source_code.sys, "version", "4.0")
    else:
        file.unlink()
    assert of() == (first, 1)


def test_who_may_not_write_there_parses(of, tmp_path):
    (tmp_path / "kept.json").mkdir()
    assert [of()[1], of()[1]] == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
