"""Figures that others have published, to show beside ours."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """Figures that somebody published, all 0..1, for comparison."""

    source: str
    accuracy: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    f1: dict[str, float] = field(default_factory=dict)


# What recipes/paper.toml reproduces; averages are rounded to two digits there, and four classes have an F1.
PAPER = Published(
    source="the paper (ViT fine-tuned on FER2013)",
    accuracy=0.6722,
    weighted_precision=0.67,
    weighted_recall=0.67,
    weighted_f1=0.67,
    f1={"happy": 0.86, "surprise": 0.78, "fear": 0.52, "sad": 0.56},
)
