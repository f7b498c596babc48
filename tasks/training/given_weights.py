"""Weights that a network of one's own begins with: read from a file, told when a factory brings them, its head anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadModel, cause_of
from tasks.core.progress import LOGGER

if TYPE_CHECKING:
    import torch
    from torch import nn

# What DataParallel and torch.compile put before the names of parameters.
_PREFIXES = ("module.", "_orig_mod.")
# Under these a training script keeps the state dict beside epochs and optimizers.
_STATES = ("state_dict", "model_state_dict", "model")
_SHOWN = 4


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file: safetensors, or what ``torch.save(network.state_dict())`` wrote.

    Nothing but tensors is read. Prefixes that DataParallel and torch.compile leave are taken off, and the attribute as
    which a larger module kept the network, as Lightning's do; the log says so.

    Raises:
        BadModel: the file is missing, is no state dict, or is one of another network.
    """
    state = _read(path)
    own = network.state_dict()
    plain = state
    if state.keys() != own.keys():
        plain = {_without_prefixes(name): value for name, value in state.items()}
        if plain.keys() != state.keys():
            LOGGER.info("checkpoint %s: names without %s", path.name, " and ".join(_PREFIXES))
        plain = _below_attribute(plain, own, path) or plain
    missing, unknown = sorted(own.keys() - plain.keys()), sorted(plain.keys() - own.keys())
    other = sorted(name for name in own.keys() & plain.keys() if own[name].shape != plain[name].shape)
    problems = [
        f"{what} {_some(names)}"
        for what, names in (("none of", missing), ("an unknown", unknown), ("another shape of", other))
        if names
    ]
    if problems:
        raise BadModel(
            where=f"model custom, checkpoint {path}",
            expected="the weights of just the network that the factory returns",
            got="; ".join(problems),
            do="Let the factory return the network they were trained in, with as many classes.",
        )
    network.load_state_dict(plain)


def _below_attribute(
    state: dict[str, torch.Tensor], own: dict[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor] | None:
    """The weights below the one attribute that has all of the network's own, by their own names; None without such.

    What lies beside it is left out and told: metrics, the weights of a loss, a second network.
    """
    first = next(iter(own), None)
    ends = [name for name in state if first is not None and name.endswith(f".{first}")]
    attributes = {name.removesuffix(first or "") for name in ends}
    found = [attribute for attribute in attributes if all(attribute + name in state for name in own)]
    if len(found) != 1 or own.keys() <= state.keys():
        return None
    others = sorted(name for name in state if not name.startswith(found[0]))
    beside = f"; left out: {_some(others)}" if others else ""
    LOGGER.info("checkpoint %s: the names below %s are taken%s", path.name, found[0], beside)
    return {name.removeprefix(found[0]): value for name, value in state.items() if name.startswith(found[0])}


def _read(path: Path) -> dict[str, torch.Tensor]:
    import torch

    where = f"model custom, checkpoint {path}"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file raises whatever its reader does
        raise BadModel(
            where=where,
            expected="a .safetensors file, or a state dict saved by torch.save",
            got=cause_of(error),
            do="Write it by torch.save(network.state_dict(), path); a pickled network is code, and is not read.",
        ) from error
    for name in _STATES:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    tensors = isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())
    if not tensors:
        raise BadModel(
            where=where,
            expected="a state dict: names and tensors",
            got=type(content).__name__,
            do="Write it by torch.save(network.state_dict(), path).",
        )
    return dict(content)


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES * 2:
        name = name.removeprefix(prefix)
    return name


def are_given(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks of one factory, made under different seeds, agree in most weights that are no constants.

    Most: a table of places is often computed, and the same in all networks that nobody has trained.
    """
    import torch

    other = dict(second.named_parameters())
    equal = total = 0
    for name, value in first.named_parameters():
        if name in other and value.numel() > 1 and float(value.detach().float().std()) > 0:
            total += value.numel()
            equal += value.numel() if torch.equal(value, other[name]) else 0
    return 2 * equal > total


def renew_head(network: nn.Module, example: torch.Tensor) -> bool:
    """Draw the weights of the last Linear anew, the one whose output is the network's; whether there is one."""
    import torch
    from torch import nn

    last: list[tuple[nn.Linear, torch.Tensor]] = []

    def note(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Linear)  # noqa: S101  hooks are set on these only
        last[:] = [(layer, output)]

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if isinstance(layer, nn.Linear)]
    was_training = network.training
    try:
        with torch.no_grad():
            outputs = logits_of(network.eval()(example))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    if not last or last[0][1] is not outputs:
        return False
    before = last[0][0].weight.detach().clone()
    last[0][0].reset_parameters()
    # A weight that is computed from others (weight_norm) comes back as it was.
    return not torch.equal(before, last[0][0].weight)


def logits_of(outputs: Any) -> Any:
    """The logits in what a network returns: the tensor itself, the first of a tuple, or what is called logits."""
    if isinstance(outputs, tuple | list):
        return outputs[0]
    if isinstance(outputs, dict):
        return outputs.get("logits", outputs)
    return getattr(outputs, "logits", outputs)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
