"""Wrong labels of text in the world's scripts: one text with and without combining marks, and generated languages.

    python tests/benchmarks/scripts.py FOLDER [--seeds 3]

``plain``, ``NFC`` and ``NFD`` are trec-weak as it stands and with two combining marks over every vowel, as Yoruba has
them. ``english``, ``hindi``, ``thai`` and ``chinese`` are the same draws of the same 300 words in two classes, spelled
in syllables of the script, with spaces where the script has them; a tenth of the labels is exchanged.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from honesty_cases import Case
from honesty_noise import symmetric
from honesty_run import measured
from honesty_sets import BENCH, Rows, Source, texts, trec
from rich.console import Console
from rich.table import Table

SHOWN = ("fusion", "self_confidence", "neighbours")
_MARKS = "\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}"
_TEXTS, _VOCABULARY, _WORDS = 2000, 300, 8

# Each syllable is one of these and one of those.
_SYLLABLES = {
    "english": (list("bdfgklmnprstvz"), ["a", "e", "i", "o", "u", "ai", "ea", "oo"], " "),
    "hindi": ([chr(c) for c in range(0x0915, 0x0929)], ["", *(chr(c) for c in range(0x093E, 0x0944))], " "),
    "thai": ([chr(c) for c in range(0x0E01, 0x0E1B)], ["", *(chr(c) for c in range(0x0E34, 0x0E3A)), "า"], ""),
    "chinese": ([chr(c) for c in range(0x4E00, 0x4E00 + 400)], [""], ""),
}


def marked(form: str) -> Source:
    """trec-weak with marks on its vowels, in a normal form; as it stands if that is ``plain``."""
    source = trec("weak")

    def draw(rng: np.random.Generator) -> Rows:
        rows = source(rng)
        if form == "plain":
            return rows
        spelled = ["".join(c + _MARKS if c in "aeiouAEIOU" else c for c in text) for text in rows.inputs.to_pylist()]
        normal = [unicodedata.normalize(form, text) for text in spelled]  # type: ignore[arg-type]
        return texts(pa.chunked_array([pa.array(normal)]), rows.truth).noised(rows.given)

    return draw


def generated(script: str, seed: int) -> Source:
    """Two classes that prefer other words of one vocabulary, as Zipf's law has it: the same draws in every script."""

    def draw(_rng: np.random.Generator) -> Rows:
        rng = np.random.default_rng(seed)
        first, then, between = _SYLLABLES[script]
        spelling = rng.random((_VOCABULARY, 3, 2))
        words = [
            "".join(first[int(a * len(first))] + then[int(b * len(then))] for a, b in word[: 2 + i % 2])
            for i, word in enumerate(spelling)
        ]
        weights = 1 / np.arange(1, _VOCABULARY + 1)
        shares = np.stack([rng.permutation(weights), rng.permutation(weights)])
        # Each class says half its words as the language has it, so that no word alone tells.
        shares = (shares + rng.permutation(weights)) / (2 * weights.sum())
        y = rng.permutation(np.arange(_TEXTS) % 2)
        drawn = [rng.choice(_VOCABULARY, _WORDS, p=shares[label] / shares[label].sum()) for label in y]
        text = pa.chunked_array([pa.array([between.join(words[i] for i in row) for row in drawn])])
        return symmetric(0.1)(rng, texts(text, [f"c{label}" for label in y]))

    return draw


def cases(seed: int) -> list[Case]:
    """The marked ones where the set is there, and the generated ones."""
    forms = [Case(form, 4965, marked(form), needs=BENCH) for form in ("plain", "NFC", "NFD")]
    scripts = [Case(script, _TEXTS, generated(script, seed)) for script in _SYLLABLES]
    return [case for case in (*forms, *scripts) if not case.missing]


def table_of(seeds: int, measure: Callable[[Case, int], dict[str, float]]) -> Table:
    """Mean average precision over the seeds, and half the range between them."""
    table = Table("texts", *SHOWN, title=f"average precision, mean of {seeds} seeds ± half their range")
    for index, case in enumerate(cases(0)):
        found = [measure(cases(seed)[index], seed) for seed in range(seeds)]
        columns = [np.array([each[kind] for each in found]) for kind in SHOWN]
        table.add_row(case.name, *(f"{c.mean():.4f} ± {np.ptp(c) / 2:.4f}" for c in columns))
    return table


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    Console(width=120).print(table_of(options.seeds, lambda case, seed: measured(case, seed, options.folder)["ap"]))


if __name__ == "__main__":
    main()
