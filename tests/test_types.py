"""The values that flow between modules."""

from dataclasses import replace

from fervit.licences import KNOWN, Licence
from fervit.types import ModelSpec


def test_old_metadata_without_further_inputs_stays_readable_and_is_still_written(tiny_spec: ModelSpec) -> None:
    assert "extra_inputs" not in tiny_spec.to_json()  # single models' files are what they were
    assert ModelSpec.from_json(tiny_spec.to_json()) == tiny_spec
    assert list(tiny_spec.inputs) == ["pixel_values"]
    two = replace(tiny_spec, extra_inputs=(replace(tiny_spec.preprocess, image_size=64),))
    assert ModelSpec.from_json(two.to_json()) == two
    assert {name: way.image_size for name, way in two.inputs.items()} == {"pixel_values": 32, "pixel_values_1": 64}


def test_what_a_model_was_trained_on_is_written_with_it_and_old_metadata_has_nothing(tiny_spec: ModelSpec) -> None:
    assert "trained_on" not in tiny_spec.to_json() and not tiny_spec.non_commercial
    learnt = replace(tiny_spec, trained_on=(KNOWN["fer2013"], Licence("faces"), KNOWN["rafdb"]))
    assert ModelSpec.from_json(learnt.to_json()) == learnt
    assert learnt.non_commercial
