"""The HTTP service of one model, which returns images by seed. This package imports the runtime.

service.py          make_service: the whole service as one ASGI application; Settings
api.py              /v1: an image, a grid, a file of images, the model
fast_path.py        the image of one seed, without the web framework
kserve.py           /v2: the KServe v2 inference protocol, with JSON and binary tensors
batching.py         Batcher: a bounded queue of requests, whose images are generated in batches
limits.py           the check of the API key, a limit on the size of bodies, timeouts for slow clients
error_responses.py  errors as HTTP responses
metrics.py          metrics for Prometheus
process.py          serve: the process with uvicorn, its socket and its signals
"""

from .batching import Batcher
from .process import listen, serve, url_of
from .service import API_KEY_VARIABLE, Settings, make_service, service_name

__all__ = [
    "API_KEY_VARIABLE",
    "Batcher",
    "Settings",
    "listen",
    "make_service",
    "serve",
    "service_name",
    "url_of",
]
