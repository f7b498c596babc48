"""Other libraries' ways to the same per-sample gradients. Each adapter prepares once and returns what is timed.

What a peer gives as whole gradients (parameter name → n × its shape) is projected or measured by one of the reductions
below with the same matrices as ours, the cheapest way there is for a built gradient; so that outputs can be compared.
"""

# pyright: reportMissingImports=false
# Peers are installed only where one is measured beside them.

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from networks import FrozenNorm, Subject, without_batchnorm
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from tasks.kernels.projections import Projection, split_dimension

Gradients = dict[str, torch.Tensor]
Reduction = Callable[[Gradients], torch.Tensor]
Candidate = Callable[[], torch.Tensor]


def whole(gradients: Gradients) -> torch.Tensor:
    """All values, n × p."""
    return torch.cat([g.flatten(1) for g in gradients.values()], dim=1)


def squares(gradients: Gradients) -> torch.Tensor:
    """‖g‖², n."""
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)


def projected(projection: Projection) -> Reduction:
    """P_out G P_inᵀ, the narrower product first."""

    def reduce(gradients: Gradients) -> torch.Tensor:
        first = next(iter(gradients.values()))
        out = first.new_zeros(len(first), projection.d)
        matrices = out.view(len(out), *split_dimension(projection.d))
        for name, g in gradients.items():
            flat = g.flatten(2) if g.dim() > 2 else g.unsqueeze(2)
            p_out, p_in = (p.to(g) for p in projection.factors(name, flat.shape[1], flat.shape[2]))
            matrices += p_out @ (flat @ p_in.T)
        return out

    return reduce


def by_vmap(subject: Subject, reduce: Reduction) -> Candidate:
    """torch.func: vmap over the gradient of a batch of one."""
    network = subject.network
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def loss_of(values: Gradients, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(network, values | buffers, (x.unsqueeze(0),)), y.unsqueeze(0))

    each = vmap(grad(loss_of), in_dims=(None, 0, 0))

    def run() -> torch.Tensor:
        parts = zip(subject.x.split(subject.chunk), subject.labels.split(subject.chunk), strict=True)
        return torch.cat([reduce(each(parameters, x, y)) for x, y in parts])

    return run


def by_loop(subject: Subject, reduce: Reduction) -> Candidate:
    """One backward pass a sample."""
    network = copy.deepcopy(subject.network).requires_grad_()
    named = dict(network.named_parameters())

    def run() -> torch.Tensor:
        found = []
        for x, y in zip(subject.x.split(1), subject.labels.split(1), strict=True):
            gradients = torch.autograd.grad(cross_entropy(network(x), y), list(named.values()))
            found.append(reduce({name: g.unsqueeze(0) for name, g in zip(named, gradients, strict=True)}))
        return torch.cat(found)

    return run


def _register_frozen_norm() -> None:
    """Closed-form rules for FrozenNorm, so that Opacus needs no functorch for it."""
    from opacus.grad_sample.utils import register_grad_sampler

    @register_grad_sampler(FrozenNorm)
    def rule(layer: FrozenNorm, activations: list[torch.Tensor], backprops: torch.Tensor) -> Any:
        scaled = backprops * layer.normal(activations[0])
        return {layer.weight: scaled.flatten(2).sum(2), layer.bias: backprops.flatten(2).sum(2)}


def by_opacus(subject: Subject, reduce: Reduction) -> Callable[..., torch.Tensor]:
    """Opacus' hooks: a whole gradient of every sample in each parameter's grad_sample. Inputs may be given anew."""
    from opacus import GradSampleModule

    _register_frozen_norm()
    network = GradSampleModule(without_batchnorm(subject.network).train(), strict=False, loss_reduction="sum")

    def run(x: torch.Tensor = subject.x) -> torch.Tensor:
        cross_entropy(network(x), subject.labels, reduction="sum").backward()
        named = {name.removeprefix("_module."): p for name, p in network.named_parameters()}
        with torch.no_grad():
            reduced = reduce({name: p.grad_sample for name, p in named.items()})
        for p in named.values():
            p.grad, p.grad_sample = None, None
        return reduced

    return run


def by_ghost(subject: Subject) -> Candidate:
    """Opacus' ghost clipping: norms of Linear and Embedding unbuilt, of other layers from built gradients."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    _register_frozen_norm()
    copied = without_batchnorm(subject.network).train()
    network = GradSampleModuleFastGradientClipping(copied, strict=False, loss_reduction="sum")

    def run() -> torch.Tensor:
        cross_entropy(network(subject.x), subject.labels, reduction="sum").backward()
        norms = network.get_norm_sample().detach()
        for p in network.parameters():
            p.grad = None
        return norms.square()

    return run


def by_kronfluence(subject: Subject) -> Candidate:
    """The loop body of Analyzer.compute_self_scores: Σ ⟨g, H⁻¹g⟩ over Linear and Conv2d, H = I by strategy identity.

    Neither its data loader nor its files are timed.
    """
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.module import TrackedModule
    from kronfluence.module import utils as modules
    from kronfluence.module.tracked_module import ModuleMode
    from kronfluence.task import Task
    from kronfluence.utils.constants import SELF_SCORE_VECTOR_NAME

    class Classification(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> torch.Tensor:
            return cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

    from kronfluence.analyzer import prepare_model

    task = Classification()
    network = prepare_model(copy.deepcopy(subject.network), task)
    modules.update_factor_args(network, FactorArguments(strategy="identity"))
    modules.update_score_args(network, ScoreArguments())
    names = modules.get_tracked_module_names(network)
    modules.set_mode(network, ModuleMode.SELF_SCORE, names, release_memory=True)
    modules.prepare_modules(network, names, subject.x.device)
    tracked = [module for module in network.modules() if isinstance(module, TrackedModule)]

    def run() -> torch.Tensor:
        network.zero_grad(set_to_none=True)
        task.compute_train_loss((subject.x, subject.labels), network).backward()
        scores = torch.stack([module.get_factor(SELF_SCORE_VECTOR_NAME) for module in tracked]).sum(0)
        modules.accumulate_iterations(network, names)
        return scores

    return run


def by_trak(subject: Subject, d: int) -> tuple[Candidate, torch.Tensor]:
    """TRAK: vmap gradients through a dense ±1 matrix; also that matrix, p × d.

    BasicProjector with a block as wide as d, so that the matrix is drawn once and not for every batch; CudaProjector
    (fast_jl) on a GPU, whose matrix exists nowhere.
    """
    from trak import projectors

    p = sum(parameter.numel() for parameter in subject.network.parameters())
    device = subject.x.device
    if device.type == "cuda":
        fast = projectors.CudaProjector(p, d, 0, projectors.ProjectionType.rademacher, device, max_batch_size=32)
        return by_vmap(subject, lambda g: fast.project(whole(g), 0)), torch.empty(0)
    basic = projectors.BasicProjector(p, d, 0, projectors.ProjectionType.rademacher, device, block_size=d)
    return by_vmap(subject, lambda g: basic.project(whole(g), 0)), basic.proj_matrix


def by_dattri(subject: Subject, d: int) -> tuple[Candidate, torch.Tensor]:
    """dattri's projector, as TRAK's; its AttributionTask takes gradients by vmap(grad) like ours here."""
    from dattri.func.projection import BasicProjector, ProjectionType

    p = sum(parameter.numel() for parameter in subject.network.parameters())
    basic = BasicProjector(p, d, 0, ProjectionType.rademacher, subject.x.device, block_size=d)
    return by_vmap(subject, lambda g: basic.project(whole(g), 0)), basic.proj_matrix / d**0.5
