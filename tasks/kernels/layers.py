"""Per-sample gradients of any chosen layers, from one forward and one backward pass of the whole batch.

A forward hook keeps a layer's input a, a hook on its output receives δ = ∂Σℓ/∂output, and as samples do not meet in
the network, row i of δ is sample i's own. From both the layer's per-sample gradient is projected, measured or built the
moment δ arrives (tasks/kernels/factors.py), and dropped. No parameter takes part in the backward pass: it costs what
the inputs' gradients cost, back to the first chosen layer and no further.

Parameters that are used more than once (shared layers, tied weights, layers called repeatedly) get the sum of what all
their uses contribute, as autograd has it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from tasks.kernels.axes import Float
from tasks.kernels.factors import Dense, inverse_length, of_unit_length
from tasks.kernels.grams import Gram
from tasks.kernels.losses import Loss
from tasks.kernels.projections import Projection, split_dimension
from tasks.kernels.rules import UnfitLayer, contribution, join_calls, refuse_batch_statistics
from tasks.kernels.sites import Parameter, Site, Sites


class LayerGradients(NamedTuple):
    """Gradients of the chosen layers of n samples."""

    gradient: Float[torch.Tensor, "n d"]
    """Projected; or whole, the parameters one after the other as ``named_parameters`` has them."""
    squares: Float[torch.Tensor, "n l"]
    """Exact ‖g‖² by layer, in the order of the chosen names."""
    logits: Float[torch.Tensor, "n k"]
    """The network's output."""


class Input:
    """A layer's input as it was in the forward pass, and the Gram matrix that all layers of this input share."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values, self.version, self.gram = values, values._version, Gram(0)
        self._due = 0

    @property
    def is_due(self) -> bool:
        """Whether a δ is still to come."""
        return self._due > 0

    def expect(self, module: nn.Module) -> None:
        """One more δ will come: that of ``module``."""
        self._due += 1
        self.gram.layers += isinstance(module, nn.Linear | nn.MultiheadAttention)

    def done(self) -> None:
        """One has come: after the last nobody needs the input, which the graph would hold to its end."""
        self._due -= 1
        if not self._due:
            self.gram.forget()
            self.values = self.values.new_empty(0)


class LayerGradientTaker:
    """Hooks for the chosen layers of one network.

    Args:
        network: in evaluation mode.
        names: of the layers (modules with parameters of their own), as ``named_modules`` has them.
        example: inputs of one sample or more, to see how samples lie in each layer's output.
        unit: whether the gradient G of each weight matrix becomes G / ‖G‖ (0 stays 0) and that of each vector 0: what
            sums to nothing, as the bias of attention's keys does, would else be rounding of length one. Of a packed
            weight the parts for queries, keys and values are matrices of their own.

    Raises:
        UnfitLayer: a layer of an unknown type, or one in which samples meet.
    """

    def __init__(self, network: nn.Module, names: list[str], example: torch.Tensor, *, unit: bool = False) -> None:
        refuse_batch_statistics(network)
        self.network, self.names, self.unit = network, names, unit
        self._sites = Sites(network, names, example)
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
        self._n, self._calls, self._scale = len(x), dict.fromkeys(self._sites.by_key, 0), scale
        self._start = torch.zeros((), device=x.device, requires_grad=True)
        self._projection = projection
        self._inputs: dict[tuple[Any, ...], Input] = {}
        width = projection.d if projection else self._sites.size
        self._out = (torch.zeros if projection else torch.empty)(self._n, width, device=x.device)
        self._squares = torch.zeros(self._n, len(self.names), device=x.device)
        for parameter in self._sites.parameters:
            parameter.reset()
        try:
            with self._sites.hooks(self._watch), torch.enable_grad():
                logits = self.network(x).float()
                if logits.requires_grad:
                    logits.backward(loss.residuals(logits.detach(), labels) * scale)
        finally:
            self._inputs.clear()
        for key, calls in self._calls.items():
            if calls != len(self._sites.layouts[key]):
                raise UnfitLayer(
                    key, f"it was called {calls} times, and {len(self._sites.layouts[key])} times on the probe"
                )
        with torch.autocast(x.device.type, enabled=False):
            for parameter in self._sites.parameters:
                self._finish(parameter)
                if projection is None and not parameter.is_filled:
                    self._whole(parameter).zero_()
        return LayerGradients(self._out, self._squares, logits.detach())

    def _watch(self, site: Site, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        call = self._calls[site.key]
        self._calls[site.key] += 1
        if call >= len(self._sites.layouts[site.key]):
            raise UnfitLayer(site.key, f"it is called more often than on the probe ({call} times)")
        layout = self._sites.layouts[site.key][call]
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
        by_rows = (0, 1) if isinstance(layout, torch.Size) else layout
        output.register_hook(partial(self._receive, site, self._input(site, inputs.detach(), by_rows), by_rows))
        return output

    def _input(self, site: Site, values: torch.Tensor, layout: tuple[int, int]) -> Input:
        """One for all layers that have these very values; it holds them, so no other tensor takes their place."""
        key = (values.data_ptr(), values._version, values.shape, values.stride(), values.dtype, layout)
        found = self._inputs.get(key)
        if found is None or not found.is_due:
            found = self._inputs[key] = Input(values)
        found.expect(site.module)
        return found

    # ---- gradients ---------------------------------------------------------------------------------------------------

    def _receive(self, site: Site, inputs: Input, layout: tuple[int, int], delta: torch.Tensor) -> None:
        if inputs.values._version != inputs.version:
            raise UnfitLayer(site.key, "its input is changed in place after it was used")
        # The backward pass runs under the forward's autocast; sums do not.
        with torch.no_grad(), torch.autocast(delta.device.type, enabled=False):
            self._add(site, inputs, delta, layout)
        inputs.done()

    def _add(self, site: Site, inputs: Input, delta: torch.Tensor, layout: tuple[int, int]) -> None:
        delta = delta.float() if self._scale == 1 else delta.float() / self._scale
        try:
            weight, bias = contribution(site.module, inputs.values, delta, self._n, layout, bias=site.bias is not None)
        except UnfitLayer as error:
            raise UnfitLayer(site.key, error.reason) from None
        if site.bias is not None and bias is not None:
            site.bias.vector = bias if site.bias.vector is None else site.bias.vector + bias
        if site.weight is None:
            return
        if isinstance(weight, torch.Tensor):
            site.weight.vector = weight if site.weight.vector is None else site.weight.vector + weight
        else:
            weight = weight._replace(gram=inputs.gram).seen() if isinstance(weight, Dense) else weight
            site.weight.factors.append(weight)
            if len(site.weight.factors) == site.weight.calls:
                self._finish(site.weight)

    def _finish(self, parameter: Parameter) -> None:
        """Project (or place) and measure a parameter's gradient once everything that makes it has come in."""
        if parameter.factors and parameter.matrix:
            with torch.no_grad():
                self._finish_matrix(parameter, parameter.matrix)
            parameter.factors = []
        elif parameter.vector is not None:
            self._place(parameter, parameter.vector)
            parameter.vector = None

    def _finish_matrix(self, parameter: Parameter, matrix: tuple[int, int]) -> None:
        projection = self._projection
        together = join_calls(parameter.factors)
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

    def _whole(self, parameter: Parameter) -> torch.Tensor:
        """Where a parameter's whole gradient goes, n × its size."""
        parameter.is_filled = True
        return self._out[:, parameter.offset : parameter.offset + parameter.size]

    def _place(self, parameter: Parameter, gradient: torch.Tensor) -> None:
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
