"""Networks that factories of one's own return."""

from __future__ import annotations

import hashlib
import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadConfig, BadModel
from tasks.core.foreign_code import objection

if TYPE_CHECKING:
    from torch import nn


def network_from(
    where: str, factory: str, expected: str, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
) -> nn.Module:
    """What a factory of one's own returns.

    Args:
        where: for messages.
        factory: package.module:function, importable or in the working directory.
        expected: what it is called for.
        arguments: it is called with.
        options: named ones.

    Raises:
        BadConfig: this process may not run it.
        BadModel: it cannot be imported or called, or returns no network.
    """
    if problem := objection(factory):
        raise BadConfig(where=where, expected="leave to run it", got=problem, do="Start the worker so.")
    from torch import nn

    module, _, name = factory.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # it is the user's code: whatever it raises is about it
        raise BadModel(
            where=where,
            expected="an importable function",
            got=f"{type(error).__name__}: {error}",
            do="Install its package, or run from the folder that holds the module, and import it there yourself.",
        ) from error
    try:
        network = function(*arguments, **(options or {}))
    except Exception as error:
        raise BadModel(
            where=where,
            expected=expected,
            got=f"{type(error).__name__}: {error}",
            do="Call the factory so yourself to see more.",
        ) from error
    if not isinstance(network, nn.Module):
        raise BadModel(
            where=where,
            expected="a torch.nn.Module",
            got=type(network).__name__,
            do="Return the network itself from the factory.",
        )
    return network


def frozen_network(factory: str) -> nn.Module:
    """An encoder of one's own: its factory is called without arguments."""
    where = f"model encoder, encoder-factory {factory}"
    return network_from(where, factory, "a frozen network, of a factory that is called without arguments")


@lru_cache(maxsize=8)
def weights_digest(factory: str) -> str:
    """Digest of all parameters and buffers of the factory's network.

    Raises:
        BadModel: two calls give other weights: they are drawn at random, and nobody trained them.
    """
    first, second = (_digest(frozen_network(factory)) for _ in range(2))
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
