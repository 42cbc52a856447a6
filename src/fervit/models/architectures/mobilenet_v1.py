# mypy: disallow-untyped-calls=False
"""Hugging Face's MobileNet v1 (Howard et al. 2017, arXiv 1704.04861): a small CNN that comes pre-trained.

Its worth here is where its weights come from. `scripts/make_faceres.py` makes a folder of those that Savchenko (2019,
"Efficient facial representations", PeerJ Computer Science 5:e197) trained on face identification with VGGFace2: a
network pre-trained so learns expressions in a fraction of the epochs that one from ImageNet needs, and errs on other
faces than a Transformer does, which is what makes an ensemble better than its members.

It halves its input five times: 96 px become 3 x 3 places, which are averaged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification, PreTrainedModel

from fervit.config.architectures import SCRATCH, MobileNetV1Options
from fervit.errors import ModelError
from fervit.models.architectures.convolutional import channels_last
from fervit.models.pretrained import HALF, from_hugging_face, label_fields
from fervit.types import Preprocess

SMALLEST_PX = 40  # halved five times it is 2 x 2: a batch norm's deviation needs more than one value
NORM_MOMENTUM = 0.1  # PyTorch's. transformers gives TensorFlow's 0.9997, which PyTorch takes for 1 - 0.9997


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: MobileNetV1Options
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a MobileNet over `labels` at `image_size` px, with the preprocessing that its weights expect.

    `init` is `scratch`, a model folder or a Hub id such as `google/mobilenet_v1_1.0_224`.

    Raises:
        ModelError: the weights are missing, incomplete or of another architecture, or `image_size` is too small.
    """
    if image_size < SMALLEST_PX:
        raise ModelError(
            f"image_size {image_size} is too small for a mobilenet_v1: it halves it five times; give {SMALLEST_PX}"
        )
    dropout: dict[str, Any] = {"classifier_dropout_prob": options.dropout}
    model: PreTrainedModel
    if str(init) == SCRATCH:
        model = MobileNetV1ForImageClassification(
            MobileNetV1Config(image_size=image_size, depth_multiplier=options.width, **dropout, **label_fields(labels))
        )
        preprocess = Preprocess(image_size=image_size, mean=HALF, std=HALF)
    else:
        model, preprocess = from_hugging_face(init, labels, image_size, kinds=("mobilenet_v1",), changes=dropout)
        model.config.image_size = image_size  # averaged over all places, it fits any
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    # A step on a CPU takes 0.6 of the time. (That of a ResNet takes as long as without, VTFF's crashes.)
    return channels_last(model), preprocess
