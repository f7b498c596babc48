"""Modules that networks are built of."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from tasks.kernels.stacked import Stackable
from tasks.kernels.tokens import bag
from tasks.training.given_weights import logits_of


class Standardize(Stackable):
    """(x − mean) / std by feature, or by channel for images; the first layer of every network.

    The statistics are those of the samples the network is trained on, kept in its state: what is stored stays bytes.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        statistic = (shape[0], 1, 1) if len(shape) == 3 else shape
        self.register_buffer("mean", torch.zeros(statistic))
        self.register_buffer("std", torch.ones(statistic))

    def fit(self, x: torch.Tensor, rows: torch.Tensor) -> None:
        """Set the statistics from the samples ``rows`` of ``x``, in float64 and in chunks."""
        axes = (0, 2, 3) if x.dim() == 4 else (0,)
        count = len(rows) * (self.features(x[:1]).numel() // self.mean.numel())
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        chunks = rows.split(4096)
        for chunk in chunks:
            total += self.features(x[chunk]).double().sum(axes).view_as(total)
        mean = total / count
        squares = torch.zeros_like(total)
        for chunk in chunks:
            squares += ((self.features(x[chunk]).double() - mean) ** 2).sum(axes).view_as(total)
        std = (squares / count).sqrt()
        self.mean.copy_(mean)
        # A constant feature says nothing: it becomes zero, not a division by zero.
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised float32."""
        return (self.features(x).float() - self.mean) / self.std

    def stacked(self, x: torch.Tensor, buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        """The same of s networks at once."""
        features = self.features(x.flatten(0, 1)).float().unflatten(0, x.shape[:2])
        return (features - buffers["mean"].unsqueeze(1)) / buffers["std"].unsqueeze(1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What is standardised: the inputs themselves."""
        return x


class BagOfTokens(Standardize):
    """Counts of a text's tokens, hashed and standardised: the first layer of a network that knows only numbers."""

    WIDTH = 2048

    def __init__(self, pad: int) -> None:
        super().__init__((self.WIDTH,))
        self.pad = pad

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """n × WIDTH counts."""
        return bag(x, pad=self.pad, width=self.WIDTH)


class AsGiven(nn.Module):
    """Inputs as they are, or pixels on the scale of ImageNet's: (x / 255 − mean) / std by channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...] = (0.0,), std: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def fit(self, x: torch.Tensor, rows: torch.Tensor) -> None:
        """Nothing to learn from the samples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32."""
        return x.float() if len(self.mean) == 1 else (x.float() / 255 - self.mean) / self.std


class Verbatim(nn.Module):
    """Token ids as an embedding takes them; they name and do not measure, so there is nothing to standardise."""

    def fit(self, x: torch.Tensor, rows: torch.Tensor) -> None:
        """Nothing to learn from the samples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """int64 ids."""
        return x.long()


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """relu(F(x) + shortcut(x))."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class SmallResidual(nn.Module):
    """A residual network of three scales for pictures, cheap enough that 1,000 of them are proved on two cores.

    Pictures are averaged to a shorter side of 32 to 63 pixels first. Of the shapes tried on 4,000 CIFAR-10 pictures
    (12 epochs, µs of CPU a sample · accuracy): a perceptron 34 · .42, this one 304 · .57, half as wide again 535 · .59,
    its first block at twice the resolution 727 · .62.

    Args:
        shape: (channels, height, width) of a picture.
        classes: k.
    """

    SIDE, WIDTH = 32, 16

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        factor, w = max(1, min(height, width) // self.SIDE), self.WIDTH
        self.scale = nn.AvgPool2d(factor) if factor > 1 else nn.Identity()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, w, 3, padding=1, bias=False), nn.BatchNorm2d(w), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.blocks = nn.Sequential(BasicBlock(w, 2 * w, 2), BasicBlock(2 * w, 4 * w, 2))
        self.head = nn.Linear(4 * w, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × k."""
        return self.head(self.blocks(self.stem(self.scale(x))).mean((2, 3)))


class Logits(nn.Module):
    """A network that returns its logits along with something else: the logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × k."""
        return logits_of(self.network(x))


def returns_tensor(network: nn.Module, example: torch.Tensor) -> bool:
    """Whether a network returns nothing but its logits; one that cannot take the example is told of elsewhere."""
    was_training = network.training
    try:
        with torch.no_grad():
            return logits_of(outputs := network.eval()(example)) is outputs
    except (RuntimeError, TypeError, ValueError):
        return True
    finally:
        network.train(was_training)


class OnPretrained(nn.Module):
    """Base of networks on an encoder some of whose parameters whoever builds it gives it again: no state holds them."""

    encoder: nn.Module
    pretrained_names: frozenset[str]

    def leave_out_pretrained(self, names: frozenset[str]) -> None:
        """No state holds these parameters of the encoder."""
        self.pretrained_names = names
        self.register_state_dict_post_hook(_without_pretrained)
        self.register_load_state_dict_pre_hook(_with_pretrained)


def _without_pretrained(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, _metadata: object) -> None:
    assert isinstance(module, OnPretrained)  # noqa: S101  the hook is set on these only
    for name in module.pretrained_names:
        state.pop(f"{prefix}encoder.{name}", None)


def _with_pretrained(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_rest: object) -> None:
    assert isinstance(module, OnPretrained)  # noqa: S101  the hook is set on these only
    own = dict(module.encoder.named_parameters(remove_duplicate=False))
    for name in module.pretrained_names:
        state.setdefault(f"{prefix}encoder.{name}", own[name].detach())


class TextClassifier(OnPretrained):
    """An encoder of token ids, one vector a text, and a linear head.

    Args:
        encoder: called with input_ids and attention_mask (and token_type_ids for pairs); its ``last_hidden_state`` is
            n × length × width.
        width: of that.
        classes: k.
        pad: the id the encoder does not look at.
        pooling: ``mean`` over the tokens, or the ``first`` one's vector.
        dropout: before the head.
        frozen: the encoder stays as it is, and in evaluation mode.
        pretrained_names: of the encoder's parameters that whoever builds it gives it again: no state holds them.
    """

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        classes: int,
        *,
        pad: int,
        pooling: str,
        dropout: float,
        frozen: bool,
        pretrained_names: frozenset[str],
    ) -> None:
        super().__init__()
        self.encoder, self.dropout, self.head = encoder, nn.Dropout(dropout), nn.Linear(width, classes)
        self.pad, self.pooling, self.frozen = pad, pooling, frozen
        self.leave_out_pretrained(pretrained_names)

    def train(self, mode: bool = True) -> TextClassifier:
        """As ever, but for a frozen encoder: its dropout would be noise and no regularisation."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × length ids, or n × 2 × length ids and segments → n × k."""
        ids, segments = (x[:, 0], {"token_type_ids": x[:, 1]}) if x.dim() == 3 else (x, {})
        mask = ids != self.pad
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long(), **segments).last_hidden_state
        if self.pooling == "mean":
            weights = mask.unsqueeze(2).to(hidden)
            # A text of nothing but padding exists on a probe only.
            vectors = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        else:
            vectors = hidden[:, 0]
        return self.head(self.dropout(vectors))


