"""Metrics for Prometheus.

The time in the queue and the time of computation are separate metrics, because they have separate remedies: a
long time in the queue calls for more machines, a long computation for a smaller model.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one service, in a separate registry instead of the global one of prometheus_client."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "ganport_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.images = Counter("ganport_images", "Images generated.", registry=registry)
        self.rejected = Counter(
            "ganport_rejected", "Requests rejected because the queue was full.", registry=registry
        )
        self.queue_seconds = Histogram(
            "ganport_queue_seconds", "Time of a request in the queue.", buckets=_SECONDS, registry=registry
        )
        self.compute_seconds = Histogram(
            "ganport_compute_seconds", "Time to generate one batch.", buckets=_SECONDS, registry=registry
        )
        self.batch_images = Histogram(
            "ganport_batch_images", "Images in one batch.", buckets=_BATCH_SIZES, registry=registry
        )
        self.queue_images = Gauge("ganport_queue_images", "Images waiting in the queue.", registry=registry)

    def observe_batch(self, images: int, seconds: float) -> None:
        """Record the size and the computing time of a generated batch."""
        self.images.inc(images)
        self.batch_images.observe(images)
        self.compute_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
