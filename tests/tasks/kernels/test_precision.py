"""Half precision is near the truth by a stated margin, and the arithmetic is put back as it was."""

import copy

import pytest
import torch
from torch import nn

from tasks.kernels.functional import sample_gradients
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.precision import loss_scale, running_in
from tasks.kernels.projections import Projection

# Largest relative error of a gradient, ‖g − exact‖/‖exact‖. (Measured on the CPU: 3e-7, 3e-7, 0.065 and 0.0014.)
BOUNDS = {"fp32": 1e-5, "tf32": 2e-2, "bf16": 0.2, "fp16": 0.01}
HALVES = ["bf16", "fp16"]


def settings():
    return (
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.get_autocast_dtype("cpu"),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )


def ready(device, normalised=True):
    """A small convolutional network; torch.func has no normalisation under autocast (pytorch issue 184890)."""
    torch.manual_seed(0)
    norms = (nn.GroupNorm(2, 6), nn.LayerNorm(12)) if normalised else (nn.Identity(), nn.Identity())
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), norms[0], nn.ReLU(), nn.Flatten(), nn.Linear(150, 12), norms[1],
        nn.Tanh(), nn.Linear(12, 4),
    )  # fmt: skip
    return network.to(device).eval(), torch.randn(6, 2, 5, 5, device=device), torch.randint(4, (6,), device=device)


def exact(network, x, labels):
    """The loop of batch-of-one backward passes in float64."""
    network, rows = copy.deepcopy(network).double(), []
    for i in range(len(x)):
        value = Loss().losses(network(x[i : i + 1].double()), labels[i : i + 1]).sum()
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(value, list(network.parameters()))]))
    return torch.stack(rows)


def by_hooks(network, x, labels, precision, projection=None):
    taker = LayerGradientTaker(network, ["0", "1", "4", "5", "7"], x)
    with running_in(precision, x.device):
        return taker.take(x, labels, Loss(), projection, loss_scale(precision))


def by_func(network, x, labels, precision):
    take = sample_gradients(
        network, [name for name, _ in network.named_parameters()], Loss(), None, loss_scale(precision)
    )
    with running_in(precision, x.device):
        return take(x, labels)[0]


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("way", ["hooks", "func"])
def test_gradients_are_near_those_of_double_precision(device, precision, way):
    network, x, labels = ready(device, normalised=way == "hooks")
    expected = exact(network, x, labels)
    before = settings()
    if way == "hooks":
        found = by_hooks(network, x, labels, precision).gradient
    else:
        found = by_func(network, x, labels, precision)
    assert settings() == before
    assert found.dtype == torch.float32
    error = (found.double() - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() < BOUNDS[precision]
    if precision in HALVES:
        # The network did run in half precision.
        assert error.max() > BOUNDS["fp32"]


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("kind", ["kronecker", "random", "sparse", "countsketch"])
def test_sums_and_projections_stay_in_single_precision(device, precision, kind):
    network, x, labels = ready(device)
    whole = by_hooks(network, x, labels, precision)
    taken = by_hooks(network, x, labels, precision, Projection(kind, 16, 0, device))
    assert taken.gradient.dtype == taken.squares.dtype == torch.float32
    # The same half-precision network: what differs is the order of float32 sums alone.
    torch.testing.assert_close(taken.squares, whole.squares, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(whole.squares.sum(1), whole.gradient.square().sum(1), rtol=1e-4, atol=1e-7)
    if kind == "kronecker":
        return
    out, at = torch.zeros(len(x), 16, device=device), 0
    projection = Projection(kind, 16, 0, device)
    for name, parameter in network.named_parameters():
        projection.add(name, whole.gradient[:, at : at + parameter.numel()].contiguous(), out)
        at += parameter.numel()
    torch.testing.assert_close(taken.gradient, out, rtol=1e-4, atol=1e-4)


def test_small_gradients_survive_half_precision_by_their_scale(device):
    # Below the smallest normal half, 6e-5, digits are lost: the outputs are zero, the residuals a few 1e-7.
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).to(device).eval()
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2))
        network[1].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, -2.0]]))
    x, targets = torch.ones(1, 2, device=device), torch.tensor([[3.3e-7, -2.2e-7]], device=device)
    r = -targets[0].double()
    back = network[1].weight.detach().double().T @ r
    expected = torch.cat([torch.outer(back, x[0]).ravel(), torch.outer(r, x[0]).ravel()])
    taker, error = LayerGradientTaker(network, ["0", "1"], x), {}
    for scale in (1.0, loss_scale("fp16")):
        with running_in("fp16", device):
            found = taker.take(x, targets, Loss("squared_error"), None, scale).gradient[0].double()
        error[scale] = float((found - expected).norm() / expected.norm())
    assert error[loss_scale("fp16")] < 0.005 < error[1.0]


@pytest.mark.parametrize("precision", BOUNDS)
def test_settings_are_put_back_even_after_an_error(device, precision):
    before = settings()

    def fail():
        with running_in(precision, device):
            if precision in HALVES:
                assert torch.is_autocast_enabled(device.type)
                product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
                assert product.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
            else:
                assert not torch.is_autocast_enabled(device.type)
            if device.type == "cuda":
                allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
                assert allowed == ((True, True) if precision == "tf32" else (False, False))
            raise KeyError(precision)

    with pytest.raises(KeyError):
        fail()
    assert settings() == before


def test_only_fp16_needs_a_scale():
    assert [loss_scale(precision) for precision in ("fp32", "tf32", "bf16")] == [1.0] * 3
    assert loss_scale("fp16") > 1
