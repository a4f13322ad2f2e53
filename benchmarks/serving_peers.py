"""What a user would write instead of `ganport serve`: one handler around the same Sampler.

python -m benchmarks.serving_peers plain|litserve MODEL PORT
"""

from __future__ import annotations

import sys

from ganport.runtime import Sampler, encode_png


def plain(model: str, port: int) -> None:
    """Serve by a FastAPI handler, as its documentation writes one; FastAPI runs it in a pool of threads."""
    import uvicorn
    from fastapi import FastAPI, Response

    app, sampler = FastAPI(), Sampler(model)

    @app.get("/v1/images/{seed}.png")
    def image(seed: int) -> Response:
        return Response(encode_png(sampler.sample([seed])[0]), media_type="image/png")

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def litserve(model: str, port: int) -> None:
    """Serve by LitServe with its own batching; it takes POST with JSON."""
    import litserve as ls

    from benchmarks.litserve_api import Api

    api = Api(max_batch_size=64, batch_timeout=0.002)
    api.model = model
    ls.LitServer(api, accelerator="cpu").run(port=port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    {"plain": plain, "litserve": litserve}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
