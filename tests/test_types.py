"""The values that flow between modules."""

from dataclasses import replace

from fervit.types import ModelSpec


def test_old_metadata_without_further_inputs_stays_readable_and_is_still_written(tiny_spec: ModelSpec) -> None:
    assert "extra_inputs" not in tiny_spec.to_json()  # single models' files are what they were
    assert ModelSpec.from_json(tiny_spec.to_json()) == tiny_spec
    assert list(tiny_spec.inputs) == ["pixel_values"]
    two = replace(tiny_spec, extra_inputs=(replace(tiny_spec.preprocess, image_size=64),))
    assert ModelSpec.from_json(two.to_json()) == two
    assert {name: way.image_size for name, way in two.inputs.items()} == {"pixel_values": 32, "pixel_values_1": 64}
