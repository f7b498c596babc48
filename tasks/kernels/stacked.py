"""Networks of one architecture that are trained as one: a small step costs its dispatch, and s of them one dispatch.

With the parameters of s networks along a first axis, ``torch.vmap`` turns every operation into one for all of them;
linear layers and ReLU between them, which small networks mostly are, need none and take two thirds of the time.
Their losses are added, and as no network's loss depends on another's parameters, the gradient of the sum has each
network's own:

    θ : s × …        x : s × b × …        z_i = f(x_i; θ_i)        ∂(Σ_i ℓ_i)/∂θ_i = ∂ℓ_i/∂θ_i

Sums run in another order than in a network alone, so that the last bits differ, and nothing else: dropout draws for
each network what it would draw alone on a CPU, where masks are drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from tasks.kernels.axes import Float, Int, Shaped

# Of matrices with a side below this, BLAS sums in an order that depends on which of two factors comes first.
_NARROW = 16


class Stack:
    """s networks as one.

    Args:
        networks: of one architecture, each with its own state; ``write_back`` gives them the trained one.
        generators: of their dropout, one each, on the CPU.
    """

    def __init__(self, networks: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> None:
        self.networks = [network.train() for network in networks]
        self.parameters, self.buffers = torch.func.stack_module_state(self.networks)
        template = copy.deepcopy(self.networks[0])
        self._dropouts = _with_stacked_dropout(template)
        self._links = [_Link(module, prefix, self.parameters, self.buffers) for prefix, module in _chain(template)]
        self._generators = list(generators)
        self._shapes: dict[torch.Size, list[torch.Size]] = {}

    def __call__(
        self, x: Shaped[torch.Tensor, "s b *shape"], sizes: Sequence[int] | None = None
    ) -> Float[torch.Tensor, "s b k"]:
        """The outputs of every network on its own batch, in training mode.

        Args:
            x: the batches.
            sizes: s, how much of each batch there is; what fills it up drops nothing. Default: all.
        """
        masks = self._masks(x, sizes or [x.shape[1]] * len(x)) if self._dropouts else []
        return self._forward(x, masks)

    def _forward(self, x: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
        for dropout, mask in zip(self._dropouts, masks, strict=bool(masks)):
            dropout.mask = mask
        is_ours = False  # whether what comes next may change it in place
        for link in self._links:
            x, is_ours = link(x, is_ours), link.makes_anew
        return x

    def _masks(self, x: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        """What each dropout multiplies by: 0 with probability p, else 1 / (1 − p); s × its inputs' shape."""
        if x.shape not in self._shapes:
            # One pass that drops nothing says what shapes there are.
            for dropout in self._dropouts:
                dropout.mask = None
            with torch.no_grad():
                self._forward(x, [])
            self._shapes[x.shape] = [dropout.shape for dropout in self._dropouts]
        shapes = self._shapes[x.shape]
        masks = [torch.ones(len(x), *shape) for shape in shapes]
        for index, (generator, size) in enumerate(zip(self._generators, sizes, strict=True)):
            # One network after the other draws as it would alone: for one layer after the other, in a batch of its own.
            for mask, dropout in zip(masks, self._dropouts, strict=True):
                mask[index, :size].bernoulli_(1 - dropout.p, generator=generator).div_(max(1 - dropout.p, 1e-38))
        return [mask.to(x.device) for mask in masks]

    def state(self, index: int) -> dict[str, torch.Tensor]:
        """Parameters and buffers of one network, as views of what all of them share."""
        return {name: value.detach()[index] for name, value in (*self.parameters.items(), *self.buffers.items())}

    def write_back(self) -> list[nn.Module]:
        """The networks, each with its slice of the state."""
        with torch.no_grad():
            for index, network in enumerate(self.networks):
                state = self.state(index)
                for name, value in (*network.named_parameters(), *network.named_buffers()):
                    value.copy_(state[name])
        return self.networks


class Stackable(nn.Module):
    """Base of modules without parameters that say what they do in a stack: vmap costs a small step a tenth."""

    def stacked(
        self, x: Shaped[torch.Tensor, "s b *shape"], buffers: dict[str, torch.Tensor]
    ) -> Float[torch.Tensor, "s b *outputs"]:
        """Its outputs for each of s networks, of whose buffers ``buffers`` has each along a first axis."""
        raise NotImplementedError(f"{type(self).__name__} must define stacked()")


