"""Where chosen parameters are applied in a network, and how samples lie in what comes out there.

Parameters that are used more than once (shared layers, tied weights) are one, whatever the number of their sites.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from tasks.kernels.attention import attend, input_weights
from tasks.kernels.factors import Factors
from tasks.kernels.positions import linear
from tasks.kernels.rules import UnfitLayer, refuse_unknown


class Parameter:
    """One parameter (or the rows of a packed one): where its gradient goes, and what has come in."""

    def __init__(self, name: str, matrix: tuple[int, int] | None, size: int, offset: int, layer: int) -> None:
        self.name, self.matrix, self.size, self.offset, self.layer = name, matrix, size, offset, layer
        self.reset()

    def reset(self) -> None:
        self.calls = 0
        self.is_filled = False
        self.factors: list[Factors] = []
        self.vector: torch.Tensor | None = None


class Site(NamedTuple):
    """A place where chosen parameters are applied."""

    key: str
    module: nn.Module
    weight: Parameter | None
    bias: Parameter | None


# How samples lie in a layer's output: (the axis, rows of it that each sample has); its shape if there is no such axis.
Layout = tuple[int, int] | torch.Size


class Sites:
    """The sites of the chosen layers of one network, and hooks for them.

    Args:
        network: in evaluation mode.
        names: of the layers (modules with parameters of their own), as ``named_modules`` has them.
        example: inputs of one sample or more, to see how samples lie in each layer's output.

    Raises:
        UnfitLayer: a layer of an unknown type, or one in which samples meet.
    """

    def __init__(self, network: nn.Module, names: list[str], example: torch.Tensor) -> None:
        self.network, self.names = network, names
        self.parameters: list[Parameter] = []
        self.size = 0
        """Values of all parameters together."""
        self.by_key = self._find()
        self.layouts: dict[str, list[Layout]] = {}
        """By key, one for each call."""
        self._trace(example)

    def _find(self) -> dict[str, Site]:
        modules = dict(self.network.named_modules())
        offsets: dict[int, tuple[str, int]] = {}
        own = {id(p) for name in self.names for p in modules[name].parameters(recurse=False)}
        for name, parameter in self.network.named_parameters():
            if id(parameter) in own:
                offsets[id(parameter)] = (name, self.size)
                self.size += parameter.numel()
        parameters: dict[tuple[int, int], Parameter] = {}

        def parameter_of(parameter: nn.Parameter | None, layer: int, first: int = 0, rows: int = 0) -> Parameter | None:
            if parameter is None:
                return None
            if (id(parameter), first) not in parameters:
                name, offset = offsets[id(parameter)]
                o = rows or len(parameter)
                i = parameter[0].numel()
                matrix = (o, i) if parameter.dim() > 1 else None
                label = f"{name}[{first}:]" if rows else name
                parameters[id(parameter), first] = Parameter(label, matrix, o * i, offset + first * i, layer)
            return parameters[id(parameter), first]

        sites = {}
        for layer, name in enumerate(self.names):
            module = modules[name]
            if isinstance(module, nn.MultiheadAttention):
                try:
                    weights = input_weights(module)
                except NotImplementedError as error:
                    raise UnfitLayer(name, str(error)) from error
                e = module.embed_dim
                for index, (which, (weight, first, bias)) in enumerate(weights.items()):
                    matrix_parameter = parameter_of(weight, layer, first, e)
                    sites[f"{name}.{which}"] = Site(
                        f"{name}.{which}", module, matrix_parameter, parameter_of(bias, layer, index * e, e)
                    )
                continue
            refuse_unknown(name, module)
            weight = parameter_of(getattr(module, "weight", None), layer)
            sites[name] = Site(name, module, weight, parameter_of(getattr(module, "bias", None), layer))
        self.parameters = list(parameters.values())
        return sites

    @contextlib.contextmanager
    def hooks(self, watch: Callable[[Site, torch.Tensor, torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """``watch`` sees every use of a chosen layer; parameters ask for no gradients meanwhile."""
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        with contextlib.ExitStack() as undo:
            undo.enter_context(_without_fast_path())
            for parameter in trainable:
                undo.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
            for site in self.by_key.values():
                if isinstance(site.module, nn.MultiheadAttention):
                    if "forward" not in vars(site.module):
                        undo.callback(delattr, site.module, "forward")
                        site.module.forward = self._attention(site.module, site.key.rpartition(".")[0], watch)
                    continue
                if type(site.module) is nn.Linear and "forward" not in vars(site.module):
                    undo.callback(delattr, site.module, "forward")
                    site.module.forward = partial(linear, site.module)  # pyright: ignore[reportAttributeAccessIssue]
                undo.callback(site.module.register_forward_hook(partial(_watched, watch, site)).remove)
            yield

    def _attention(self, module: nn.MultiheadAttention, name: str, watch: Any) -> Callable[..., Any]:
        return partial(attend, module, partial(self._project, module, name, watch, input_weights(module)))

    def _project(
        self, module: nn.MultiheadAttention, name: str, watch: Any, weights: Any, which: str, x: torch.Tensor
    ) -> torch.Tensor:
        weight, first, bias = weights[which]
        place = "qkv".index(which) * module.embed_dim
        rows = slice(first, first + module.embed_dim)
        shift = None if bias is None else bias[place : place + module.embed_dim]
        return watch(self.by_key[f"{name}.{which}"], x, functional.linear(x, weight[rows], shift))

    def _trace(self, example: torch.Tensor) -> None:
        """See with two samples and with three how each call's output grows with the batch."""
        shapes: list[dict[str, list[tuple[int, ...]]]] = []
        for n in (2, 3):
            shapes_of: dict[str, list[tuple[int, ...]]] = {key: [] for key in self.by_key}

            def watch(
                site: Site, _inputs: torch.Tensor, output: torch.Tensor, shapes_of: Any = shapes_of
            ) -> torch.Tensor:
                shapes_of[site.key].append(tuple(output.shape))
                return output

            # Of one sample: another might let the network do with less of an output, and more than one axis would grow.
            rows = torch.zeros(n, dtype=torch.int64, device=example.device)
            with self.hooks(watch), torch.no_grad():
                self.network(example[rows])
            shapes.append(shapes_of)
        for key, twos in shapes[0].items():
            threes = shapes[1][key]
            if len(twos) != len(threes):
                raise UnfitLayer(key, "it is called more often for larger batches")
            self.layouts[key] = [_layout(key, two, three) for two, three in zip(twos, threes, strict=True)]


def _watched(watch: Callable[..., Any], site: Site, _module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """What a hook of a layer's forward method hands on."""
    return watch(site, inputs[0], output)


_FAST_PATH = threading.Lock()
# The setting before the first that holds it, once for each that does.
_held: list[bool] = []


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Encoder layers apply their attention by its forward method, where it can be watched. The setting is the whole
    process's, and several threads may be at work: the last to leave restores it."""
    with _FAST_PATH:
        _held.append(_held[0] if _held else torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        with _FAST_PATH:
            before = _held.pop()
            if not _held:
                torch.backends.mha.set_fastpath_enabled(before)


def _layout(key: str, two: tuple[int, ...], three: tuple[int, ...]) -> Layout:
    grown = [axis for axis, (a, b) in enumerate(zip(two, three, strict=False)) if a != b]
    if len(two) != len(three) or len(grown) > 1:
        raise UnfitLayer(key, f"its output for two samples is {two}, for three {three}")
    if not grown:
        return torch.Size(two)
    (axis,) = grown
    if two[axis] % 2 or two[axis] // 2 * 3 != three[axis]:
        raise UnfitLayer(key, f"its output for two samples is {two}, for three {three}")
    return axis, two[axis] // 2
