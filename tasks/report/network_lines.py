"""What a summary says of the network that was trained."""

from __future__ import annotations

from typing import Any

from tasks.training.models.encoder import OWN_ENCODER

# From so many pixels on the shorter side pictures are photographs for which encoders were trained.
_PHOTO_SIDE = 24


def network_lines(network: dict[str, Any] | None, payload: dict[str, Any]) -> list[str]:
    """The network, where its weights come from, and what would find more.

    Args:
        network: facts of the probe; None of runs before 0.8.
        payload: of the samples.
    """
    if network is None:
        return []
    lines = [f"network {network['model']}, {network['parameters']:,} parameters"]
    if network["begins_trained"]:
        lines.append(
            "it begins with weights that were trained before: if that was on these samples, they have seen what is "
            "removed here, and all arms of the proof begin with them; --model.head new draws at least the last layer "
            "anew"
        )
    if network["model"] == OWN_ENCODER:
        lines.append(
            "its vectors come from a network of your own: if that was trained on these labels, it has seen the wrong "
            "ones too, and nothing here can tell"
        )
    is_photo = payload["kind"] == "image" and min(payload["shape"][1:]) >= _PHOTO_SIDE
    if is_photo and network["model"].partition(" ")[0] not in ("encoder", "custom"):
        lines.append(
            "a pretrained encoder usually finds far more wrong labels (--model.kind encoder --model.weights FOLDER; on "
            "5,000 CIFAR-10N pictures average precision .19 became .66)"
        )
    return lines