class _Link:
    """One module of those that a network calls one after the other, of all networks at once.

    Args:
        module: of a network.
        prefix: of its names among theirs.
        parameters: of all networks, each s × its own shape.
        buffers: as well.
    """

    def __init__(
        self, module: nn.Module, prefix: str, parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]
    ) -> None:
        self.module = module
        self._parameters, self._buffers = (
            {name.removeprefix(prefix): value for name, value in of_all.items() if name.startswith(prefix)}
            for of_all in (parameters, buffers)
        )
        self._dropouts = [inner for inner in module.modules() if isinstance(inner, StackedDropout)]
        self._is_plain = _is_plain(module)
        self.makes_anew = self._is_plain and type(module) is nn.Linear
        """Whether nobody else has what it returns."""

    def __call__(self, x: torch.Tensor, is_ours: bool) -> torch.Tensor:
        module = self.module
        if self._is_plain:
            if type(module) is nn.Linear:
                return _linear(x, self._parameters["weight"], self._parameters.get("bias"))
            if type(module) is nn.ReLU:
                return x.relu_() if is_ours else x.relu()
            if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
                return x.flatten(2)
            if isinstance(module, Stackable):
                return module.stacked(x, self._buffers)
        masks = [dropout.mask for dropout in self._dropouts if dropout.mask is not None]
        return torch.vmap(self._outputs, randomness="error")(self._parameters, self._buffers, masks, x)

    def _outputs(self, parameters: Any, buffers: Any, masks: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for dropout, mask in zip(self._dropouts, masks, strict=bool(masks)):
            dropout.mask = mask
        return torch.func.functional_call(self.module, (parameters, buffers), (x,))


def _chain(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What a network calls one after the other, each with the prefix of its names; itself, where it is no chain."""
    if type(module) is nn.Sequential and _is_plain(module):
        for name, child in module._modules.items():
            assert child is not None  # noqa: S101  a chain has none
            yield from _chain(child, f"{prefix}{name}.")
    else:
        yield prefix, module


def _is_plain(module: nn.Module) -> bool:
    """Whether a call of it is its type's ``forward`` and nothing else."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(module)


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if x.dim() == 3:
        return _Linear.apply(x, weight, bias)
    return _Linear.apply(x.flatten(1, -2), weight, bias).unflatten(1, x.shape[1:-1])


class _Linear(torch.autograd.Function):
    """z_i = x_i W_iᵀ + b_i of s networks: x s × n × h, W s × k × h, b s × k.

    The gradients of W lie in memory as W does, but for narrow ones; those that autograd finds are turned round, and
    copied each time.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        z = torch.bmm(x, weight.transpose(1, 2))
        return z if bias is None else z.add_(bias.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            grad.bmm(weight) if of_x else None,
            _of_weight(x, grad) if of_weight else None,
            grad.sum(1) if of_bias else None,
        )


def _of_weight(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Σ over rows of ∂ℓ/∂z ⊗ x, s × k × h, to the last bit as autograd finds it."""
    if min(x.shape[2], grad.shape[2]) < _NARROW:
        return x.transpose(1, 2).bmm(grad).transpose(1, 2)
    return grad.transpose(1, 2).bmm(x)


class StackedDropout(nn.Module):
    """Dropout by a mask that is drawn outside, for vmap would draw for all networks from one generator."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.mask: torch.Tensor | None = None
        self.shape = torch.Size()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x ⊙ mask; without a mask x, whose shape is noted."""
        self.shape = x.shape
        return x if self.mask is None or not self.training else x * self.mask


def _with_stacked_dropout(network: nn.Module) -> list[StackedDropout]:
    """Put stacked dropout in the place of torch's."""
    replaced = []
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                replaced.append(StackedDropout(child.p).train(child.training))
                setattr(module, name, replaced[-1])
    return replaced


def weighted_means(
    losses: Float[torch.Tensor, "s b"],
    sizes: Int[torch.Tensor, "s"] | None,
    weights: Float[torch.Tensor, "s b"] | None = None,
) -> Float[torch.Tensor, "s"]:
    """The mean of w ℓ of each network over the first ``sizes`` of its batch, over all of it without; w = 1 without."""
    if weights is not None:
        losses = losses * weights
    if sizes is None:
        return losses.mean(1)
    counts = torch.arange(losses.shape[1], device=losses.device) < sizes.unsqueeze(1)
    # A choice and no product: what fills a batch up may have an infinite loss.
    return torch.where(counts, losses, torch.zeros_like(losses)).sum(1) / sizes
