"""The public data sets, written small: synthetic faces in the exact layout of each."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data.labelling.conventions import AFFECTNET, CKPLUS, EXPW, RAFDB, Convention
from fervit.data.synthetic.dataset import synthesize
from fervit.labels import FER7, FERPLUS8
from tests.helpers.data_files import png, write_rows, write_table

PHOTO_SIZE = (320, 240)
BOX = (90, 40, 186, 136)
"""Left, top, right, bottom of the face on a photo of `photo`."""
VOTED = (*FERPLUS8, "unknown", "not a face")
"""What FER+'s voters may say, in the order of its columns."""


@dataclass(frozen=True, eq=False)
class Face:
    """A synthetic face: `(48, 48)` grey pixels, its expression, and who it is of, from 0."""

    image: np.ndarray
    label: str
    person: int

    @property
    def size(self) -> str:
        """Its pixels as a csv has them."""
        return " ".join(map(str, self.image.ravel().tolist()))


@dataclass(frozen=True)
class PublicSet:
    """A data set in one of its layouts.

    Attributes:
        form: what stands before the colon.
        write: writes faces below a folder; returns what is to be loaded.
        recognised: whether fervit knows it without the form's name.
        splits: the splits that the source names; the others are drawn.
        subjects: whether the source says who is on an image.
        images: whether it has image files, of which one may be damaged.
        wrapped: whether it may lie in other folders.
    """

    form: str
    write: Callable[[Path, Sequence[Face]], Path]
    recognised: bool = False
    splits: tuple[str, ...] = ()
    subjects: bool = False
    images: bool = True
    wrapped: bool = True


