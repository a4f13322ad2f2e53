"""What Prometheus reads.

Time in the queue and time of drawing are kept apart: the one calls for more machines, the other for a smaller model.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("ganport_requests", "Requests answered.", ["route", "status"], registry=own)
        self.images = Counter("ganport_images", "Images drawn.", registry=own)
        self.rejected = Counter("ganport_rejected", "Requests turned away, since the queue was full.", registry=own)
        self.queue_seconds = Histogram("ganport_queue_seconds", "From arrival to drawing.", buckets=_SECONDS, registry=own)
        self.compute_seconds = Histogram("ganport_compute_seconds", "Drawing one batch.", buckets=_SECONDS, registry=own)
        self.batch_images = Histogram("ganport_batch_images", "Images drawn together.", buckets=_SIZES, registry=own)
        self.queue_images = Gauge("ganport_queue_images", "Images that wait.", registry=own)

    def drew(self, images: int, seconds: float) -> None:
        """Note a batch."""
        self.images.inc(images)
        self.batch_images.observe(images)
        self.compute_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)
