"""Texts with other marks, case, spacing or one other word are copies; another sum, another topic, a form are none."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tasks.ingestion.near_texts import near_texts, shingles_of

WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "ra", "st", "lim")]


def texts_of(count: int, words: int = 60, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, words)) for _ in range(count)]


def pairs_among(texts: list[str] | list[tuple[str, ...]], columns: int = 1) -> dict[tuple[int, int], float]:
    rows = [text if isinstance(text, tuple) else (text,) for text in texts]
    found = near_texts(shingles_of(enumerate(rows), columns))
    return dict(
        zip(zip(found.first.tolist(), found.second.tolist(), strict=True), found.distance.tolist(), strict=True)
    )


def by_loop(texts: list[str]) -> dict[tuple[int, int], float]:
    sets = [{tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} for words in map(str.split, texts)]
    similarities = {
        (i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in combinations(range(len(sets)), 2)
    }
    return {pair: 1 - similarity for pair, similarity in similarities.items() if similarity >= 0.8}


def test_other_marks_case_and_spacing_are_nothing():
    texts = texts_of(50)
    changed = [f"  {text.upper().replace(' ', ',  ')}!\n" for text in texts]
    assert pairs_among(texts + changed) == {(i, i + 50): 0.0 for i in range(50)}


def test_near_texts_are_those_of_a_loop():
    generator = np.random.default_rng(1)
    texts = texts_of(200)
    for text in texts[:60]:
        words = text.split()
        for index in generator.choice(len(words), generator.integers(1, 4), replace=False):
            words[index] = "other"
        texts.append(" ".join(words))
    expected, found = by_loop(texts), pairs_among(texts)
    assert 10 < len(expected) < 60
    assert found.keys() == expected.keys()
    assert all(abs(found[pair] - distance) < 1e-9 for pair, distance in expected.items())


def test_short_texts_are_copies_by_all_of_their_words_alone():
    texts = ["Good morning", "good   morning!", "good evening", "", "!!!", "???"]
    assert pairs_among(texts) == {(0, 1): 0.0}
    assert shingles_of((i, (text,)) for i, text in enumerate(texts)).empty == 3


def test_composed_and_decomposed_letters_are_one_and_a_script_without_spaces_has_words():
    chinese = "这个产品的质量非常好我已经买了三次每次都很满意推荐给大家"
    texts = [
        "Crème brûlée à la vanille, très bonne",
        "Cre\u0300me bru\u0302le\u0301e a\u0300 la vanille tre\u0300s bonne",
        chinese,
        chinese + "。",
    ]
    assert pairs_among(texts) == {(0, 1): 0.0, (2, 3): 0.0}


def test_another_number_is_another_text():
    sums = [f"{text} what is {n} plus four" for n, text in zip((3, 5), texts_of(1, 80) * 2, strict=True)]
    assert pairs_among(sums) == {}


@pytest.mark.parametrize(
    "texts",
    [
        ["great movie :)", "great movie :(", "great movie ;)", "great movie", "great movie :D"],
        ["3 + 4", "3 - 4", "3 * 4", "3 / 4", "3 4", "3 = 4"],
        ["what if a < b", "what if a > b", "what if a = b"],
        ["-5 degrees", "5 degrees", "+5 degrees", "5% degrees"],
        ["C++", "C#", "C", "C-", "@C", "C & C"],
        ["good 👍", "good 👎", "good", "good 👍👍"],
        ["from 3-4", "from 34", "from 3 4"],
    ],
)
def test_signs_that_say_something_make_another_text(texts):
    assert pairs_among(texts) == {}
    long = texts_of(1)[0]
    assert pairs_among([f"{long} {text}" for text in texts]) == {}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("great movie :-)", "Great movie, :)"),
        ("-5 degrees", "−5 degrees!"),
        ("a well-known film - by all", "a well known film by all"),
        ("covid-19 (or flu)", "covid 19 [or flu];"),
        ("I ❤️ it", "I ❤ it…"),
        ("“the `name`”: _here_", "the name, here"),
        ("don't", "don’t"),
    ],
)
def test_marks_between_words_and_how_a_sign_is_written_are_nothing(text, other):
    assert pairs_among([text, other]) == {(0, 1): 0.0}


def test_a_form_that_all_texts_were_poured_into_makes_none_of_them_a_copy():
    (form,) = texts_of(1, 120)
    poured = [f"{form} {text}" for text in texts_of(100, 12, seed=3)]
    assert pairs_among(poured) == {}
    assert pairs_among([*poured, poured[7] + "!"]) == {(7, 100): 0.0}


def test_of_a_pair_of_texts_both_must_be_near():
    passage, question, other = texts_of(1, 100)[0], *texts_of(2, 8, seed=2)
    pairs = [(question, passage), (other, passage), (question + "?", passage.upper())]
    assert pairs_among(pairs, 2) == {(0, 2): 0.0}


def test_a_thousand_equal_texts_cost_no_square():
    texts = [f"{text}{'!' * i}" for i in range(1000) for text in texts_of(1)]
    found = near_texts(shingles_of((i, (text,)) for i, text in enumerate(texts)))
    assert 999 <= len(found.first) <= 64 * 1000
    assert found.uncompared > 0
