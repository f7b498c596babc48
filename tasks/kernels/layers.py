"""Per-sample gradients of any chosen layers, from one forward and one backward pass of the whole batch.

A forward hook keeps a layer's input a, a hook on its output receives δ = ∂Σℓ/∂output, and as samples do not meet in
the network, row i of δ is sample i's own. From both the layer's per-sample gradient is projected, measured or built the
moment δ arrives (tasks/kernels/factors.py), and dropped. No parameter takes part in the backward pass: it costs what
the inputs' gradients cost, back to the first chosen layer and no further.

Parameters that are used more than once (shared layers, tied weights, layers called repeatedly) get the sum of what all
their uses contribute, as autograd has it.
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
from tasks.kernels.axes import Float
from tasks.kernels.factors import Dense, Factors, inverse_length, of_unit_length
from tasks.kernels.losses import Loss
from tasks.kernels.projections import Projection, split_dimension
from tasks.kernels.rules import UnfitLayer, contribution, joined, refuse_batch_statistics, refuse_unknown


class LayerGradients(NamedTuple):
    """Gradients of the chosen layers of n samples."""

    gradient: Float[torch.Tensor, "n d"]
    """Projected; or whole, the parameters one after the other as ``named_parameters`` has them."""
    squares: Float[torch.Tensor, "n l"]
    """Exact ‖g‖² by layer, in the order of the chosen names."""
    logits: Float[torch.Tensor, "n k"]
    """The network's output."""


class _Parameter:
    """One parameter (or the rows of a packed one): where its gradient goes, and what has come in."""

    def __init__(self, name: str, matrix: tuple[int, int] | None, size: int, offset: int, layer: int) -> None:
        self.name, self.matrix, self.size, self.offset, self.layer = name, matrix, size, offset, layer
        self.reset()

    def reset(self) -> None:
        self.calls = 0
        self.filled = False
        self.factors: list[Factors] = []
        self.vector: torch.Tensor | None = None


class _Site(NamedTuple):
    """A place where chosen parameters are applied."""

    key: str
    module: nn.Module
    weight: _Parameter | None
    bias: _Parameter | None


# How samples lie in a layer's output: (the axis, rows of it that each sample has); its shape if there is no such axis.
_Layout = tuple[int, int] | torch.Size


