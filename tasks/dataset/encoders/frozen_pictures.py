"""Frozen encoders of pictures: pretrained ones of the library transformers, and a network of one's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasks.core.errors import BadModel
from tasks.dataset import images
from tasks.dataset.encoders.frozen import Embed, FrozenEncoder
from tasks.dataset.encoders.pretrained_network import (
    OFFLINE,
    digest_of_weights,
    folder_of,
    is_pooler,
    library_errors,
    load_pretrained,
    transformers_library,
)
from tasks.dataset.own_network import frozen_network, weights_digest
from tasks.dataset.payload import Payload, to_array
from tasks.pipeline.cache_keys import code_digest

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from PIL import Image

Normalisation = Literal["imagenet", "symmetric", "none"]
# (mean, standard deviation) of red, green and blue, of pixels from 0 to 1.
STATISTICS: dict[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
# A processor that brings its own size asks for no more.
_LARGEST_SIDE = 512
SIZE = 224
"""Of the pictures that a network of one's own is given, unless told otherwise."""


class _FrozenPictures(FrozenEncoder):
    """Base of both."""

    reads: ClassVar[Literal["pictures", "texts"]] = "pictures"
    size: int | None = None

    def cells(self, batch: pa.RecordBatch, payload: Payload) -> list[Image.Image]:
        """Pictures in RGB, of the size they have in the source."""
        if payload.kind == "image":
            side = 2 * (self.size or _LARGEST_SIDE)
            data = batch.column(0).to_pylist()
            return [_reduced(images.open_picture(each, side, payload.bits), side) for each in data]
        return [_of_pixels(pixels) for pixels in to_array(batch, payload)]


class PretrainedPictures(_FrozenPictures, kind="pretrained_pictures"):
    """What ``AutoModel`` and ``AutoImageProcessor`` load, by the processor's own size and normalisation.

    A vector is the picture's embedding of a model that has two halves (CLIP, SigLIP), else what the model pools, else,
    where its pooling layer has no weights, the mean over the last layer's tokens.
    """

    weights: str

    def fingerprint(self) -> str:
        """The weights, their configuration and the processor's."""
        return digest_of_weights(self.weights)

    def embedder(self, device: torch.device) -> Embed:
        """Processor, network and pooling."""
        import torch

        network, missing = load_pretrained(self.weights)
        processor = processor_of(self.weights, self.size)
        network = network.to(device).eval()

        def embed(cells: list[Any]) -> torch.Tensor:
            pixels = processor(images=cells, return_tensors="pt")["pixel_values"].to(device)
            with torch.inference_mode():
                return pooled(network, pixels, missing, resized=self.size is not None).float().cpu()

        _try_out(embed, self.weights)
        return embed


class OwnPictures(_FrozenPictures, kind="own_pictures"):
    """A network that a factory of one's own returns, called as ``factory()``: n × 3 × size × size → n × d.

    Pictures are resized to ``size`` by their shorter side and cropped to the middle square, as ImageNet's are.
    """

    factory: str
    normalisation: Normalisation = "imagenet"

    def fingerprint(self) -> str:
        """The factory's code and what it returns."""
        return code_digest([self.factory.partition(":")[0]]) + weights_digest(self.factory)

    def embedder(self, device: torch.device) -> Embed:
        """Resize, crop, normalise; then the network."""
        import torch

        network = frozen_network(self.factory).to(device).eval()
        size = self.size or SIZE
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS[self.normalisation])

        def embed(cells: list[Any]) -> torch.Tensor:
            pixels = (torch.stack([_square(cell, size) for cell in cells]).float() / 255 - mean) / std
            with torch.inference_mode():
                outputs = network(pixels.to(device))
            if not isinstance(outputs, torch.Tensor):
                raise BadModel(
                    where=f"model encoder, encoder-factory {self.factory}",
                    expected="a network that returns one tensor",
                    got=type(outputs).__name__,
                    do="Return the features themselves, n × d.",
                )
            return outputs.flatten(1).float().cpu()

        return embed


def processor_of(weights: str, size: int | None) -> Any:
    """The processor that was kept with the weights, of another size if one is asked for.

    Raises:
        BadModel: there is none.
    """
    folder = folder_of(weights)
    where = f"model encoder, weights {folder}"
    loader = transformers_library(where).AutoImageProcessor
    with library_errors(
        where,
        "preprocessor_config.json beside the weights: size and normalisation of the pictures",
        "Write it with processor.save_pretrained(folder).",
    ):
        processor = loader.from_pretrained(str(folder), **OFFLINE)
        if size is None:
            return processor
        sizes = {"size": dict.fromkeys(dict(processor.size), size)}
        crop = {"crop_size": {"height": size, "width": size}} if getattr(processor, "do_center_crop", False) else {}
        return loader.from_pretrained(str(folder), **OFFLINE, **sizes, **crop)


def pooled(network: Any, pixels: torch.Tensor, missing: set[str], *, resized: bool = False) -> torch.Tensor:
    """One vector a picture, n × d.

    Args:
        network: of the library.
        pixels: n × 3 × H × W, as it takes them.
        missing: names of its parameters that no file holds.
        resized: whether they are of another size than it was trained with: places are then interpolated.
    """
    # What has two halves (CLIP, SigLIP) gives the picture's embedding.
    forward = getattr(network, "get_image_features", network)
    takes_places = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    options = {"interpolate_pos_encoding": True} if resized and takes_places else {}
    outputs = forward(pixel_values=pixels, **options)
    if hasattr(network, "get_image_features"):
        return getattr(outputs, "pooler_output", outputs).flatten(1)
    vectors = getattr(outputs, "pooler_output", None)
    if vectors is None or any(is_pooler(name) for name in missing):
        hidden = outputs.last_hidden_state
        return hidden.mean(1) if hidden.dim() == 3 else hidden.mean((2, 3))
    return vectors.flatten(1)


def _try_out(embed: Embed, weights: str) -> None:
    """Refuse an encoder that cannot take pictures of several shapes together, before any time is spent."""
    from PIL import Image

    with library_errors(
        f"model encoder, weights {weights}",
        "a processor that brings all pictures to one size, which the encoder takes",
        "Leave --model.size away, or let preprocessor_config.json resize to height and width, or crop.",
    ):
        embed([Image.new("RGB", size) for size in ((60, 40), (40, 60))])


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    """In RGB, and no larger than what an encoder makes anything of: many are held at once."""
    from PIL import Image

    scale = side / min(picture.size)
    if scale < 1:
        width, height = (max(side, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return picture.convert("RGB")


def _square(picture: Image.Image, size: int) -> torch.Tensor:
    """3 × size × size bytes."""
    import numpy as np
    import torch
    from PIL import Image

    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _of_pixels(pixels: Any) -> Image.Image:
    """C × H × W bytes as a picture.

    Raises:
        BadModel: they are no bytes.
    """
    import numpy as np

    if pixels.dtype != np.uint8 or pixels.shape[0] not in (1, 3):
        raise BadModel(
            where="model encoder",
            expected="pictures: encoded files, or 1 or 3 channels of bytes",
            got=f"{pixels.shape[0]} channels of {pixels.dtype}",
            do="Write the pixels as uint8 from 0 to 255.",
        )
    return images.from_pixels(pixels).convert("RGB")
