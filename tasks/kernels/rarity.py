"""Rare but valid: what lies far from its class, in a small dense cluster that bears its label rightly.

Of sample i with label y, held-out prediction a and neighbours' votes v:

    far        v_iy < Q_y, the quantile of v_jy over the samples of class y that the network confirms (a_j = y_j = y):
               over all of them, a noisy class's wrong labels would set the measure
    confirmed  #{j of the nearest m : y_j = y and a_j = y}, neighbours that bear the label and are recognised by a
               network that never saw them; a wrong label has few, for what surrounds it is of its true class

Among the flagged of a set with known human errors (CIFAR-10N's embeddings), three confirmed of the nearest twenty
protect as many wrong labels as right ones; three of the nearest five, a majority, protect mostly right ones.
"""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float, Int


def far_from_class(
    votes: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], quantile: float
) -> Bool[np.ndarray, "n"]:
    """v_iy < Q_y; nobody is far from a class of which the network confirms no sample.

    Args:
        votes: v, shares of the neighbours' labels.
        labels: y.
        predicted: a.
        quantile: of the confirmed samples of each class, in [0, 1].
    """
    own = votes[np.arange(len(labels)), labels]
    edge = np.full(votes.shape[1], -np.inf)
    for c in range(votes.shape[1]):
        members = own[(labels == c) & (predicted == c)]
        if len(members):
            edge[c] = np.quantile(members, quantile)
    return own < edge[labels]


def confirmed_neighbours(
    neighbours: Int[np.ndarray, "n j"], labels: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], nearest: int
) -> Int[np.ndarray, "n"]:
    """How many of the ``nearest`` (or of all j, if fewer are listed) bear the sample's label and are recognised by it.

    Args:
        neighbours: rows of the nearest samples, nearest first.
        labels: y.
        predicted: a.
        nearest: m.
    """
    own_class = np.where(predicted == labels, labels, -1)
    return (own_class[neighbours[:, :nearest]] == labels[:, None]).sum(1)
