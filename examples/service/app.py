"""An application of yours with a generator in it: avatars by name.

    pip install 'ganport[cpu]' fastapi uvicorn
    uvicorn app:app
    curl -O http://127.0.0.1:8000/avatars/ada.png

A name becomes a seed, so that each has an image of its own, always the same one. The Sampler is opened once and shared by
all of FastAPI's threads.
"""

from __future__ import annotations

import hashlib
import os

from fastapi import FastAPI, Response

from ganport.runtime import Sampler, encode_png

sampler = Sampler(os.environ.get("GENERATOR", "mnist"))
app = FastAPI(title="Avatars")


@app.get("/avatars/{name}.png")
def avatar(name: str) -> Response:
    """Draw the avatar of a name."""
    return Response(encode_png(sampler.sample([seed_of(name)])[0]), media_type="image/png")


def seed_of(name: str) -> int:
    """Return 63 bits of the name's hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
