"""Episodes for ELAN and BORIS."""

import datetime
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import fervit
from fervit.analysis.events import boris, elan, write_events
from fervit.errors import ConfigError
from tests.helpers.studies import LABELS, video

# The order that the schema (EAFv3.0.xsd) asks for.
ORDER = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONTROLLED_VOCABULARY"]


def document(**other: object) -> ElementTree.Element:
    rows = video("sssssshhhhhh", **other) + video("-nnnnn", track=2)  # type: ignore[arg-type]
    found = fervit.study(rows)
    return ElementTree.fromstring(elan(found, found.videos[0]))


def test_an_eaf_has_a_tier_for_each_person_and_an_annotation_for_each_episode() -> None:
    root = document(person="Ann & Bo")
    slots = {slot.get("TIME_SLOT_ID"): int(str(slot.get("TIME_VALUE"))) for slot in root.iter("TIME_SLOT")}
    found = {
        tier.get("TIER_ID"): [
            (slots[a.get("TIME_SLOT_REF1")], slots[a.get("TIME_SLOT_REF2")], a.findtext("ANNOTATION_VALUE"))
            for a in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }
    assert found == {"Ann & Bo": [(0, 600, "sad"), (600, 1200, "happy")], "track 2": [(100, 600, "neutral")]}


def test_an_eaf_is_built_as_its_schema_asks() -> None:
    root = document()
    assert (root.tag, root.get("FORMAT"), root.get("VERSION")) == ("ANNOTATION_DOCUMENT", "3.0", "3.0")
    assert {"AUTHOR", "DATE"} <= set(root.keys())
    assert datetime.datetime.fromisoformat(str(root.get("DATE"))).tzinfo is not None
    tags = [child.tag for child in root]
    assert sorted(tags, key=ORDER.index) == tags
    ids = [element.get("TIME_SLOT_ID") or element.get("ANNOTATION_ID") for element in root.iter()]
    named = [name for name in ids if name]
    assert len(named) == len(set(named))
    times = [int(str(slot.get("TIME_VALUE"))) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times)
    (kind,) = root.iter("LINGUISTIC_TYPE")
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} == {kind.get("LINGUISTIC_TYPE_ID")}
    (vocabulary,) = root.iter("CONTROLLED_VOCABULARY")
    assert kind.get("CONTROLLED_VOCABULARY_REF") == vocabulary.get("CV_ID")
    assert [value.text for value in vocabulary.iter("CVE_VALUE")] == list(LABELS)
    assert {e.get("LANG_REF") for e in vocabulary.iter() if e.get("LANG_REF")} == {"und"}


def test_an_eaf_links_the_video_but_no_camera() -> None:
    found = fervit.study(video("s", source="study/p 1.mp4"))
    (media,) = ElementTree.fromstring(elan(found, found.videos[0])).iter("MEDIA_DESCRIPTOR")
    assert (media.get("MEDIA_URL"), media.get("RELATIVE_MEDIA_URL")) == ("./study/p 1.mp4", "./p 1.mp4")
    assert media.get("MIME_TYPE") == "video/mp4"
    camera = fervit.study(video("s", source="rtsp://***@10.0.0.2/live"))
    assert not list(ElementTree.fromstring(elan(camera, camera.videos[0])).iter("MEDIA_DESCRIPTOR"))


def test_names_with_characters_that_xml_and_tables_forbid_are_written_without_them() -> None:
    rows = video("ssssss", source="a\tb\x00.mp4", person="Ann\x01\nBo")
    found = fervit.study(rows)
    (tier,) = ElementTree.fromstring(elan(found, found.videos[0])).iter("TIER")
    assert tier.get("TIER_ID") == "Ann\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}Bo"
    assert {len(line.split("\t")) for line in boris(found).splitlines()} == {6}


def test_boris_gets_a_start_and_an_end_of_each_episode_ends_first() -> None:
    lines = [line.split("\t") for line in boris(fervit.study(video("sssssshhhhhh"))).splitlines()]
    assert lines[0] == ["time", "subject", "code", "modifier", "comment", "source"]
    assert [(time, code, kind) for time, _, code, _, kind, _ in lines[1:]] == [
        ("0.000", "sad", "start"),
        ("0.600", "sad", "stop"),
        ("0.600", "happy", "start"),
        ("1.200", "happy", "stop"),
    ]


def test_files_are_written_by_their_ending_and_an_eaf_takes_one_video(tmp_path: Path) -> None:
    one, two = fervit.study(video("ssssss")), fervit.study(video("s") + video("h", source="b.mp4"))
    write_events(one, tmp_path / "e.tsv")
    assert (tmp_path / "e.tsv").read_text() == boris(one)
    write_events(one, tmp_path / "e.eaf")
    dated = re.compile(r'DATE="[^"]+"')
    assert dated.sub("", (tmp_path / "e.eaf").read_text()) == dated.sub("", elan(one, one.videos[0]))
    with pytest.raises(ConfigError, match=r"an \.eaf takes one video, got 2: name a \.tsv"):
        write_events(two, tmp_path / "two.eaf")
    with pytest.raises(ConfigError, match=r"expected events to end in \.tsv or \.eaf, got"):
        write_events(one, tmp_path / "e.csv")
