"""LitServe's interface around a Sampler, in a module of its own: LitServe sends it to another process."""

from __future__ import annotations

import litserve
from fastapi import Response

from ganport.runtime import Sampler, encode_png


class Api(litserve.LitAPI):
    """The handler.

    Attributes:
        model: path of the file.
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
