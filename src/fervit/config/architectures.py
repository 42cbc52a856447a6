"""Architectures by name, and the options that each takes in a recipe's `[model]` table."""

from dataclasses import dataclass

from fervit.config.checks import check_below_one, check_choices, check_multiple, check_not_negative, check_positive
from fervit.errors import ConfigError

SCRATCH = "scratch"  # in place of starting weights: random ones

BRANCHES = ("resnet18", "mobilenet_v1", "inception_resnet_v1")  # of a VTFF


@dataclass(frozen=True)
class ViTOptions:
    """The plain Vision Transformer: Hugging Face's ViT or DINOv2, whichever the starting weights are.

    Attributes:
        pool: what the head reads. `auto` is what the starting weights have: `cls` for a ViT, `cls_mean` (the CLS
            token beside the mean of the patch tokens) for a DINOv2. A ViT with `cls_mean` is stored as a DINOv2
            whose layer scales start at 1, which computes the same.
    """

    pool: str = "auto"

    def __post_init__(self) -> None:
        check_choices(self, {"pool": ("auto", "cls_mean")}, "model.")


@dataclass(frozen=True)
class ViTSEOptions:
    """ViT with squeeze-and-excitation before the head: Aouayeb et al. 2021, arXiv 2107.03107.

    Attributes:
        se_reduction: width of the encoder's output over that of the bottleneck (Hu et al. 2018: 16).
        se_on: `cls` gates the CLS token by itself; `tokens` squeezes over all tokens.
    """

    se_reduction: int = 16
    se_on: str = "cls"

    def __post_init__(self) -> None:
        check_choices(self, {"se_on": ("cls", "tokens")}, "model.")
        check_positive(self, ("se_reduction",), "model.")


@dataclass(frozen=True)
class VTFFOptions:
    """Visual Transformers with feature fusion: Ma, Sun, Li 2021, arXiv 2103.16854.

    Attributes:
        branch: the CNN of the two branches: `resnet18` as in the paper, from random weights, or one that `--init` may
            bring from face identification (scripts/make_faceres.py, scripts/make_facenet.py) or expressions. Such a
            CNN is cut behind the last stage whose map still has `grid` x `grid` places.
        encoder: a ViT's safetensors file, model folder or Hub id, whose first layers the encoder starts from where
            `--init` is a CNN or `scratch`; empty: random ones. The model folder does not need it.
        channels: of the last stage of a ResNet-18 (C; the paper's has 512); the stages below have C/8, C/4, C/2.
            Other branches have their own.
        grid: side of the fused feature map, whose cells are the visual words (7 in the paper, so 49 words).
        width: of a token's vector.
        depth: transformer layers.
        heads: attention heads.
        mlp: width of a layer's hidden part.
    """

    branch: str = "resnet18"
    encoder: str = ""
    channels: int = 512
    grid: int = 7
    width: int = 768
    depth: int = 4
    heads: int = 8
    mlp: int = 3072

    def __post_init__(self) -> None:
        check_choices(self, {"branch": BRANCHES}, "model.")
        check_positive(self, ("channels", "grid", "width", "depth", "heads", "mlp"), "model.")
        check_multiple(self, "channels", 8, "model.")
        if self.width % self.heads:
            raise ConfigError(f"model.width {self.width} does not divide into {self.heads} heads")


@dataclass(frozen=True)
class PFViTOptions:
    """Poker Face ViT: Li et al. 2022, arXiv 2207.11081. The weights are those of the terms of its loss.

    Cross-entropy has weight 1. The defaults are ours (the paper's abstract states none), set by looking at the faces
    of short runs on synthetic faces, not by a comparison of accuracies.

    Attributes:
        reconstruction: weight of the L1 distance between the face and its reconstruction, which falls from about 0.45
            to 0.2 in units of the normalised input: 2 makes the term a partner of cross-entropy.
        adversarial: weight of the generator's and the discriminator's hinge losses. Small: it should sharpen faces
            that are there, and the discriminator counts in the norm by which all gradients are clipped.
        orthogonality: weight of the squared cosine between the emotion and the disturbance part. Two vectors of width
            D in random directions are at 1 / D, so the term is a guard that is small most of the time.
        poker: weight of the cross-entropy of the poker face with `neutral`. With 0.1 a young generator painted one
            dark patch that the classifier took for neutral, whoever the face was. 0 saves a pass of the encoder.
        anchor: weight of the L1 distance between a neutral face and its own poker face. Ours: without it nothing but
            the discriminator keeps poker faces like faces. About one face in seven counts, hence more than 2.
        face_px: side of the painted faces (48: FER2013's images).
        channels: width of the generator, and of the discriminator's middle.
    """

    reconstruction: float = 2.0
    adversarial: float = 0.02
    orthogonality: float = 0.1
    poker: float = 0.01
    anchor: float = 3.0
    face_px: int = 48
    channels: int = 32

    def __post_init__(self) -> None:
        weights = ("reconstruction", "adversarial", "orthogonality", "poker", "anchor")
        check_not_negative(self, weights, "model.")
        check_positive(self, ("face_px", "channels"), "model.")
        check_multiple(self, "face_px", 8, "model.")
        check_multiple(self, "channels", 16, "model.")


@dataclass(frozen=True)
class CNNOptions:
    """The baseline: a residual network for small grey faces, trained from scratch.

    Attributes:
        channels: of the first stage; each of the following three has twice as many.
        blocks: residual blocks of a stage.
        dropout: fraction of features dropped before the head.
    """

    channels: int = 40
    blocks: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_positive(self, ("channels", "blocks"), "model.")
        check_below_one(self, ("dropout",), "model.")


@dataclass(frozen=True)
class MobileNetV1Options:
    """Hugging Face's MobileNet v1, a small CNN for weights that were pre-trained on faces.

    Attributes:
        dropout: fraction of features dropped before the head.
        width: factor on the width of every layer (alpha in the paper) of one from scratch; weights have their own.
    """

    dropout: float = 0.2
    width: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, ("width",), "model.")
        check_below_one(self, ("dropout",), "model.")


@dataclass(frozen=True)
class InceptionResNetV1Options:
    """Inception-ResNet v1, FaceNet's network, for weights that were pre-trained on faces.

    Attributes:
        dropout: fraction of features dropped before the head.
        width: factor on the width of every layer.
        depth: factor on the numbers of blocks of a kind (5, 10 and 5). Weights that are started from must have been
            made with the same width and depth.
    """

    dropout: float = 0.4
    width: float = 1.0
    depth: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, ("width", "depth"), "model.")
        check_below_one(self, ("dropout",), "model.")


ArchOptions = (
    ViTOptions | ViTSEOptions | VTFFOptions | PFViTOptions | CNNOptions | MobileNetV1Options | InceptionResNetV1Options
)
ARCHS: dict[str, type[ArchOptions]] = {
    "vit": ViTOptions,
    "vit_se": ViTSEOptions,
    "vtff": VTFFOptions,
    "pf_vit": PFViTOptions,
    "cnn": CNNOptions,
    "mobilenet_v1": MobileNetV1Options,
    "inception_resnet_v1": InceptionResNetV1Options,
}
CONVOLUTIONAL = ("cnn", "mobilenet_v1", "inception_resnet_v1")  # the others are transformers
