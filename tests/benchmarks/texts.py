"""Hook-based peers that project in the Kronecker way, on the Linear layers of one small random Llama."""

# pyright: reportMissingImports=false
# Peers are installed only where one is measured beside them.

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.projections import Projection

Candidate = Callable[[], torch.Tensor]


class Logits(nn.Module):
    """A transformers model that gives its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """n × classes."""
        return self.model(ids).logits


class Text:
    """Llama for sequence classification (6 layers of width 256, no biases), a batch, and one projection for all."""

    def __init__(self, n: int, tokens: int, d: int, device: torch.device) -> None:
        from transformers import LlamaConfig, LlamaForSequenceClassification

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=5000,
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=4,
            pad_token_id=0,
            use_cache=False,
        )
        config.num_labels = 10  # a property, and in the annotations of transformers 5 no argument
        self.network = Logits(LlamaForSequenceClassification(config)).eval().to(device)
        self.ids = torch.randint(1, 5000, (n, tokens), device=device)
        self.labels = torch.randint(10, (n,), device=device)
        self.projection = Projection("kronecker", d, 0, device)
        self.names = [name for name, m in self.network.named_modules() if isinstance(m, nn.Linear)]
        self.side = round(d**0.5)
        assert self.side**2 == d

    def factors(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Our matrices of one layer, d_out × o and d_in × i."""
        layer = self.network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        return self.projection.factors(f"{name}.weight", layer.out_features, layer.in_features)

    def copied(self) -> nn.Module:
        """A copy that differentiates with respect to its token table alone, as Bergson itself sets a model up: hooks
        see every δ, and no weight's gradient is computed for nothing."""
        network = copy.deepcopy(self.network).requires_grad_(False)
        network.get_submodule("model.model.embed_tokens").requires_grad_()
        return network

    def backward(self, network: nn.Module) -> None:
        """Of the summed loss."""
        cross_entropy(network(self.ids), self.labels, reduction="sum").backward()
        network.zero_grad(set_to_none=True)


def ours(text: Text) -> Candidate:
    """With exact norms, which the peers do not give."""
    taker = LayerGradientTaker(text.network, text.names, text.ids[:2])
    return lambda: taker.take(text.ids, text.labels, Loss(), text.projection).gradient


def by_bergson(text: Text) -> Candidate:
    """Bergson's in-training collector with our matrices planted; its layers' parts are summed as ours are."""
    from bergson import GradientProcessor
    from bergson.collector.gradient_collectors import StreamingGradientCollector

    processor = GradientProcessor(projection_dim=text.side)
    for name in text.names:
        p_out, p_in = text.factors(name)
        processor._projection_matrices[name, "left", p_out.device] = p_out
        processor._projection_matrices[name, "right", p_in.device] = p_in
    network = text.copied()
    collector = StreamingGradientCollector(
        model=network,  # type: ignore[arg-type]
        processor=processor,
        target_modules=set(text.names),
        dtype=torch.float32,
    )

    def run() -> torch.Tensor:
        with collector:
            text.backward(network)
        found = torch.stack(list(collector.mod_grads.values())).sum(0)
        collector.mod_grads.clear()
        return found

    return run


def by_dattri(text: Text) -> Candidate:
    """dattri's LoGra (the hooks of block_projected_if, which torch.compile is part of) with our matrices planted."""
    from dattri.algorithm.block_projected_if.core.compressor import setup_model_compressors
    from dattri.algorithm.block_projected_if.core.hook import HookManager

    network, device = text.copied(), str(text.ids.device)
    shared: dict[str, Any] = {"device": device, "proj_max_batch_size": 64}
    first, second = {"proj_dim": text.side, "proj_type": "normal"}, {"proj_dim": -1, "proj_type": "identity"}
    compressors = setup_model_compressors(network, text.names, shared | first, shared | second, [text.ids], device)  # type: ignore[arg-type]
    for name, compressor in zip(text.names, compressors, strict=True):
        for projector, matrix in zip(_projectors(compressor), text.factors(name), strict=True):
            projector.proj_matrix = matrix.T.contiguous() * text.side**0.5  # it divides by √d itself
    hooks = HookManager(network, text.names, device)
    hooks.set_compressors(compressors)

    def run() -> torch.Tensor:
        text.backward(network)
        # It undoes the mean over a batch that training losses have; ours is a sum.
        return torch.stack([g for g in hooks.get_compressed_grads() if g is not None]).sum(0) / len(text.ids)

    return run


def _projectors(compressor: Any) -> list[Any]:
    """The projector objects behind the two functions that a Sparsifier holds."""
    found = []
    for function in compressor.sparsifier.sparsifier_comp:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        found.append(cells["projector"].cell_contents)
    return found
