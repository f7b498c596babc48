"""Networks of the library transformers that lie in a folder, an installed package or the hub's cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tasks.core.errors import BadConfig, BadModel, require_package
from tasks.dataset.pretrained_files import digest_of, locate

CONFIG = "config.json"
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*/config.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def folder_of(weights: str) -> Path:
    """Where the weights lie: a folder, an installed package that carries them, or a name on the Hugging Face hub.

    Of the hub, configuration, tokenizer and safetensors are taken; the cache of this machine is asked first.

    Raises:
        BadConfig: they are nowhere to be found.
    """
    try:
        return locate(weights, CONFIG)
    except BadConfig as error:
        if not _HUB_NAME.fullmatch(weights) or Path(weights).expanduser().exists():
            raise
        return _from_hub(weights, error)


def _from_hub(name: str, absence: BadConfig) -> Path:
    with require_package("huggingface_hub", f"model encoder, weights {name}", "pip install -e '.[text]'"):
        from huggingface_hub import snapshot_download
    for is_offline in (True, False):
        try:
            return Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=is_offline))
        except Exception as error:  # noqa: BLE001  the library raises a dozen kinds; each means that it is not there
            reason = f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"
    raise BadConfig(
        where=f"model encoder, weights {name}",
        expected="a folder written by save_pretrained, an installed package that carries one, or a name on the hub",
        got=f"no folder or package, and of the hub: {reason}",
        do="Name a folder; of the hub, fetch it where there is a network.",
    ) from absence


def digest_of_weights(weights: str) -> str:
    """Digest of all files that decide what the network gives."""
    return digest_of(folder_of(weights), *_FILES)


def load_pretrained(weights: str, loader: str = "AutoModel") -> tuple[Any, set[str]]:
    """(the network, names of its parameters that no file holds), float32, on the CPU.

    Safetensors alone are read; neither pickles nor code that comes with a model are.

    Raises:
        BadModel: the folder holds no such network.
    """
    import torch

    library, folder = transformers_library(), folder_of(weights)
    try:
        network, info = getattr(library, loader).from_pretrained(
            str(folder),
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise BadModel(
            where=f"model encoder, weights {folder}",
            expected="config.json and safetensors of an architecture that the library transformers knows",
            got=f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}",
            do="Write the model again with save_pretrained(folder, safe_serialization=True).",
        ) from error
    return network, set(info["missing_keys"])


def check_complete(weights: str, missing: set[str]) -> None:
    """Refuse a network some of whose weights are drawn at random: its vectors would differ from run to run.

    Raises:
        BadModel: parameters besides the pooling layer's are missing.
    """
    others = sorted(name for name in missing if not is_pooler(name))
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise BadModel(
            where=f"model encoder, weights {weights}",
            expected="a file that holds every parameter",
            got=f"one without {', '.join(others[:3])}{more}",
            do="Write the encoder itself with save_pretrained, not a part of it.",
        )


def is_pooler(name: str) -> bool:
    """Whether a parameter belongs to the layer that makes one vector of all tokens."""
    return "pooler" in name.split(".")


def transformers_library() -> Any:
    """The library, quiet.

    Raises:
        BadConfig: it is not installed.
    """
    with require_package("transformers", "model encoder", "pip install -e '.[vision]' (pictures) or '.[text]' (texts)"):
        import transformers
    transformers.utils.logging.disable_progress_bar()
    return transformers
