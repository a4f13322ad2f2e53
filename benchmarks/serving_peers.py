"""Alternatives to ganport's service for the same model: a plain FastAPI handler, and LitServe.

python -m benchmarks.serving_peers plain|litserve MODEL PORT
"""

from __future__ import annotations

import sys

from ganport.runtime import Sampler, encode_png


def serve_plain(model: str, port: int) -> None:
    """Serve with a plain handler, as FastAPI's documentation shows. FastAPI runs it in a pool of threads."""
    import uvicorn
    from fastapi import FastAPI, Response

    app, sampler = FastAPI(), Sampler(model)

    @app.get("/v1/images/{seed}.png")
    def image(seed: int) -> Response:
        return Response(encode_png(sampler.sample([seed])[0]), media_type="image/png")

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def serve_litserve(model: str, port: int) -> None:
    """Serve with LitServe and LitServe's batching. The service takes POST requests with JSON."""
    import litserve as ls

    from benchmarks.litserve_api import Api

    api = Api(max_batch_size=64, batch_timeout=0.002)
    api.model = model
    ls.LitServer(api, accelerator="cpu").run(port=port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    {"plain": serve_plain, "litserve": serve_litserve}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
