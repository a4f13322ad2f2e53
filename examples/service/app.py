"""A generator in your own application: one avatar for each name.

    pip install 'ganport[cpu]' fastapi uvicorn
    uvicorn app:app
    curl -O http://127.0.0.1:8000/avatars/ada.png

The hash of a name is the seed of its image, so a name always has the same avatar. One Sampler is opened at
the start, and all threads of FastAPI share it.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Response

from ganport import Sampler, encode_png, seed_of

sampler = Sampler(os.environ.get("GENERATOR", "mnist"))
app = FastAPI(title="Avatars")


@app.get("/avatars/{name}.png")
def avatar(name: str) -> Response:
    """Return the avatar of a name."""
    image = sampler.sample([seed_of(name)])[0]
    return Response(encode_png(image), media_type="image/png")
