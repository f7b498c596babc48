"""Functions of a symmetric matrix at a vector, of products with the matrix alone (the Lanczos process).

On the space of v, C v, C² v … the matrix C is a tridiagonal T, and f(C) v is nearly ‖v‖ times f(T)'s first column in
that basis (Saad, SIAM J. Numer. Anal. 1992). i products are exact for polynomials of a lesser degree than i, and for
those of a greater degree as near as any polynomial of i products can be, and nearer where few eigenvalues stand out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from tasks.kernels.axes import Float

# Values of a basis, at most (134 MB), and how many vectors it must have room for to be begun.
_BASIS, _ROOM = 1 << 24, 40
# Steps from one look at the convergence to the next.
_LOOK = 2


class Krylov(NamedTuple):
    """f(C) v = ‖v‖ Σ_i weights_i basis_i."""

    basis: Float[torch.Tensor, "i p"]
    weights: Float[torch.Tensor, "i"]
    values: Float[torch.Tensor, "i"]
    """Eigenvalues of C on the space of the basis, ascending."""
    first: Float[torch.Tensor, "i"]
    """⟨v, e⟩ / ‖v‖ of their eigenvectors e."""

    def sum(self) -> Float[torch.Tensor, "p"]:
        """Σ_i weights_i basis_i, float64."""
        return self.weights.to(self.basis) @ self.basis


def krylov(
    product: Callable[[Float[torch.Tensor, "1 p"]], Float[torch.Tensor, "1 p"]],
    v: Float[torch.Tensor, "1 p"],
    of: Callable[[Float[torch.Tensor, "i"]], Float[torch.Tensor, "i"]],
    most: int,
    tolerance: float | None = None,
) -> Krylov | None:
    """f(C) v, until the weights of the last vectors are small beside all of them.

    The basis is made orthogonal to all of itself, twice and in float64: of three terms alone it would not stay so, and
    inner products of 300,000 values in float32 are wrong in the fifth digit, which f may enlarge a hundred times.

    Args:
        product: C w of w, in the precision of ``v``.
        v: 1 × p.
        of: f, of eigenvalues in ascending order, float64.
        most: steps after which f(C) v is exact: one more than a polynomial's degree.
        tolerance: their share; None: the rounding of ``v``. Of the length of f(C) v the error is its square.

    Returns:
        None, where the basis has no room: at once, or after all the products that it had room for.
    """
    steps = min(most, _BASIS // v.shape[1])
    if steps < min(most, _ROOM):
        return None
    epsilon = torch.finfo(v.dtype).eps
    tolerance = tolerance or epsilon
    basis = v.new_empty(steps, v.shape[1], dtype=torch.float64)
    matrix = torch.zeros(steps, steps, dtype=torch.float64)
    direction = torch.nn.functional.normalize(v.double())[0]
    for i in range(steps):
        basis[i] = direction
        direction = product(direction.to(v.dtype).unsqueeze(0))[0].double()
        matrix[i, i] = torch.dot(direction, basis[i])
        for _ in range(2):
            direction -= (basis[: i + 1] @ direction) @ basis[: i + 1]
        length = float(direction.norm())
        # All that C makes of v lies in the basis.
        complete = i + 1 == most or not length > epsilon * float(matrix.diagonal().max())
        if complete or i % _LOOK == _LOOK - 1:
            values, vectors = torch.linalg.eigh(matrix[: i + 1, : i + 1])
            weights = vectors @ (of(values) * vectors[0])
            if complete or float(weights[-2:].abs().max()) <= tolerance * float(weights.norm()):
                return Krylov(basis[: i + 1], weights, values, vectors[0])
        if i + 1 < steps:
            matrix[i, i + 1] = matrix[i + 1, i] = length
            direction /= length
    return None
