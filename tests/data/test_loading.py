"""Reading data sets: every accepted form, the cache, and what is said about bad input."""

import csv
import errno
import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fervit.data import Dataset, cache, decode, form_of, load, save
from fervit.data.cache import content_hash
from fervit.data.readers.ferplus import VOTE_COLUMNS
from fervit.errors import DataError
from fervit.labels import FER7

USAGE_OF = ("Training", "PublicTest", "PrivateTest")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def faces():
    """Thirty random pictures in FER2013's form, ordered by split."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (30, 48, 48, 1), dtype=np.uint8)
    images[0] = 0
    targets = rng.integers(0, 7, 30)
    split_ids = np.repeat([0, 1, 2], [20, 5, 5]).astype(np.int8)
    return Dataset(
        name="faces",
        labels=FER7,
        images=images,
        targets=targets,
        split_ids=split_ids,
        rows=np.arange(30),
        data_hash=content_hash(images, targets, split_ids),
    )


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def picture(path, *, size=(48, 48), mode="L", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


def pixels(value=7, count=2304):
    return " ".join([str(value)] * count)


def write_rows(path, rows, header="emotion,pixels,Usage"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


# Forms that must agree


@pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "a folder ünïcode"])
def test_every_form_of_the_same_data_has_the_same_hash(faces, tmp_path, name):
    save(faces, tmp_path / name)
    dataset = load(tmp_path / name)
    assert dataset.data_hash == faces.data_hash
    assert (dataset.images == faces.images).all()
    assert dataset.targets.dtype == np.int64
    assert dataset.split_ids.dtype == np.int8
    assert dataset.labels == FER7
    assert dataset.name == name
    assert isinstance(dataset.images, np.memmap)


def test_rows_that_are_not_ordered_by_split_keep_their_order_in_every_form(faces, tmp_path):
    order = np.random.default_rng(0).permutation(30)
    for name in ("a.csv", "a.parquet", "a"):
        save(faces.take(order), tmp_path / name)
        assert load(tmp_path / name).split_ids.tolist() == faces.split_ids[order].tolist()
        assert (load(tmp_path / name).images == faces.images[order]).all()


def test_synthetic_faces_come_out_of_every_form_as_they_went_in(tmp_path):
    drawn = load("synthetic:42:5")
    for name in ("s.csv", "s.parquet", "s"):
        save(drawn, tmp_path / name)
        assert load(tmp_path / name).data_hash == drawn.data_hash


def test_icml_csv_with_stray_spaces_and_another_column_order_is_the_same_data(faces, tmp_path):
    save(faces, tmp_path / "fer2013.csv")
    with (tmp_path / "fer2013.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    icml = [f"{emotion}, {usage}, {texts}" for emotion, texts, usage in rows]
    path = write_rows(tmp_path / "icml_face_data.csv", icml, header="emotion, Usage, pixels")
    assert load(path).data_hash == faces.data_hash


def test_csv_takes_quotes_carriage_returns_and_a_byte_order_mark(tmp_path):
    rows = [f'"3","{pixels()}","Training"', f'"6","{pixels(8)}","PrivateTest"']
    path = tmp_path / "quoted.csv"
    path.write_bytes("\r\n".join(["\ufeffEMOTION,Pixels,usage", *rows, ""]).encode())
    dataset = load(path)
    assert dataset.targets.tolist() == [3, 6]
    assert dataset.split_names == ("train", "private_test")
    assert dataset.images[1].max() == dataset.images[1].min() == 8


def test_csv_pixels_with_double_spaces_are_read(tmp_path):
    dataset = load(write_rows(tmp_path / "x.csv", [f"0,{pixels().replace(' ', '  ')},Training"]))
    assert (dataset.images == 7).all()


def test_all_pixel_values_survive_the_fast_csv_parser(tmp_path):
    values = np.arange(2304) % 256
    dataset = load(write_rows(tmp_path / "x.csv", [f"0,{' '.join(map(str, values))},Training"] * 300))
    assert (dataset.images[299].ravel() == values).all()


# Malformed csv


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [f"0,{pixels()},Training", f"1,{pixels(count=2303)},Training"],
            "line 3: 2303 pixels, expected 2304 (48 x 48)",
        ),
        ([f"0,{pixels(count=2303)},Training"], "line 2: 2303 pixels, expected a square number"),
        ([f"0,{pixels(count=2303)} 4x,Training"], "line 2: pixel 2304 is '4x', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} 256,Training"], "line 2: pixel 2304 is '256', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} -1,Training"], "line 2: pixel 2304 is '-1', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} ٣,Training"], "line 2: pixel 2304 is '٣', expected a number 0 to 255"),
        ([f"7,{pixels()},Training"], "line 2: emotion is '7', expected 0 to 6"),
        ([f"happy,{pixels()},Training"], "line 2: emotion is 'happy', expected 0 to 6"),
        ([f"0,{pixels()},Trainig"], "line 2: unknown usage 'Trainig': did you mean 'Training'?"),
        ([f"0,{pixels()}"], "line 2: 2 columns, expected 3"),
        ([], "has a header but no rows"),
    ],
)
def test_a_malformed_csv_row_is_named(tmp_path, rows, message):
    path = write_rows(tmp_path / "bad data.csv", rows)
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_csv_without_a_column_names_it(tmp_path):
    path = write_rows(tmp_path / "x.csv", [f"0,{pixels()}"], header="emotion,pixels")
    with pytest.raises(DataError, match=r"lacks the column.s. usage; it has emotion, pixels"):
        load(path)


def test_an_empty_csv_and_a_binary_csv_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"not a csv file that can be read|lacks the column"):
        load(tmp_path / "binary.csv")


# Folders


def test_kaggle_folder_tells_the_split_by_the_file_name(tmp_path):
    for k, name in enumerate(("train/angry/Training_10.png", "train/happy/Training_2.png",
                              "test/angry/PrivateTest_5.png", "test/sad/PublicTest_7.png")):  # fmt: skip
        picture(tmp_path / "fer" / name, seed=k)
    dataset = load(tmp_path / "fer")
    assert dataset.sources == ["train/happy/Training_2.png", "train/angry/Training_10.png",
                               "test/sad/PublicTest_7.png", "test/angry/PrivateTest_5.png"]  # fmt: skip
    assert dataset.split_ids.tolist() == [0, 0, 1, 2]
    assert dataset.targets.tolist() == [3, 0, 4, 0]
    assert dataset.images.shape == (4, 48, 48, 1)


@pytest.mark.parametrize(
    "names", [("Train", "VAL", "Test"), ("training", "valid", "testing"), ("train", "Validation", "test")]
)
def test_split_folders_are_known_in_any_case(tmp_path, names):
    for k, name in enumerate(names):
        picture(tmp_path / "d" / name / "Happiness" / f"{k}.jpg", seed=k)
    dataset = load(tmp_path / "d")
    assert dataset.split_ids.tolist() == [0, 1, 2]
    assert set(dataset.targets.tolist()) == {FER7.index("happy")}


def test_a_plain_class_folder_is_split_by_content(tmp_path):
    for k in range(200):
        picture(tmp_path / "d" / ("Anger", "joy")[k % 2] / f"{k}.png", size=(8, 8), seed=k)
    dataset = load(tmp_path / "d")
    counts = np.bincount(dataset.split_ids, minlength=3)
    assert 140 <= counts[0] <= 175
    assert counts[1:].min() >= 8
    splits = dict(zip(dataset.sources, dataset.split_ids, strict=True))
    (tmp_path / "d" / "joy" / "1.png").rename(tmp_path / "d" / "joy" / "renamed.png")
    (tmp_path / "d" / "Anger" / "0.png").unlink()
    again = load(tmp_path / "d")
    assert len(again) == 199
    for source, split in zip(again.sources, again.split_ids, strict=True):
        assert split == splits["joy/1.png" if source == "joy/renamed.png" else source]


def test_extra_classes_give_sorted_canonical_labels(tmp_path):
    for name in ("Happiness", "contempt", "Anger"):
        picture(tmp_path / "d" / "train" / name / "x.png")
    assert load(tmp_path / "d").labels == ("angry", "contempt", "happy")


def test_pictures_of_several_sizes_are_squashed_to_224_rgb(tmp_path):
    picture(tmp_path / "d" / "train" / "sad" / "a.jpg", size=(300, 200), mode="RGB")
    picture(tmp_path / "d" / "train" / "sad" / "b.png", size=(48, 48))
    assert load(tmp_path / "d").images.shape == (2, 224, 224, 3)
    assert load(tmp_path / "d", size_px=64).images.shape == (2, 64, 64, 3)


def test_small_pictures_of_one_size_keep_it(tmp_path):
    for k in range(2):
        picture(tmp_path / "d" / "train" / "sad" / f"{k}.png", size=(40, 30), mode="RGB", seed=k)
    assert load(tmp_path / "d").images.shape == (2, 30, 40, 3)


def test_grey_pictures_stored_as_rgb_come_out_grey(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    folder = tmp_path / "d" / "train" / "sad"
    folder.mkdir(parents=True)
    Image.fromarray(grey).convert("RGB").save(folder / "a.png")
    Image.fromarray(grey.T).save(folder / "b.png")
    dataset = load(tmp_path / "d")
    assert dataset.images.shape == (2, 48, 48, 1)
    assert (dataset.images[0, ..., 0] == grey).all()


def test_sixteen_bit_pictures_are_scaled_not_clipped(tmp_path):
    folder = tmp_path / "d" / "train" / "sad"
    folder.mkdir(parents=True)
    Image.fromarray(np.linspace(0, 65535, 2304).astype(np.uint16).reshape(48, 48)).save(folder / "a.png")
    images = load(tmp_path / "d").images
    assert images.max() == 255
    assert 120 <= images.mean() <= 135


def test_unreadable_pictures_are_skipped_counted_and_the_first_is_named(tmp_path, caplog):
    for k in range(3):
        picture(tmp_path / "d" / "train" / "sad" / f"{k}.png", seed=k)
    (tmp_path / "d" / "train" / "sad" / "3 ü.jpg").write_bytes(b"not a picture")
    whole = (tmp_path / "d" / "train" / "sad" / "2.png").read_bytes()
    (tmp_path / "d" / "train" / "sad" / "4.png").write_bytes(whole[:900])
    with caplog.at_level(logging.WARNING):
        dataset = load(tmp_path / "d")
    assert len(dataset) == 3
    assert dataset.skipped == ("train/sad/3 ü.jpg", "train/sad/4.png")
    assert "2 of 5 images cannot be read, the first is train/sad/3 ü.jpg" in caplog.text
    assert load(tmp_path / "d").skipped == dataset.skipped
    assert dataset.split("train").rows.tolist() == [0, 1, 2]


def test_a_picture_bomb_is_skipped_without_being_decoded(tmp_path, monkeypatch):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    medium = bomb.replace(header, chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 8_000, 8, 0, 0, 0, 0)))
    for name, data in (("bomb.png", bomb), ("medium.png", medium)):
        (tmp_path / "d" / "train" / "sad").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / "train" / "sad" / name).write_bytes(data)
    with pytest.raises(DataError, match=r"2 of 2 images cannot be read, the first is train/sad/bomb.png: declares"):
        load(tmp_path / "d")


def test_folders_without_pictures_say_what_they_hold(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no images; expected train/angry/x.jpg"):
        load(tmp_path / "empty")
    picture(tmp_path / "loose" / "x.png")
    with pytest.raises(DataError, match="holds 1 loose images and no class folders"):
        load(tmp_path / "loose")
    write_rows(tmp_path / "empty" / "fer2013.csv", [])
    with pytest.raises(DataError, match=r"but fer2013.csv: pass that file"):
        load(tmp_path / "empty")


def test_links_that_lead_up_or_nowhere_do_no_harm(tmp_path):
    picture(tmp_path / "d" / "train" / "sad" / "a.png")
    try:
        (tmp_path / "d" / "train" / "sad" / "up").symlink_to(tmp_path / "d", target_is_directory=True)
        (tmp_path / "d" / "train" / "sad" / "dead.png").symlink_to(tmp_path / "gone.png")
    except OSError:
        pytest.skip("this system makes no links")
    dataset = load(tmp_path / "d")
    assert dataset.sources == ["train/sad/a.png"]
    assert dataset.skipped == ("train/sad/dead.png",)


def test_a_file_without_a_split_among_files_with_one_is_named(tmp_path):
    picture(tmp_path / "d" / "sad" / "PublicTest_1.png")
    picture(tmp_path / "d" / "sad" / "x.png")
    with pytest.raises(DataError, match=r"sad/x.png is in no split while other files are"):
        load(tmp_path / "d")


def test_a_changed_picture_is_decoded_again(tmp_path):
    picture(tmp_path / "d" / "train" / "sad" / "a.png", seed=1)
    first = load(tmp_path / "d").data_hash
    picture(tmp_path / "d" / "train" / "sad" / "a.png", seed=2)
    assert load(tmp_path / "d").data_hash != first


# Parquet


def write_table(path, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return path


def test_hugging_face_parquet_takes_its_class_names_from_the_metadata(tmp_path):
    datasets = pytest.importorskip("datasets")
    names = ["sad", "Happiness"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {
        "image": [{"bytes": png(np.full((48, 48), k, np.uint8)), "path": None} for k in range(4)],
        "label": [0, 1, 1, 0],
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    dataset = load(tmp_path / "train-00000-of-00001.parquet")
    assert dataset.targets.tolist() == [4, 3, 3, 4]
    assert dataset.images.shape == (4, 48, 48, 1)


def test_parquet_with_named_labels_and_a_split_column(tmp_path):
    data = [png(np.full((48, 48), k, np.uint8)) for k in range(3)]
    path = write_table(
        tmp_path / "x.parquet", image=data, label=["joy", "fear", "sad"], split=["train", "validation", "test"]
    )
    dataset = load(path)
    assert dataset.targets.tolist() == [3, 2, 4]
    assert dataset.split_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0]}, "lacks the column image"),
        ({"image": [b"x"]}, "lacks the column label"),
        ({"image": [b"x"], "label": [9], "usage": ["Training"]}, "row 1: label 9, expected 0 to 6"),
        ({"image": [b"x"], "label": [1], "usage": ["here"]}, "row 1: unknown usage 'here'"),
        ({"image": [b"x"], "label": [1], "usage": ["Training"]}, "1 of 1 images cannot be read, the first is row 1"),
    ],
)
def test_malformed_parquet_is_refused(tmp_path, columns, message):
    path = write_table(tmp_path / "x.parquet", **columns)
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)


def test_a_file_that_is_no_parquet_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a parquet file that can be read") as caught:
        load(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)


# Votes


def write_votes(path, faces, counts):
    rows = [
        ",".join([USAGE_OF[split], f"fer{row:07d}.png", *map(str, votes)])
        for row, (split, votes) in enumerate(zip(faces.split_ids, counts, strict=True))
    ]
    return write_rows(path, rows, header=",".join(["Usage", "Image name", *VOTE_COLUMNS]))


def test_votes_are_joined_by_row_and_sum_to_one_or_nothing(faces, tmp_path):
    counts = np.zeros((30, 10), dtype=int)
    counts[:, 1] = 6  # happiness
    counts[:, 4] = 2  # anger
    counts[:, 7] = 2  # contempt: not in FER7
    counts[3] = [0] * 9 + [10]
    save(faces, tmp_path / "faces.csv")
    votes = load(tmp_path / "faces.csv", votes=write_votes(tmp_path / "fer2013new.csv", faces, counts)).votes
    assert votes.dtype == np.float32
    assert votes[0].tolist() == [0.25, 0, 0, 0.75, 0, 0, 0]
    assert votes.sum(axis=1).tolist() == [1.0] * 3 + [0.0] + [1.0] * 26
    table = {"usage": [USAGE_OF[k] for k in faces.split_ids], **dict(zip(VOTE_COLUMNS, counts.T, strict=True))}
    path = write_table(tmp_path / "ferplus.parquet", **table)
    assert (load(tmp_path / "faces.csv", votes=path).votes == votes).all()


def test_votes_that_do_not_fit_the_data_are_refused(faces, tmp_path):
    save(faces, tmp_path / "faces.parquet")
    counts = np.ones((30, 10), dtype=int)
    short = write_votes(tmp_path / "short.csv", faces.take(np.arange(29)), counts[:29])
    with pytest.raises(DataError, match=r"29 rows of votes, faces.parquet has 30 images"):
        load(tmp_path / "faces.parquet", votes=short)
    other = write_votes(tmp_path / "other.csv", faces.take(np.arange(30)[::-1]), counts)
    with pytest.raises(DataError, match="disagree on Usage"):
        load(tmp_path / "faces.parquet", votes=other)
    with pytest.raises(DataError, match="no FER"):
        load(tmp_path / "faces.parquet", votes=tmp_path / "none.csv")
    bad = write_rows(
        tmp_path / "bad.csv", ["Training,x,1,2,three,4,5,6,7,8,9,0"], "Usage,Image name," + ",".join(VOTE_COLUMNS)
    )
    with pytest.raises(DataError, match="line 2: expected ten counts"):
        load(tmp_path / "faces.parquet", votes=bad)


def test_votes_are_refused_for_folders_whose_order_is_not_the_csv_s(faces, tmp_path):
    save(faces, tmp_path / "d")
    votes = write_votes(tmp_path / "v.csv", faces, np.ones((30, 10), dtype=int))
    with pytest.raises(DataError, match="has no such order"):
        load(tmp_path / "d", votes=votes)


# Sources and the cache


def test_each_source_has_one_reader(tmp_path):
    (tmp_path / "x.csv").touch()
    assert form_of(tmp_path / "x.csv") == "csv"
    assert form_of(str(tmp_path)) == "folder"
    assert form_of("synthetic:10:3") == "synthetic"
    assert form_of("someone/faces") == "hub"


@pytest.mark.parametrize("source", ["nothing", "/nowhere/at/all", "missing/fer2013.csv", "./a/b", "x.zip"])
def test_what_is_no_data_set_gets_the_list_of_accepted_forms(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.zip").touch()
    with pytest.raises(DataError) as caught:
        load(source)
    for form in ("csv", "parquet", "train/angry/x.jpg", "synthetic[:N[:seed]]", "owner/name"):
        assert form in str(caught.value)


def test_a_missing_path_below_an_existing_folder_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no data set at data/fer2013"):
        load("data/fer2013")


def test_the_second_opening_decodes_nothing(faces, tmp_path, monkeypatch):
    save(faces, tmp_path / "x.parquet")
    load(tmp_path / "x.parquet")
    monkeypatch.setattr(decode, "decode", None)
    (tmp_path / "x.parquet").rename(tmp_path / "renamed.parquet")
    assert load(tmp_path / "renamed.parquet").name == "renamed.parquet"


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x"])
def test_a_full_disk_says_so_and_leaves_nothing_behind(faces, tmp_path, monkeypatch, cache_folder, name):
    save(faces, tmp_path / name)

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(decode.ImageArrayFile, "__enter__", lambda self: setattr(self, "_file", Full()) or self)
        with pytest.raises(DataError, match=r"No space left on device.*set FERVIT_CACHE"):
            load(tmp_path / name)
        patch.undo()
        patch.setenv("FERVIT_CACHE", str(cache_folder))
        patch.setattr(cache, "_store", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(DataError, match=r"No space left.*set FERVIT_CACHE"):
            load(tmp_path / name)
    assert list(cache_folder.iterdir()) == []
    assert load(tmp_path / name).data_hash == faces.data_hash


def test_a_cache_that_is_a_file_says_so(faces, tmp_path, monkeypatch):
    save(faces, tmp_path / "x.csv")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set FERVIT_CACHE to another folder"):
        load(tmp_path / "x.csv")


def test_a_damaged_cache_entry_is_built_again(faces, tmp_path, cache_folder):
    save(faces, tmp_path / "x.csv")
    load(tmp_path / "x.csv")
    (entry,) = cache_folder.iterdir()
    (entry / "images.npy").write_bytes((entry / "images.npy").read_bytes()[:5000])
    assert (load(tmp_path / "x.csv").images == faces.images).all()


def test_save_refuses_to_overwrite_and_deletes_only_what_it_wrote(faces, tmp_path):
    for name in ("x.csv", "x"):
        save(faces, tmp_path / name)
        with pytest.raises(DataError, match="exists; pass --overwrite"):
            save(faces, tmp_path / name)
    mine = tmp_path / "x" / "train" / "angry" / "mine.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    save(faces.take([0, 1]), tmp_path / "x", overwrite=True)
    assert len(load(tmp_path / "x")) == 2
    assert mine.exists()
    with pytest.raises(DataError, match="is a folder; names that end in"):
        (tmp_path / "y.csv").mkdir()
        save(faces, tmp_path / "y.csv", overwrite=True)


def test_a_csv_refuses_what_it_cannot_hold(faces, tmp_path):
    import dataclasses

    colour = dataclasses.replace(faces, images=np.zeros((30, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"write a .parquet file or a folder"):
        save(colour, tmp_path / "x.csv")
    assert list(tmp_path.glob("x.csv*")) == []


def test_a_dataset_says_what_it_is_in_one_line() -> None:
    dataset = load("synthetic:40")
    assert len(text := repr(dataset)) < 200 and "\n" not in text
    assert f"{len(dataset)} images of 48x48x1, 7 labels" in text and f"train {len(dataset.split('train'))}" in text
    assert repr(dataset.take([])).endswith("empty)")
