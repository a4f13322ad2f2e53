"""The HTTP service: images by seed, over HTTP, from one model. Imports the runtime, and the page to show it at `/`.

service.py      make_service: all that a process serves, as one ASGI application
api.py          /v1: an image, a grid, a sample, the model
express.py      an image by its seed, without the web framework
kserve.py       /v2: the KServe v2 inference protocol, JSON and binary tensors
batching.py     Batcher: requests gathered into batches; a bounded queue
limits.py       who may ask, how much, how slowly
refusals.py     errors, and what a client is told of them
metrics.py      what Prometheus reads
run.py          the process: uvicorn, signals, the page
"""

from .batching import Batcher
from .run import address_of, listen, serve
from .service import Settings, make_service, service_name

__all__ = ["Batcher", "Settings", "address_of", "listen", "make_service", "serve", "service_name"]
