"""The HTTP service of one model, which returns images by seed. This package imports the runtime.

service.py          make_service: the whole service as one ASGI application; Settings
images.py           /v1/images: the image of a seed or of a name, without the web framework
responder.py        Responder: an image or a grid as a file, with the headers for caches
api.py              the rest of /v1: a grid, a file of images, the model
kserve.py           /v2: the KServe v2 inference protocol, with JSON and binary tensors
docs_page.py        /docs: the OpenAPI document for people
options.py          the options of a URL
json_bodies.py      JSON documents in bodies
batching.py         Batcher: a bounded queue of requests, whose images are generated in batches
limits.py           the check of the API key, a limit on the size of bodies, clients that have gone
cors.py             which pages of other origins may read the responses
access_log.py       one line for each response
error_responses.py  errors as HTTP responses
metrics.py          metrics for Prometheus
connections.py      limits on the number of connections, on slow clients, and on long headers
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