@cache
def faces(people: int = 10) -> tuple[Face, ...]:
    """Draw seven faces of each of some people."""
    drawn = synthesize(7 * people, seed=11)
    return tuple(
        Face(image[..., 0], FER7[target], k // 7)
        for k, (image, target) in enumerate(zip(drawn.images, drawn.targets, strict=True))
    )


def photo(face: Face) -> np.ndarray:
    """Return a `(240, 320, 3)` photo with the face, twice its size, at `BOX`."""
    rng = np.random.default_rng(face.person)
    image = np.repeat(rng.integers(60, 90, (*PHOTO_SIZE[::-1], 1), dtype=np.uint8), 3, axis=2)
    left, top, right, bottom = BOX
    image[top:bottom, left:right] = np.kron(face.image, np.ones((2, 2), np.uint8))[..., None]
    return image


def number_of(convention: Convention, label: str) -> str:
    """Return the number of an expression."""
    return next(number for number, name in convention.numbers.items() if name == label)


def save(path: Path, image: np.ndarray) -> None:
    """Write an image; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def rafdb_list(root: Path, drawn: Sequence[Face]) -> Path:
    """`basic/EmoLabel/list_patition_label.txt` and `basic/Image/aligned`."""
    lines = []
    for k, face in enumerate(drawn):
        split = "test" if k % 5 == 4 else "train"
        save(root / "basic" / "Image" / "aligned" / f"{split}_{k:05d}_aligned.jpg", face.image)
        lines.append(f"{split}_{k:05d}.jpg {number_of(RAFDB, face.label)}")
    (root / "basic" / "EmoLabel").mkdir()
    (root / "basic" / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


def rafdb_folders(root: Path, drawn: Sequence[Face]) -> Path:
    """Kaggle's `DATASET/train/1/train_00001_aligned.jpg`."""
    for k, face in enumerate(drawn):
        split = "test" if k % 5 == 4 else "train"
        folder = root / "DATASET" / split / number_of(RAFDB, face.label)
        save(folder / f"{split}_{k:05d}_aligned.jpg", face.image)
    return root


def rafdb_parquet(root: Path, drawn: Sequence[Face]) -> Path:
    """A parquet file with RAF-DB's numbers."""
    root.mkdir(parents=True, exist_ok=True)
    labels = [int(number_of(RAFDB, face.label)) for face in drawn]
    return write_table(root / "rafdb.parquet", image=[png(face.image) for face in drawn], label=labels)


def affectnet_lists(root: Path, drawn: Sequence[Face]) -> Path:
    """`training.csv`, `validation.csv` (without a header) and `Manually_Annotated_Images`, with boxes."""
    left, top, right, bottom = BOX
    rows: dict[str, list[list[object]]] = {"training": [], "validation": []}
    for k, face in enumerate(drawn):
        path = f"{face.person}/{k:04d}.jpg"
        save(root / "Manually_Annotated_Images" / path, photo(face))
        label = number_of(AFFECTNET, face.label)
        row = [path, left, top, right - left, bottom - top, "1.0;2.0", label, 0.1, -0.2]
        rows["validation" if k % 5 == 4 else "training"].append(row)
    nothing = [f"{drawn[0].person}/0000.jpg", "NULL", "NULL", "NULL", "NULL", "", "10", -2, -2]
    header = ["subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"]
    for name, lines in rows.items():
        with (root / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            if name == "training":
                writer.writerow([*header, "expression", "valence", "arousal"])
                writer.writerow(nothing)
            writer.writerows(lines)
    return root


def affectnet_annotations(root: Path, drawn: Sequence[Face]) -> Path:
    """`train_set/images/0.jpg` and `train_set/annotations/0_exp.npy`."""
    for k, face in enumerate(drawn):
        split = "val_set" if k % 5 == 4 else "train_set"
        save(root / split / "images" / f"{k}.jpg", face.image)
        (root / split / "annotations").mkdir(exist_ok=True)
        np.save(root / split / "annotations" / f"{k}_exp.npy", np.array(number_of(AFFECTNET, face.label)))
        np.save(root / split / "annotations" / f"{k}_val.npy", np.array("0.5"))
    return root


def affectnet_folders(root: Path, drawn: Sequence[Face]) -> Path:
    """`train/0/x.jpg` to `train/7/x.jpg`, and `val`."""
    for k, face in enumerate(drawn):
        split = "val" if k % 5 == 4 else "train"
        save(root / split / number_of(AFFECTNET, face.label) / f"image{k:07d}.jpg", face.image)
    return root


def ckplus_sequences(root: Path, drawn: Sequence[Face]) -> Path:
    """Five frames of each sequence, from the person's neutral face to the peak; one sequence has no label."""
    by_person = [
        [face for face in drawn if face.person == person] for person in sorted({face.person for face in drawn})
    ]
    for own in by_person:
        neutral = next(face for face in own if face.label == "neutral")
        for number, face in enumerate((face for face in own if face.label != "neutral"), start=1):
            sequence = f"S{face.person:03d}/{number:03d}"
            stem = sequence.replace("/", "_")
            for frame in range(1, 6):
                blend = neutral.image + (face.image.astype(float) - neutral.image) * (frame - 1) / 4
                save(root / "cohn-kanade-images" / sequence / f"{stem}_{frame:08d}.png", blend.astype(np.uint8))
            (root / "Emotion" / sequence).mkdir(parents=True)
            if number > 1 or face.person:
                label = float(number_of(CKPLUS, face.label))
                (root / "Emotion" / sequence / f"{stem}_00000005_emotion.txt").write_text(f"   {label:.7e}\n")
    return root


def ckplus_classes(root: Path, drawn: Sequence[Face]) -> Path:
    """Kaggle's `CK+48/anger/S010_004_00000017.png`."""
    for k, face in enumerate(drawn):
        save(root / "CK+48" / face.label / f"S{face.person:03d}_{k:03d}_00000017.png", face.image)
    return root


def ckplus_csv(root: Path, drawn: Sequence[Face]) -> Path:
    """Kaggle's `ckextended.csv`, in which contempt is 7."""
    root.mkdir(parents=True, exist_ok=True)
    splits = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
    rows = [f"{FER7.index(face.label)},{face.size},{splits[k % 5]}" for k, face in enumerate(drawn)]
    return write_rows(root / "ckextended.csv", rows)


def jaffe(root: Path, drawn: Sequence[Face]) -> Path:
    """`KA.AN1.39.tiff` and its like, in one folder, beside a readme."""
    for k, face in enumerate(drawn):
        person = chr(ord("K") + face.person // 26) + chr(ord("A") + face.person % 26)
        save(root / "jaffedbase" / f"{person}.{face.label[:2].upper()}1.{k}.tiff", face.image)
    (root / "jaffedbase" / "README_FIRST.txt").write_text("Terms of use.")
    return root


def expw(root: Path, drawn: Sequence[Face]) -> Path:
    """`label/label.lst` and `image/origin`."""
    left, top, right, bottom = BOX
    lines = []
    for k, face in enumerate(drawn):
        name = f"{face.label} actor_{k}.jpg"
        save(root / "image" / "origin" / name, photo(face))
        lines.append(f"{name} 0 {top} {left} {right} {bottom} 22.9 {number_of(EXPW, face.label)}")
    (root / "label").mkdir()
    (root / "label" / "label.lst").write_text("\n".join(lines) + "\n")
    return root


def yolo(root: Path, drawn: Sequence[Face]) -> Path:
    """`data.yaml`, `train/images` and `train/labels`; one image has no face."""
    names = sorted(FER7)
    left, top, right, bottom = BOX
    width, height = PHOTO_SIZE
    box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    for k, face in enumerate(drawn):
        split = "valid" if k % 5 == 4 else "train"
        save(root / split / "images" / f"x{k}.jpg", photo(face))
        (root / split / "labels").mkdir(exist_ok=True)
        numbers = " ".join(f"{value:.6f}" for value in box)
        (root / split / "labels" / f"x{k}.txt").write_text(f"{names.index(face.label)} {numbers}\n")
    save(root / "train" / "images" / "without.jpg", photo(drawn[0])[:, ::-1])
    (root / "data.yaml").write_text(f"train: ../train/images\nval: ../valid/images\nnc: 7\nnames: {names}\n")
    return root


def yolo_classification(root: Path, drawn: Sequence[Face]) -> Path:
    """`train/angry/x.jpg` and `val`."""
    for k, face in enumerate(drawn):
        save(root / ("val" if k % 5 == 4 else "train") / face.label / f"{k}.jpg", face.image)
    return root


def fer2013_csv(root: Path, drawn: Sequence[Face]) -> Path:
    """A csv as FER2013's, without Usage."""
    root.mkdir(parents=True, exist_ok=True)
    return write_rows(
        root / "fer2013.csv", [f"{FER7.index(face.label)},{face.size}" for face in drawn], "emotion,pixels"
    )


def fer2013_folders(root: Path, drawn: Sequence[Face]) -> Path:
    """Folders 0 to 6."""
    for k, face in enumerate(drawn):
        save(root / ("test" if k % 5 == 4 else "train") / str(FER7.index(face.label)) / f"{k}.png", face.image)
    return root


def ferplus(root: Path, drawn: Sequence[Face]) -> Path:
    """`fer2013.csv` and `fer2013new.csv`, with a single stray vote for each face."""
    rows, votes = [], []
    for k, face in enumerate(drawn):
        usage = ("Training", "Training", "Training", "PublicTest", "PrivateTest")[k % 5]
        rows.append(f"{FER7.index(face.label)},{face.size},{usage}")
        counts = [9 if name == face.label else 1 if name == "unknown" else 0 for name in VOTED]
        votes.append(f"{usage},fer{k:07d}.png," + ",".join(map(str, counts)))
    root.mkdir(parents=True, exist_ok=True)
    write_rows(root / "fer2013.csv", rows)
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    write_rows(root / "fer2013new.csv", votes, header)
    return root


def ferplus_folders(root: Path, drawn: Sequence[Face]) -> Path:
    """The folders that FER+'s own script makes."""
    for k, face in enumerate(drawn):
        folder = root / ("FER2013Train", "FER2013Train", "FER2013Train", "FER2013Valid", "FER2013Test")[k % 5]
        save(folder / f"fer{k:07d}.png", face.image)
        counts = [9 if name == face.label else int(name == "unknown") for name in VOTED]
        with (folder / "label.csv").open("a") as file:
            file.write(f"fer{k:07d}.png," + ",".join(map(str, counts)) + "\n")
    return root


def class_folders(root: Path, drawn: Sequence[Face]) -> Path:
    """`angry/x.png`, without splits."""
    for k, face in enumerate(drawn):
        save(root / face.label / f"{k}.png", face.image)
    return root


def parquet(root: Path, drawn: Sequence[Face]) -> Path:
    """Names of expressions and of people, without splits."""
    root.mkdir(parents=True, exist_ok=True)
    return write_table(
        root / "faces.parquet",
        image=[png(face.image) for face in drawn],
        label=[face.label for face in drawn],
        subject=[f"p{face.person}" for face in drawn],
    )


TRAIN_TEST, TRAIN_VAL = ("train", "private_test"), ("train", "public_test")
ALL = ("train", "public_test", "private_test")
PUBLIC_SETS = {
    "rafdb_list": PublicSet("rafdb", rafdb_list, recognised=True, splits=TRAIN_TEST),
    "rafdb_folders": PublicSet("rafdb", rafdb_folders, recognised=True, splits=TRAIN_TEST),
    "rafdb_parquet": PublicSet("rafdb", rafdb_parquet, images=False, wrapped=False),
    "affectnet_lists": PublicSet("affectnet", affectnet_lists, recognised=True, splits=TRAIN_VAL),
    "affectnet_annotations": PublicSet("affectnet", affectnet_annotations, recognised=True, splits=TRAIN_VAL),
    "affectnet_folders": PublicSet("affectnet", affectnet_folders, splits=TRAIN_VAL),
    "ckplus_sequences": PublicSet("ckplus", ckplus_sequences, recognised=True, subjects=True),
    "ckplus_classes": PublicSet("ckplus", ckplus_classes, recognised=True, subjects=True),
    "ckplus_csv": PublicSet("ckplus", ckplus_csv, splits=ALL, images=False, wrapped=False),
    "jaffe": PublicSet("jaffe", jaffe, recognised=True, subjects=True),
    "expw": PublicSet("expw", expw, recognised=True),
    "yolo": PublicSet("yolo", yolo, recognised=True, splits=TRAIN_VAL),
    "yolo_classification": PublicSet("yolo", yolo_classification, splits=TRAIN_VAL),
    "fer2013_csv": PublicSet("fer2013", fer2013_csv, images=False, wrapped=False),
    "fer2013_folders": PublicSet("fer2013", fer2013_folders, splits=TRAIN_TEST),
    "ferplus": PublicSet("ferplus", ferplus, splits=ALL, images=False),
    "ferplus_folders": PublicSet("ferplus", ferplus_folders, splits=ALL),
    "class_folders": PublicSet("folder", class_folders),
    "parquet": PublicSet("parquet", parquet, subjects=True, images=False, wrapped=False),
}
"""Every form and layout, over which the contract of readers is tested."""


def written(name: str, root: Path, drawn: Sequence[Face]) -> str:
    """Write a data set; return its name with the form, as `load` takes it."""
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    return f"{PUBLIC_SETS[name].form}:{PUBLIC_SETS[name].write(root, drawn)}"


def damaged(image: np.ndarray) -> bytes:
    """Return half of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()[: buffer.tell() // 2]
