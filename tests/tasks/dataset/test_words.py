"""Words of any script: whole with their marks, by characters and their pairs where there are no spaces, in one form."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadConfig
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.dataset.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Árẹ̀wá ọmọ", ["árẹ̀wá", "ọmọ"]),
        ("हिन्दी में लिखना", ["हिन्दी", "में", "लिखना"]),
        ("என் தமிழ்", ["என்", "தமிழ்"]),
        ("می\u200cخواهم رفتن", ["می\u200cخواهم", "رفتن"]),
        ("한국어 공부!", ["한국어", "공부", "!"]),
        ("Straße, STRASSE", ["strasse", ",", "strasse"]),
        ("Fuß\u00adball", ["fussball"]),
        ("snake_case x2 3.5", ["snake_case", "x2", "3", ".", "5"]),
    ],
)
def test_a_word_keeps_its_marks(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我喜欢北京。", ["我", "我喜", "喜", "喜欢", "欢", "欢北", "北", "北京", "京", "。"]),
        ("第3章ABC", ["第", "3", "章", "abc"]),
        (
            "ラーメンをたべる",
            ["ラ", "ラー", "ー", "ーメ", "メ", "メン", "ン", "ンを", "を", "をた", "た", "たべ", "べ", "べる", "る"],
        ),
        ("ภาษาไทย", ["ภ", "ภา", "า", "าษ", "ษ", "ษา", "า", "าไ", "ไ", "ไท", "ท", "ทย", "ย"]),
        ("ไทย\u200bลาว", ["ไ", "ไท", "ท", "ทย", "ย", "ล", "ลา", "า", "าว", "ว"]),
        ("ລາວ", ["ລ", "ລາ", "າ", "າວ", "ວ"]),
        ("ភាសាខ្មែរ", ["ភា", "ភាសា", "សា", "សាខ្មែ", "ខ្មែ", "ខ្មែរ", "រ"]),
        ("မြန်မာ", ["မြ", "မြန်", "န်", "န်မ", "မ", "မာ", "ာ"]),
    ],
)
def test_scripts_without_spaces_give_characters_and_pairs_of_them(text, words):
    assert words_of(text) == words


def test_an_emoji_is_one_mark_whatever_it_is_composed_of():
    assert words_of("❤️ 👨‍👩‍👧👍🏽🇩🇪🇫🇷 1️⃣") == ["❤️", "👨‍👩‍👧", "👍🏽", "🇩🇪", "🇫🇷", "1️⃣"]


def test_widths_and_ligatures_are_one_spelling():
    assert words_of("ＡＢＣ ﾗｰﾒﾝ ﬁn") == words_of("abc ラーメン fin")


_LETTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_MARKED = st.lists(st.sampled_from("aeioubdnẹàñสิำกดन्दिकाー가각ạ̀́̂̄ \u0323\u200d")).map("".join)


@settings(deadline=None)
@given(_LETTERS | _MARKED)
def test_no_normal_form_of_a_text_gives_other_ids(text):
    tokens = Tokens.of("words", 1 << 20)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]  # type: ignore[arg-type]
    ids = tokens.encode([[text, *forms]], (64,)).tolist()
    assert ids == ids[:1] * 5


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_ascii_parts_as_it_did_in_the_first_edition_beside_other_letters_too(text):
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    assert words_of(text) == words_of(text, 1) == words
    assert words_of(f"é {text}") == ["é", *words]


def test_a_payload_written_before_reads_as_it_was_written():
    payload = {"kind": "tokens", "columns": ["t"], "shape": [8], "dtype": "int32"}
    before = {"tokenizer": "words", "digest": "", "vocabulary": 1000, "pad": 0}
    old = Payload.model_validate(payload | {"tokens": before}).tokens
    new = Tokens.of("words", 1000)
    assert old is not None
    assert old.model_dump() == before
    assert new.model_dump() == before | {"edition": 2}
    text = "Árẹ̀wá"  # e with a dot below, then a mark that no letter has with it
    assert (old.encode([[text]], (8,)) != old.pad).sum() == 2 + 3
    assert (new.encode([[text]], (8,)) != new.pad).sum() == 2 + 1
    assert (old.encode([["plain text"]], (8,)) == new.encode([["plain text"]], (8,))).all()


def test_an_edition_that_is_not_known_is_refused():
    tokens = Tokens(tokenizer="words", digest="", vocabulary=1000, pad=0, edition=3)
    with pytest.raises(BadConfig, match="an edition up to 2"):
        tokens.encode([["a"]], (8,))
