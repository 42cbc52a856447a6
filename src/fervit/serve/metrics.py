"""What `/metrics` shows; counts and times only, nothing of any image."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # set by the launcher when there are several server processes


class Metrics:
    """The service's own registry, so that several apps can live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("fervit_requests", "Requests with a response.", ["path", "status"], registry=registry)
        self.request_s = Histogram(
            "fervit_request_seconds", "From request to response.", ["path"], buckets=SECONDS, registry=registry
        )
        self.stage_s = Histogram(
            "fervit_stage_seconds",
            "Decode, detect and classify of one image.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_faces = Histogram(
            "fervit_batch_faces",
            "Faces classified at once.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.faces = Counter("fervit_faces", "Faces returned.", registry=registry)
        self.rejected = Counter("fervit_rejected", "Refused requests.", ["kind"], registry=registry)
        self.queue = Gauge(
            "fervit_queue_pictures",
            "Images in work or waiting.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.streams = Gauge("fervit_streams", "Open streams.", registry=registry, multiprocess_mode="livesum")

    def refused(self, kind: str) -> None:
        """Count one refusal."""
        self.rejected.labels(kind).inc()

    def render(self) -> tuple[bytes, str]:
        """Return Prometheus' text format and its content type, over all server processes."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
