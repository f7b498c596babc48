"""Networks of the library transformers that lie in a folder, an installed package or the hub's cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.core.errors import BadConfig, BadModel, cause_of, require_package
from tasks.dataset.pretrained_files import digest_of, locate

CONFIG = "config.json"
OFFLINE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Nothing is fetched, and no code that comes with a model is run."""
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*/config.json", "*/*.safetensors")
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
            reason = cause_of(error)
    raise BadConfig(
        where=f"model encoder, weights {name}",
        expected="a folder written by save_pretrained, an installed package that carries one, or a name on the hub",
        got=f"no folder or package, and of the hub: {reason}",
        do="Name a folder; of the hub, fetch it where there is a network.",
    ) from absence


def digest_of_weights(weights: str) -> str:
    """Digest of all files that decide what the network gives."""
    return digest_of(folder_of(weights), *_FILES)


@contextmanager
def library_errors(where: str, expected: str, do: str) -> Iterator[None]:
    """Around what the library does with files of somebody else.

    Raises:
        BadModel: it cannot do it, for whatever reason.
    """
    try:
        yield
    except ImportError as error:
        # Of networks that are another library's, as timm's; of timm torchvision is asked as well.
        do = "Install the library that it names beside gradsieve, and what that library needs itself."
        raise BadModel(where=where, expected=expected, got=cause_of(error), do=do) from error
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise BadModel(where=where, expected=expected, got=cause_of(error), do=do) from error


def read_network(where: str, folder: Path, loader: str, **options: Any) -> tuple[Any, set[str]]:
    """(the network of a folder, names of its parameters that no file holds), float32, on the CPU.

    Safetensors alone are read; neither pickles nor code that comes with a model are.

    Raises:
        BadModel: the folder holds no such network.
    """
    import torch

    library = transformers_library(where)
    with library_errors(
        where,
        "config.json and safetensors of an architecture that the library transformers knows",
        "Write the model again with save_pretrained(folder, safe_serialization=True).",
    ):
        network, info = getattr(library, loader).from_pretrained(
            str(folder), use_safetensors=True, dtype=torch.float32, output_loading_info=True, **OFFLINE, **options
        )
    return network, set(info["missing_keys"])


def load_pretrained(weights: str) -> tuple[Any, set[str]]:
    """As ``read_network``, of an encoder all of whose weights are in its files but the pooling layer's.

    Raises:
        BadModel: there is no such network, or others of its weights would be drawn at random.
    """
    folder = folder_of(weights)
    network, missing = read_network(f"model encoder, weights {folder}", folder, "AutoModel")
    _check_complete(weights, missing)
    return network, missing


def _check_complete(weights: str, missing: set[str]) -> None:
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


def positions_of(config: Any) -> int | None:
    """Tokens of the longest text that a network of this configuration reads; None where it says none.

    RoBERTa and its kin count places from behind the padding's.
    """
    shift = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return max(0, getattr(config, "max_position_embeddings", 0) - shift) or None


def transformers_library(where: str) -> Any:
    """The library, quiet.

    Raises:
        BadConfig: it is not installed.
    """
    with require_package("transformers", where, "pip install -e '.[text]' (texts) or '.[vision]' (pictures)"):
        import transformers
    transformers.utils.logging.disable_progress_bar()
    return transformers
