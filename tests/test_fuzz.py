"""Sources that are damaged, endless, or no text: the command line answers in words, with a code, and soon.

A short form of ``python -m tests.benchmarks.torture.fuzz``, always of the same inputs.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.torture.fuzz import cases, outcomes

ALTERED = 16
# Those that took the command line down, or never ended, before they were refused.
KNOWN = (
    "delimiter 'é'", "delimiter '\\x00'", "encoding 'rot13'", "encoding 'punycode'",
    "encoding '\\x00'", "skip rows '9999999999'", "/dev/zero as jsonl",
    "/dev/urandom as npz", "/dev/zero as csv.zip", "FIFO as csv", "FIFO as parquet",
    "FIFO as npz", "socket as csv", "FIFO in a folder as csv",
    "a path of 5000 letters", "a test path of 5000 letters", "an idx path of 5000 letters",
    "folder names that are not utf 8", "picture names that are not utf 8",
    "table names that are not utf 8",
    "npz of labels that are not Unicode", "npz of labels beyond Unicode", "npz of labels of no width",
    "Arrow of labels that are not Unicode", "Parquet of labels that are not Unicode",
    "Arrow of words that are not Unicode", "Arrow of only fixed lists of length 0",
    "JSON of deep lists", "JSON of texts among objects", "Arrow of text that says it is JSON",
    "JSON of a number of ten thousand digits", "JSON of lone surrogates",
    "CSV of numbers of ten thousand digits",
    "a config of deep lists",
)  # fmt: skip


def test_no_input_takes_the_command_line_down(tmp_path):
    everything = {case.name: case for case in cases(ALTERED, seed=0)}
    chosen = [everything[f"hostile: {name}"] for name in KNOWN]
    chosen += [case for name, case in everything.items() if not name.startswith("hostile")]
    results = list(outcomes(chosen, tmp_path))
    assert [outcome for outcome in results if outcome.is_fault] == []
    assert len(results) == len(KNOWN) + ALTERED


@pytest.mark.parametrize("word", ["pipe", "device", "socket", "UTF-8"])
def test_what_is_no_file_is_called_by_its_name(tmp_path, word):
    names = {
        "pipe": "FIFO as csv", "device": "/dev/zero as csv", "socket": "socket as csv",
        "UTF-8": "folder names that are not utf 8",
    }  # fmt: skip
    (case,) = cases(0, seed=0, only=names[word])
    (outcome,) = outcomes([case], tmp_path)
    assert outcome.codes == (3, 3)
    assert word in outcome.said
