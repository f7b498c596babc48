"""Conversations by a tokenizer's own chat template: what is learned of them is what the assistant says."""

from __future__ import annotations

import json

import pytest

from tasks.core.errors import BadConfig
from tasks.dataset.chat_template import PLAIN, Chat, ChatRefusal, ChatTemplate, digest_in, plain_template, template_in
from tasks.dataset.tokenizer import Tokens

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + eos_token }}"
    "{% endgeneration %}{% else %}{{ message['content'] | trim + eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
)
ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
TWO_TURNS = json.dumps(
    [
        {"role": "user", "content": "how many"},
        {"role": "assistant"},
        {"role": "user", "content": "sure"},
        {"role": "assistant"},
    ]
)


@pytest.fixture
def folder(tmp_path):
    """A folder as save_pretrained leaves it: words, and three marks of a chat."""
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[PAD]", "[UNK]", "user", "assistant", "how", "many", "eight", "yes", "sure", "<|im_start|>", "<|im_end|>"]
    unknown = {"unk_token": "[UNK]"}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, **unknown))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "<|im_start|>", "<|im_end|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "bos_token": None, "chat_template": CHATML}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def chat_of(folder):
    return Tokens.of(str(folder), 0, between="\n", chat=Chat(template=PLAIN, format="messages", columns=("messages",)))


def learned(tokens, dialogue, label, length=64):
    """(all that is read, what is learned of it), as ids."""
    ids, marks = tokens.encode([[dialogue], [label]], (2, length))[0].tolist()
    return ids, [token for token, mark in zip(ids, marks, strict=True) if mark]


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else(folder):
    ids, answers = learned(chat_of(folder), TWO_TURNS, "eight␞yes")
    assert answers == [6, 10, 7, 10]
    assert ids[:18] == [9, 2, 4, 5, 10, 9, 3, 6, 10, 9, 2, 8, 10, 9, 3, 7, 10, 0]


def test_the_ids_are_those_of_the_library(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))
    contents = ("how many", "eight", "sure", "yes")
    turns = [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]
    said = theirs.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    ids, _ = learned(chat_of(folder), TWO_TURNS, "eight␞yes")
    assert ids[: len(said["input_ids"])] == said["input_ids"]
    assert sum(said["assistant_masks"]) == 4


def test_an_earlier_answer_that_is_not_learned_is_read(folder):
    turns = json.loads(TWO_TURNS)
    turns[1]["content"] = "eight"
    ids, answers = learned(chat_of(folder), json.dumps(turns), "yes")
    assert answers == [7, 10]
    assert ids[:17] == learned(chat_of(folder), TWO_TURNS, "eight␞yes")[0][:17]


def test_the_label_of_another_conversation_can_take_the_place_of_ones_own(folder):
    tokens = chat_of(folder)
    assert learned(tokens, TWO_TURNS, "eight")[1] == [6, 10, 10]
    one = json.dumps(json.loads(TWO_TURNS)[:2])
    assert learned(tokens, one, "eight␞yes")[1] == [6, 1, 7, 10]  # the mark between them is a word like another


def test_a_template_of_its_own_file_and_one_of_several_are_found(folder):
    before = digest_in(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": several}))
    assert digest_in(folder) == before
    (folder / "chat_template.jinja").write_text(ALTERNATING)
    assert digest_in(folder) != before
    template = ChatTemplate(ALTERNATING, {"bos_token": "<s>", "eos_token": "</s>"})
    assert [tuple(segment) for segment in template.segments(TWO_TURNS, "eight␞yes")] == [
        ("<s>[INST] how many [/INST]", False, False),
        ("eight</s>", True, False),
        ("[INST] sure [/INST]", False, False),
        ("yes</s>", True, False),
    ]


def test_without_a_template_a_plain_one_is_used_and_a_response_ends_as_others_do(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    assert digest_in(folder) == PLAIN
    assert learned(chat_of(folder), TWO_TURNS, "eight␞yes")[1] == [6, 10, 7, 10]
    whole = "".join(segment.text for segment in plain_template().segments(TWO_TURNS, "eight␞yes"))
    assert whole == "user: how many\nassistant: eight\nuser: sure\nassistant: yes"


def test_a_changed_template_is_noticed(folder):
    tokens = chat_of(folder)
    (folder / "chat_template.jinja").write_text(ALTERNATING)
    with pytest.raises(BadConfig, match="the chat template the samples were ingested with"):
        learned(tokens, TWO_TURNS, "eight␞yes")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ raise_exception('no system, please') }}", "no system, please"),
        ("{{ messages[0]['content'] }}", "leaves an answer out"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% set _ = messages.append(1) %}", "unsafe"),
    ],
)
def test_what_a_template_refuses_or_must_not_do_is_refused(source, words):
    with pytest.raises(ChatRefusal, match=words):
        ChatTemplate(source, {}).segments(TWO_TURNS, "a␞b")


def test_what_is_no_template_is_refused(folder):
    (folder / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(ChatRefusal):
        template_in(folder)


def test_what_is_too_long_loses_the_beginning_of_its_prompt_and_its_own_end_and_the_mask_with_it(folder):
    ids, answers = learned(chat_of(folder), TWO_TURNS, "eight␞yes", length=12)
    assert ids == [10, 9, 3, 6, 10, 9, 2, 8, 10, 9, 3, 7]
    assert answers == [6, 10, 7]
    assert chat_of(folder).cut([[TWO_TURNS], ["eight␞yes"]], (2, 12)) == 1