class LayerGradientTaker:
    """Hooks for the chosen layers of one network.

    Args:
        network: in evaluation mode.
        names: of the layers (modules with parameters of their own), as ``named_modules`` has them.
        example: inputs of two samples or more, to see how samples lie in each layer's output.
        unit: whether the gradient G of each weight matrix becomes G / ‖G‖ (0 stays 0) and that of each vector 0: what
            sums to nothing, as the bias of attention's keys does, would else be rounding of length one. Of a packed
            weight the parts for queries, keys and values are matrices of their own.

    Raises:
        UnfitLayer: a layer of an unknown type, or one in which samples meet.
    """

    def __init__(self, network: nn.Module, names: list[str], example: torch.Tensor, *, unit: bool = False) -> None:
        refuse_batch_statistics(network)
        self.network, self.names, self.unit = network, names, unit
        self.parameters: list[_Parameter] = []
        self.size = 0
        self._sites = self._find_sites()
        self._shapes: dict[str, list[tuple[int, ...]]] = {}
        self._layouts: dict[str, list[_Layout]] = {}
        self._trace(example)
        self._start: torch.Tensor | None = None
        self._n = 0

    def take(
        self, x: torch.Tensor, labels: torch.Tensor, loss: Loss, projection: Projection | None, scale: float = 1.0
    ) -> LayerGradients:
        """One batch: n inputs and labels on the network's device.

        Args:
            x: inputs.
            labels: as ``loss`` takes them.
            loss: ℓ.
            projection: of the gradients; without one they are whole.
            scale: of the loss while it is differentiated (half precision).
        """
        self._n, self._calls, self._scale = len(x), dict.fromkeys(self._sites, 0), scale
        self._start = torch.zeros((), device=x.device, requires_grad=True)
        self._projection = projection
        width = projection.d if projection else self.size
        self._out = (torch.zeros if projection else torch.empty)(self._n, width, device=x.device)
        self._squares = torch.zeros(self._n, len(self.names), device=x.device)
        for parameter in self.parameters:
            parameter.reset()
        with self._hooked(self._watch), torch.enable_grad():
            logits = self.network(x).float()
            if logits.requires_grad:
                logits.backward(loss.residuals(logits.detach(), labels) * scale)
        for key, calls in self._calls.items():
            if calls != len(self._layouts[key]):
                raise UnfitLayer(key, f"it was called {calls} times, and {len(self._layouts[key])} times on the probe")
        with torch.autocast(x.device.type, enabled=False):
            for parameter in self.parameters:
                self._finish(parameter)
                if projection is None and not parameter.filled:
                    self._whole(parameter).zero_()
        return LayerGradients(self._out, self._squares, logits.detach())

    # ---- which parameters, and where ---------------------------------------------------------------------------------

    def _find_sites(self) -> dict[str, _Site]:
        modules = dict(self.network.named_modules())
        offsets: dict[int, tuple[str, int]] = {}
        owned = {id(p) for name in self.names for p in modules[name].parameters(recurse=False)}
        for name, parameter in self.network.named_parameters():
            if id(parameter) in owned:
                offsets[id(parameter)] = (name, self.size)
                self.size += parameter.numel()
        known: dict[tuple[int, int], _Parameter] = {}

        def parameter_of(
            parameter: nn.Parameter | None, layer: int, first: int = 0, rows: int = 0
        ) -> _Parameter | None:
            if parameter is None:
                return None
            if (id(parameter), first) not in known:
                name, offset = offsets[id(parameter)]
                o = rows or len(parameter)
                i = parameter[0].numel()
                matrix = (o, i) if parameter.dim() > 1 else None
                packed = f"{name}[{first}:]" if rows else name
                known[id(parameter), first] = _Parameter(packed, matrix, o * i, offset + first * i, layer)
            return known[id(parameter), first]

        sites = {}
        for layer, name in enumerate(self.names):
            module = modules[name]
            if isinstance(module, nn.MultiheadAttention):
                try:
                    weights = input_weights(module)
                except NotImplementedError as error:
                    raise UnfitLayer(name, str(error)) from error
                e = module.embed_dim
                for place, (which, (weight, first, bias)) in enumerate(weights.items()):
                    found = parameter_of(weight, layer, first, e)
                    sites[f"{name}.{which}"] = _Site(
                        f"{name}.{which}", module, found, parameter_of(bias, layer, place * e, e)
                    )
                continue
            refuse_unknown(name, module)
            weight = parameter_of(getattr(module, "weight", None), layer)
            sites[name] = _Site(name, module, weight, parameter_of(getattr(module, "bias", None), layer))
        self.parameters = list(known.values())
        return sites

    # ---- hooks -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _hooked(self, watch: Callable[[_Site, torch.Tensor, torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """``watch`` sees every use of a chosen layer; parameters ask for no gradients meanwhile."""
        wanted = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        with contextlib.ExitStack() as undo:
            undo.enter_context(_without_fast_path())
            for parameter in wanted:
                undo.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
            for site in self._sites.values():
                if isinstance(site.module, nn.MultiheadAttention):
                    if "forward" not in vars(site.module):
                        undo.callback(delattr, site.module, "forward")
                        site.module.forward = self._attention(site.module, site.key.rpartition(".")[0], watch)
                    continue

                def seen(_module: nn.Module, inputs: tuple[Any, ...], output: Any, site: _Site = site) -> Any:
                    return watch(site, inputs[0], output)

                undo.callback(site.module.register_forward_hook(seen).remove)
            yield

    def _attention(self, module: nn.MultiheadAttention, name: str, watch: Any) -> Callable[..., Any]:
        weights = input_weights(module)

        def project(which: str, x: torch.Tensor) -> torch.Tensor:
            weight, first, bias = weights[which]
            place = "qkv".index(which) * module.embed_dim
            rows = slice(first, first + module.embed_dim)
            shift = None if bias is None else bias[place : place + module.embed_dim]
            return watch(self._sites[f"{name}.{which}"], x, functional.linear(x, weight[rows], shift))

        return partial(attend, module, project)

    def _trace(self, example: torch.Tensor) -> None:
        """See with two samples and with three how each call's output grows with the batch."""
        shapes: list[dict[str, list[tuple[int, ...]]]] = []
        for n in (2, 3):
            seen: dict[str, list[tuple[int, ...]]] = {key: [] for key in self._sites}

            def watch(site: _Site, _inputs: torch.Tensor, output: torch.Tensor, seen: Any = seen) -> torch.Tensor:
                seen[site.key].append(tuple(output.shape))
                return output

            rows = torch.arange(n, device=example.device) % len(example)
            with self._hooked(watch), torch.no_grad():
                self.network(example[rows])
            shapes.append(seen)
        for key, twos in shapes[0].items():
            threes = shapes[1][key]
            if len(twos) != len(threes):
                raise UnfitLayer(key, "it is called more often for larger batches")
            self._layouts[key] = [_layout(key, two, three) for two, three in zip(twos, threes, strict=True)]

    def _watch(self, site: _Site, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        call = self._calls[site.key]
        self._calls[site.key] += 1
        if call >= len(self._layouts[site.key]):
            raise UnfitLayer(site.key, f"it is called more often than on the probe ({call} times)")
        layout = self._layouts[site.key][call]
        for parameter in (site.weight, site.bias):
            if parameter is not None:
                parameter.calls += 1
        if not output.requires_grad:
            output = _Start.apply(output, self._start)  # pyright: ignore[reportAssignmentType]
        if isinstance(layout, torch.Size) and (output.dim() > len(layout) or len(output) != layout[0]):
            # Made of an output that was given to each sample below.
            layout = (0, 1)
        if isinstance(layout, torch.Size):
            # One output for all samples (position embeddings): each gets its own, so that each has its own δ.
            own_row = len(output) == 1
            output = output.expand(self._n, *(output.shape[1:] if own_row else output.shape))
            inputs = inputs.expand(self._n, *(inputs.shape[1:] if own_row else inputs.shape))
        inputs = inputs.detach()
        version = inputs._version

        def arrived(delta: torch.Tensor) -> None:
            if inputs._version != version:
                raise UnfitLayer(site.key, "its input is changed in place after it was used")
            # The backward pass runs under the forward's autocast; sums do not.
            with torch.no_grad(), torch.autocast(delta.device.type, enabled=False):
                self._receive(site, inputs, delta, (0, 1) if isinstance(layout, torch.Size) else layout)

        output.register_hook(arrived)
        return output

    # ---- gradients ---------------------------------------------------------------------------------------------------

    def _receive(self, site: _Site, inputs: torch.Tensor, delta: torch.Tensor, layout: tuple[int, int]) -> None:
        delta = delta.float() if self._scale == 1 else delta.float() / self._scale
        try:
            weight, bias = contribution(site.module, inputs, delta, self._n, layout, bias=site.bias is not None)
        except UnfitLayer as error:
            raise UnfitLayer(site.key, error.reason) from None
        if site.bias is not None and bias is not None:
            site.bias.vector = bias if site.bias.vector is None else site.bias.vector + bias
        if site.weight is None:
            return
        if isinstance(weight, torch.Tensor):
            site.weight.vector = weight if site.weight.vector is None else site.weight.vector + weight
        else:
            site.weight.factors.append(weight)
            if len(site.weight.factors) == site.weight.calls:
                self._finish(site.weight)

    def _finish(self, parameter: _Parameter) -> None:
        """Project (or place) and measure a parameter's gradient once everything that makes it has come in."""
        if parameter.factors and parameter.matrix:
            with torch.no_grad():
                self._finish_matrix(parameter, parameter.matrix)
            parameter.factors = []
        elif parameter.vector is not None:
            self._place(parameter, parameter.vector)
            parameter.vector = None

    def _finish_matrix(self, parameter: _Parameter, matrix: tuple[int, int]) -> None:
        projection = self._projection
        together = joined(parameter.factors)
        if projection is None or projection.kind != "kronecker" or together is None:
            if projection is None and isinstance(together, Dense):
                # Written where it belongs: whole gradients are bound by memory, and each copy is one more pass.
                squares = together.squares()
                self._squares[:, parameter.layer] += squares
                together = of_unit_length(together, squares) if self.unit else together
                together.write(self._whole(parameter).view(self._n, *matrix))
                return
            gradient = parameter.factors[0].gradient()
            for factors in parameter.factors[1:]:
                gradient += factors.gradient()
            if projection is None or projection.kind != "kronecker":
                self._place(parameter, gradient.flatten(1))
                return
            squares = gradient.square().sum((1, 2))
        else:
            squares = together.squares()
        self._squares[:, parameter.layer] += squares
        p_out, p_in = projection.factors(parameter.name, *matrix)
        out = self._out.view(self._n, *split_dimension(projection.d))
        for factors in parameter.factors if together is None else [together]:
            (of_unit_length(factors, squares) if self.unit else factors).sketch(p_out, p_in, out)

    def _whole(self, parameter: _Parameter) -> torch.Tensor:
        """Where a parameter's whole gradient goes, n × its size."""
        parameter.filled = True
        return self._out[:, parameter.offset : parameter.offset + parameter.size]

    def _place(self, parameter: _Parameter, gradient: torch.Tensor) -> None:
        squares = gradient.square().sum(1)
        self._squares[:, parameter.layer] += squares
        if self.unit:
            if not parameter.matrix:
                return
            gradient.mul_(inverse_length(squares).unsqueeze(1))
        if self._projection is None:
            self._whole(parameter).copy_(gradient)
        else:
            self._projection.add(parameter.name, gradient, self._out)


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


class _Start(torch.autograd.Function):
    """The identity that makes a graph begin here: nothing before the first chosen layer is differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, _start: torch.Tensor) -> torch.Tensor:
        # As if changed in place: an in-place ReLU behind the layer may then follow.
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *_gradients: Any) -> tuple[None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, None


def _layout(key: str, two: tuple[int, ...], three: tuple[int, ...]) -> _Layout:
    grown = [axis for axis, (a, b) in enumerate(zip(two, three, strict=False)) if a != b]
    if len(two) != len(three) or len(grown) > 1:
        raise UnfitLayer(key, f"its output for two samples is {two}, for three {three}")
    if not grown:
        return torch.Size(two)
    (axis,) = grown
    if two[axis] % 2 or two[axis] // 2 * 3 != three[axis]:
        raise UnfitLayer(key, f"its output for two samples is {two}, for three {three}")
    return axis, two[axis] // 2
