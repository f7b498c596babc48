"""A network that a factory of one's own returns, with the weights that others trained."""

from __future__ import annotations

import hashlib
import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks.core.errors import BadModel

if TYPE_CHECKING:
    from torch import nn


def network_from(factory: str) -> nn.Module:
    """What the factory returns.

    Args:
        factory: package.module:function, importable or in the working directory; called without arguments.

    Raises:
        BadModel: it cannot be imported or called, or returns no network.
    """
    from torch import nn

    module, _, name = factory.partition(":")
    where = f"model encoder, encoder-factory {factory}"
    try:
        network = getattr(importlib.import_module(module), name)()
    except Exception as error:  # it is the user's code: whatever it raises is about it
        raise BadModel(
            where=where,
            expected="a function that returns a frozen network, called without arguments",
            got=f"{type(error).__name__}: {error}",
            do="Run from the folder that holds the module, and call it there yourself to see more.",
        ) from error
    if not isinstance(network, nn.Module):
        raise BadModel(where=where, expected="a torch.nn.Module", got=type(network).__name__, do="Return the network.")
    return network


@lru_cache(maxsize=8)
def weights_digest(factory: str) -> str:
    """Digest of all parameters and buffers of the factory's network.

    Raises:
        BadModel: two calls give other weights: they are drawn at random, and nobody trained them.
    """
    first, second = (_digest(network_from(factory)) for _ in range(2))
    if first != second:
        raise BadModel(
            where=f"model encoder, encoder-factory {factory}",
            expected="a network with weights that were trained, the same at every call",
            got="other weights at each call: they are drawn at random",
            do="Load the weights in the factory; a network that is to be trained is --model.kind custom.",
        )
    return first


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
