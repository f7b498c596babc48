"""What a folder of sentence-transformers says of the way from a text to its vector, beside its transformer.

``modules.json`` lists what follows the transformer: a pooling of its tokens, then layers. A folder without it is one of
transformers alone, whose text is the mean of its tokens. What is not known here is refused: a vector that is made in
another way than its encoder was trained for is a wrong one, and nobody would see it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import BadModel, cause_of
from tasks.pipeline.stored_names import inside

if TYPE_CHECKING:
    import torch

    Layer = Callable[[torch.Tensor], torch.Tensor]

_MODULES, _POOLING, _WEIGHTS = "modules.json", "1_Pooling", "model.safetensors"
# Before 5.0 each way of pooling had a switch; several are put one behind the other, in this order.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "SiLU", "Sigmoid")


class SentenceModules(NamedTuple):
    """What is done with a text before the transformer, and with the vectors of its tokens behind it."""

    pooling: tuple[str, ...] = ("mean",)
    layers: tuple[tuple[str, Path], ...] = ()
    """Kinds and folders."""
    prompt: str = ""
    """What stands before every text."""
    lower_case: bool = False
    length: int | None = None
    """Tokens that are read at most; None: as many as the transformer reads."""

    def prepared(self, text: str) -> str:
        """A text as the tokenizer is to have it."""
        return self.prompt + (text.lower() if self.lower_case else text)

    def vectors(self, tokens: torch.Tensor, mask: torch.Tensor, layers: list[Layer]) -> torch.Tensor:
        """Of n × t × d vectors of tokens, those that ``mask`` marks, one vector a text, n × e."""
        import torch

        vector = torch.cat([pooled(mode, tokens, mask) for mode in self.pooling], 1)
        for layer in layers:
            vector = layer(vector)
        return vector

    def loaded(self, device: torch.device) -> list[Layer]:
        """Its layers, with their weights.

        Raises:
            BadModel: they cannot be read.
        """
        return [_layer(kind, folder, device) for kind, folder in self.layers]


def modules_of(folder: Path) -> SentenceModules:
    """What a folder says.

    Raises:
        BadModel: it asks for what is not known here.
    """
    about = _read(folder / "config_sentence_transformers.json")
    # Older versions called it by the transformer: sentence_roberta_config.json.
    limits = next((_read(path) for path in sorted(folder.glob("sentence_*_config.json"))), {})
    listed = _listed(folder)
    pooling, layers = ("mean",), []
    for kind, path in listed:
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind in ("Dense", "LayerNorm", "Normalize"):
            layers.append((kind, path))
        elif kind != "Dropout":
            raise _unknown(folder, f"a module {kind}")
    prompt = (about.get("prompts") or {}).get(about.get("default_prompt_name") or "", "") or ""
    if prompt and not all(_read(path / "config.json").get("include_prompt", True) for kind, path in listed):
        raise _unknown(folder, "a prompt that is left out of the pooling")
    return SentenceModules(
        pooling, tuple(layers), prompt, bool(limits.get("do_lower_case")), limits.get("max_seq_length")
    )


def pooled(mode: str, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """n × d of n × t × d, by the tokens that the n × t mask marks: as sentence-transformers' Pooling has it.

    ``cls`` is the first of them and ``lasttoken`` the last, ``max`` the largest of each value, ``mean`` Σ x/m,
    ``mean_sqrt_len_tokens`` Σ x/√m, and ``weightedmean`` Σ i x/Σ i with i = 1 … m.
    """
    import torch

    marked = mask.bool().unsqueeze(2)
    if mode == "max":
        return tokens.masked_fill(~marked, float("-inf")).amax(1)
    if mode in ("cls", "lasttoken"):
        places = mask.cumsum(1) * mask
        wanted = 1 if mode == "cls" else places.amax(1, keepdim=True)
        place = (places == wanted).to(torch.uint8).argmax(1)
        return tokens[torch.arange(len(tokens), device=tokens.device), place]
    weights = (mask.cumsum(1) * mask if mode == "weightedmean" else mask).unsqueeze(2).to(tokens)
    count = weights.sum(1).clamp(min=1e-9)
    return (tokens * weights).sum(1) / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """Kinds and folders of the modules behind the transformer, in their order."""
    if not (folder / _MODULES).is_file():
        return [("Pooling", folder / _POOLING)] if (folder / _POOLING / "config.json").is_file() else []
    modules = _read(folder / _MODULES)
    if not isinstance(modules, list) or not all(isinstance(m, dict) and {"type", "path"} <= m.keys() for m in modules):
        raise _unknown(folder, f"a {_MODULES} that lists no modules")
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if kinds[:1] != ["Transformer"] or modules[0]["path"]:
        raise _unknown(folder, f"a first module {kinds[0]} in {modules[0]['path'] or '.'}" if kinds else "no module")
    return [(kind, inside(folder, module["path"])) for kind, module in zip(kinds[1:], modules[1:], strict=True)]


def _pooling(path: Path) -> tuple[str, ...]:
    config = _read(path / "config.json")
    modes = config.get("pooling_mode") or [mode for switch, mode in _SWITCHES.items() if config.get(switch)]
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= set(_SWITCHES.values()):
        raise _unknown(path, f"a pooling by {', '.join(map(str, modes)) or 'nothing'}")
    return modes


def _layer(kind: str, path: Path, device: torch.device) -> Layer:
    """A layer behind the pooling, in its own weights."""
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional

    config = _read(path / "config.json")
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding" or config.get("use_residual"):
        raise _unknown(path, f"a module {kind} that is connected otherwise")
    if kind == "Normalize":
        return lambda vector: functional.normalize(vector, dim=1)
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if kind == "Dense" and activation not in _ACTIVATIONS:
        raise _unknown(path, f"an activation {activation}")
    try:
        weights = {name: weight.to(device).float() for name, weight in load_file(path / _WEIGHTS).items()}
        if kind == "LayerNorm":
            scale, shift = weights["norm.weight"], weights["norm.bias"]
            return lambda vector: functional.layer_norm(vector, scale.shape, scale, shift)
        matrix, bias = weights["linear.weight"], weights.get("linear.bias")
    except (OSError, KeyError, ValueError) as error:
        raise BadModel(
            where=str(path),
            expected=f"{_WEIGHTS} with the weights of a module {kind}",
            got=cause_of(error),
            do="Write the folder again with SentenceTransformer.save; a pickle (pytorch_model.bin) is not read.",
        ) from error
    return lambda vector: getattr(nn, activation)()(functional.linear(vector, matrix, bias))


def _read(path: Path) -> Any:
    """What a file of JSON says; of one that is not there nothing."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadModel(where=str(path), expected="JSON", got=cause_of(error), do="Write the folder again.") from error


def _unknown(folder: Path, got: str) -> BadModel:
    kinds = "a transformer with the modules Pooling, Dense, LayerNorm, Dropout and Normalize of sentence-transformers"
    return BadModel(
        where=f"model encoder, weights {folder}",
        expected=kinds,
        got=got,
        do="Write its vectors into a column of the source, as sentence-transformers encodes the texts, and name that "
        "column with --reader.features.",
    )
