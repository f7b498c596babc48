"""Training dynamics: how a sample's output behaves while the network learns its label.

    AUM         mean over steps of z_y − max_{j≠y} z_j (Pleiss et al., NeurIPS 2020: low for wrong labels)
    mean loss   mean over steps of ℓ
    EL2N        mean over the first fifth of the steps, at least one pass, of ‖softmax(z) − onehot(y)‖₂ (Paul, Ganguli
                & Dziugaite, 2021)
    SEI         mean over steps of ±H(softmax(z))/log k, + where y is the class of the largest z, − where it is not (the
                signed entropy integral, arXiv 2605.31090: low for wrong labels). Each pass sees a sample once, so this
                is its mean over epochs.

Of targets that are no classes (n × m values y, tasks/dataset/targets) there is no other class to be taken for: AUM and
SEI are then the mean of −ℓ, and EL2N that of ‖∂ℓ/∂z‖₂, which of a cross entropy is the same as above.

The outputs are those of the training step itself, augmented and with dropout, before the step is taken: they cost no
further pass.
"""

from __future__ import annotations

import math

import torch

from tasks.kernels.axes import Float, Int, Shaped
from tasks.kernels.losses import Loss

# Paul et al. take the first tenth or so of the training.
_EARLY = 0.2


class Dynamics:
    """Sums for m samples, on the network's device; nothing is brought to the host before ``means``.

    Args:
        samples: m.
        steps: optimisation steps that will be taken.
        each_pass: steps in which every sample is seen; all these count as early, so that EL2N is known of each.
        device: of the sums.
    """

    def __init__(self, samples: int, steps: int, each_pass: int, device: torch.device) -> None:
        self._early = max(1, each_pass, round(steps * _EARLY))
        self._step = 0
        self._sums = torch.zeros(5, samples, device=device)

    def note(
        self,
        rows: Int[torch.Tensor, "b"],
        outputs: Float[torch.Tensor, "b k"],
        labels: Shaped[torch.Tensor, "b *m"],
        losses: Float[torch.Tensor, "b"],
        objective: Loss = Loss(),  # noqa: B008  frozen
    ) -> None:
        """One step's outputs for the samples ``rows`` (each once), with the labels they were trained under and ℓ."""
        z, losses = outputs.detach().float(), losses.detach().float()
        of_classes = labels.dim() == 1 and z.shape[1] > 1
        self._sums[0, rows] += _margins(z, labels) if of_classes else -losses
        self._sums[4, rows] += _signed_entropy(z, labels) if of_classes else -losses
        self._sums[1, rows] += losses
        self._sums[2, rows] += 1
        if self._step < self._early:
            if of_classes:
                p = torch.softmax(z, 1)
                p.scatter_add_(1, labels.unsqueeze(1), -torch.ones_like(losses).unsqueeze(1))
            else:
                p = objective.residuals(z, labels)
            self._sums[3, rows] += p.norm(dim=1)
        if self._step + 1 == self._early:
            self._early_counts = self._sums[2].clone()
        self._step += 1

    def means(self) -> dict[str, Float[torch.Tensor, "m"]]:
        """``aum``, ``mean_loss``, ``el2n``, ``sei`` on the host; NaN for a sample that was never seen."""
        aum, loss, counts, el2n, sei = self._sums
        early_counts = self._early_counts if self._step >= self._early else counts
        means = {"aum": aum / counts, "mean_loss": loss / counts, "el2n": el2n / early_counts, "sei": sei / counts}
        return {name: values.cpu() for name, values in means.items()}


def _margins(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    own = z.gather(1, labels.unsqueeze(1)).squeeze(1)
    return own - z.scatter(1, labels.unsqueeze(1), -torch.inf).amax(1)


def _signed_entropy(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    entropy = torch.special.entr(torch.softmax(z, 1)).sum(1) / math.log(z.shape[1])
    return torch.where(z.argmax(1) == labels, entropy, -entropy)