class ResponseLikelihood(OnPretrained):
    """A causal language model, asked how likely it thinks the response it was given: n × 2 × length → n × 1.

        z = (1/|R|) Σ_{t ∈ R} log p(x_t | x_<t),   R the places of the response and its end

    So a loss is −z, and what is known of networks with one output is known of it. Padding stands behind the response,
    where nothing looks back from. Places before the earliest response of a batch are given no logits, where the
    library can leave them out (``logits_to_keep``) and nothing is compiled: over a whole vocabulary they are a fifth
    of a small model's work. On a GPU that is one synchronisation a batch.

    Args:
        encoder: called with input_ids; its ``logits`` are n × places × vocabulary.
        pretrained_names: of its parameters that whoever builds it gives it again, so that no state holds them.
    """

    def __init__(self, encoder: nn.Module, *, pretrained_names: frozenset[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self._takes_positions = "logits_to_keep" in inspect.signature(encoder.forward).parameters
        self.leave_out_pretrained(pretrained_names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Ids, and ones where the response is."""
        ids, is_response = x[:, 0], x[:, 1, 1:].bool()
        indices = self._logit_count(is_response)
        options = {"logits_to_keep": indices} if indices else {}
        logits = self.encoder(input_ids=ids, use_cache=False, **options).logits[:, :-1].float()
        length = logits.shape[1]
        losses = -nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, -length:].flatten(), reduction="none").view(
            -1, length
        )
        weights = is_response[:, -length:].to(losses)
        return ((losses * weights).sum(1) / weights.sum(1).clamp(min=1)).unsqueeze(1)

    def _logit_count(self, is_response: torch.Tensor) -> int:
        """How many at the end need logits, the one before the first response's first token among them; 0 is all."""
        if not self._takes_positions or torch.compiler.is_compiling():
            return 0
        somewhere = is_response.any(0).nonzero()
        return is_response.shape[1] + 1 - int(somewhere[0]) if len(somewhere) else 0
