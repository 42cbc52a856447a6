"""Schemathesis sends what the OpenAPI document allows, and what it does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.served import Served

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.checks import CheckFunction
    from schemathesis.specs.openapi.schemas import OpenApiSchema

schemathesis = pytest.importorskip("schemathesis", reason="the OpenAPI tests need schemathesis (PyPI)")
pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.core.result import Ok  # noqa: E402
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

OPERATIONS = [
    ("POST", "/v1/predict"),
    ("POST", "/v1/predict/batch"),
    ("GET", "/v1/model"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def server(tiny_onnx: Path) -> Iterator[Served]:
    with Served("--model", tiny_onnx, "--rate", 0, "--image-workers", 0, "--read-timeout", 2) as served:
        yield served


@pytest.fixture(scope="module")
def document(server: Served) -> "OpenApiSchema":
    document: OpenApiSchema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    return document


@pytest.mark.slow
def test_the_document_is_valid_and_names_these_operations(document: "OpenApiSchema") -> None:
    document.validate()
    found = set()
    for result in document.get_all_operations():
        assert isinstance(result, Ok)
        found.add((result.ok().method.upper(), result.ok().path))
    assert found == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
    + [(*operation, GenerationMode.NEGATIVE) for operation in OPERATIONS if operation[0] == "POST"],
)
def test_every_response_is_as_the_document_says(
    method: str, path: str, mode: GenerationMode, document: "OpenApiSchema"
) -> None:
    operation = document[path][method]
    # Random bytes are a well-formed body, and still no image; in a batch they are an error row of a 200.
    excluded: list[CheckFunction] = [
        positive_data_acceptance,
        *([negative_data_rejection] if path.endswith("batch") else []),
    ]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: "Case[Any]") -> None:
        case.call_and_validate(excluded_checks=excluded, timeout=10)

    check()


def test_the_service_lives_on(server: Served) -> None:
    assert server.request("GET", "/readyz").status == 200
