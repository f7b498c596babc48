"""The answer to a prompt."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.targets.target import Prediction, Target, bools

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss, Outcome


class Response(Target):
    """The text a language model answers a prompt with. It is part of the inputs, and the network's one output is its
    mean log-likelihood a token: nothing else is proposed, so nothing is known of other labels."""

    kind: Literal["response"] = "response"
    losses: ClassVar[tuple[str, ...]] = ("likelihood",)
    figure: ClassVar[str] = "token probability"
    smoothed: ClassVar[bool] = False
    has_class_probabilities: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def description(self) -> str:
        """Nothing: a response is part of the inputs, and none is put into another's place."""
        return "nothing"

    def read(self, label: str) -> str | None:
        """None."""
        return None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """All alike."""
        return np.where(bools(pc.is_valid(labels)), 0, -1)

    def said(self, outputs: torch.Tensor, loss: Loss) -> Prediction:
        """Nothing in words; exp of the mean log-likelihood: the geometric mean of the probability a token."""
        p = outputs[:, 0].exp()
        return Prediction(self.words(p.cpu().numpy()), p)

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """``p_label`` is that mean; it is all there is to predict."""
        from tasks.kernels.losses import Outcome

        p = outputs[:, 0].exp()
        return Outcome(loss.losses(outputs, values), p, p, p)

    def words(self, predicted: np.ndarray) -> pa.Array:
        """None."""
        return pa.array([""] * len(predicted), pa.string())

    def scores(self, outputs: torch.Tensor, spread: float) -> torch.Tensor:
        """Of the one stratum there is."""
        return outputs

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """One."""
        return outputs.new_ones(len(outputs), 1)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """The probability a token, geometric mean, of the response that was to be given."""
        return p.astype(np.float64)

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """None."""
        return pa.nulls(len(strata), pa.string())
