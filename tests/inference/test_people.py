"""One person a video, and tracks that the user names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import ConfigError, DataError, VideoError
from fervit.inference.people import one_face, read_people
from fervit.inference.results import FrameResult
from fervit.inference.rows import json_rows, table_rows
from fervit.types import Box, Face, Frame, Prediction

LABELS = ("sad", "happy")


def prediction(track: int, x: float, side: float, person: str | None = None) -> Prediction:
    return Prediction(Face(Box(x, 40, x + side, 40 + side), 0.9), LABELS, np.array([0.4, 0.6]), track, person=person)


def result(index: int, *faces: Prediction, time_s: float | None = None, cut: bool = False) -> FrameResult:
    time_s = index / 10 if time_s is None else time_s
    return FrameResult("study/p01.mp4", Frame(index, time_s, np.full((100, 200, 3), index, np.uint8), cut), [*faces])


def tracks(results: list[FrameResult]) -> list[list[int | None]]:
    return [[p.track for p in result.predictions] for result in results]


def test_each_frame_keeps_its_largest_or_most_central_face_named_after_the_video() -> None:
    results = [
        result(0, prediction(1, 0, 50), prediction(2, 90, 20)),
        result(1),
        result(2, prediction(1, 80, 45), prediction(2, 0, 46)),
    ]
    assert tracks(list(one_face(results, "largest"))) == [[1], [], [2]]
    central = list(one_face(results, "central"))
    assert tracks(central) == [[2], [], [1]]
    assert {p.person for result in central for p in result.predictions} == {"p01"}
    assert central[0].frame is results[0].frame


def seen_longest() -> list[FrameResult]:
    """Track 1 has more frames, track 2 more time."""
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 2.0, 4.0]
    faces = [[1, 3], [1, 3], [1, 2], [1, 2], [2, 3], [2], []]
    return [
        result(k, *(prediction(track, 0, 90 - 10 * track) for track in ids), time_s=time_s, cut=k == 4)
        for k, (time_s, ids) in enumerate(zip(times, faces, strict=True))
    ]


def test_longest_is_by_time_over_the_whole_video_and_who_is_there_while_that_one_is_not() -> None:
    results = seen_longest()
    chosen = list(one_face(iter(results), "longest"))
    assert tracks(chosen) == [[3], [3], [2], [2], [2], [2], []]
    assert [(r.frame.index, r.frame.time_s, r.frame.cut, r.source) for r in chosen] == [
        (r.frame.index, r.frame.time_s, r.frame.cut, r.source) for r in results
    ]
    assert all(r.frame.image.shape == (0, 0, 3) for r in chosen)
    assert chosen[2].predictions[0].to_dict() == {**results[2].predictions[1].to_dict(), "person": "p01"}


def test_longest_has_its_images_again_where_the_frames_can_be_read_twice() -> None:
    frames = [result(k).frame for k in range(9)]  # also such as had no result
    chosen = list(one_face(seen_longest(), "longest", frames=lambda: frames))
    assert [int(r.frame.image[0, 0, 0]) for r in chosen] == list(range(7))
    with pytest.raises(VideoError, match="frame 4 could not be read a second time: the file has changed"):
        list(one_face(seen_longest(), "longest", frames=lambda: frames[:4]))


def test_a_person_of_several_tracks_counts_as_one_and_keeps_the_name(tmp_path: Path) -> None:
    people = read_people(written(tmp_path, "source,track,person\np01.mp4,1,Ann\np01.mp4,3,Ann\n"))
    chosen = list(one_face(map(people.named, seen_longest()[:5]), "longest"))
    assert tracks(chosen) == [[1], [1], [1], [1], [3]]
    assert {p.person for result in chosen for p in result.predictions} == {"Ann"}


@pytest.mark.parametrize("which", ["largest", "longest"])
def test_a_video_that_breaks_off_gives_what_was_found_before(which: str) -> None:
    def broken() -> Iterator[FrameResult]:
        yield from seen_longest()[:2]
        raise VideoError("no more")

    found = []
    with pytest.raises(VideoError, match="no more"):
        for chosen in one_face(broken(), which):
            found.append(chosen)
    assert [len(chosen.predictions) for chosen in found] == [1, 1]


def test_another_word_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"unknown choice of one face 'bigest': .*central, largest, longest"):
        list(one_face([], "bigest"))


def written(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tracks_have_the_names_of_the_table_whatever_spreadsheet_wrote_it(tmp_path: Path, delimiter: str) -> None:
    rows = [
        "\ufeffTrack,Person,note,Source",
        "3.0,Ann,x,p01.mp4",
        "4,Bob,,study/p01.mp4",
        ",Zoë,,p02.mp4",
        ",,,",
        "2,Ann,,p02.mp4",
    ]
    people = read_people(written(tmp_path, "\r\n".join(rows).replace(",", delimiter)))
    assert people.name_of("study/p01.mp4", 3) == "Ann"
    assert people.name_of("study/p01.mp4", 4) == "Bob"
    assert people.name_of("other/p01.mp4", 4) is None
    assert people.name_of("p01.mp4", 5) is None
    assert people.name_of("x/p02.mp4", 9) == "Zoë"
    assert people.name_of("x/p02.mp4", 2) == "Ann"
    assert people.unseen() is None


def test_rows_have_the_person_beside_the_track(tmp_path: Path) -> None:
    people = read_people(written(tmp_path, "source,track,person\nstudy/p01.mp4,1,Ann\n"))
    named = people.named(result(0, prediction(1, 0, 50), prediction(2, 90, 20), cut=True))
    assert [row.get("person") for row in json_rows(named)] == ["Ann", None]
    rows = table_rows(named, LABELS)
    assert [(row["track"], row["person"], row["cut"]) for row in rows] == [(1, "Ann", 1), (2, None, 1)]


def test_entries_that_no_track_matched_are_told(tmp_path: Path) -> None:
    lines = [f"p01.mp4,{track},Ann" for track in (1, 7, 8, 9)] + ["p03.mp4,,Cem"]
    people = read_people(written(tmp_path, "\n".join(["source,track,person", *lines])))
    people.named(result(0, prediction(1, 0, 50)))
    message = people.unseen()
    assert message is not None
    assert "no face was seen of p01.mp4 track 7, p01.mp4 track 8, p01.mp4 track 9 and 1 more" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing: source, track, person"),
        ("source,person\na,b\n", "missing: track"),
        ("source,track,person\na.mp4,one,Ann\n", "line 2: expected a track's number from 1, .* got 'one'"),
        ("source,track,person\na.mp4,0,Ann\n", "line 2: expected a track's number from 1"),
        ("source,track,person\na.mp4,inf,Ann\n", "line 2: expected a track's number from 1"),
        ("source,track,person\na.mp4,1\n", "line 2: expected a source and a person"),
        ("source,track,person\na.mp4,1,Ann\na.mp4,1,Bob\n", "line 3: a.mp4 track 1 is Ann already"),
    ],
)
def test_what_is_wrong_with_a_table_of_people_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_people(written(tmp_path, text))


def test_a_table_of_people_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"source,track,person\n\xff\xfe,1,A")
    for path in (tmp_path / "people.csv", tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read as a table of people"):
            read_people(path)
