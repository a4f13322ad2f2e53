"""A LitServe API that generates images with a Sampler.

The class is in a separate module, because LitServe imports it in its worker processes.
"""

from __future__ import annotations

import litserve
from fastapi import Response

from ganport.runtime import Sampler, encode_png


class Api(litserve.LitAPI):
    """Handler of requests for the image of one seed.

    Attributes:
        model: Path of the model file.
    """

    model: str

    def setup(self, device):
        self.sampler = Sampler(self.model)

    def decode_request(self, request):
        return request["seed"]

    def predict(self, seeds):
        return list(self.sampler.sample(seeds))

    def encode_response(self, output):
        return Response(encode_png(output), media_type="image/png")
