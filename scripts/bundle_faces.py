"""Train, export and measure the pretrained faces: a generator, and both networks for `--from faces`.

    npm ci --ignore-scripts --prefix scripts/render_faces
    node scripts/render_faces/render.mjs faces                    # 8,000 training images
    node scripts/render_faces/render.mjs faces-test 2000 128 8000 # 2,000 other ones
    python -m scripts.bundle_faces faces faces-test

writes runtime/models/faces.onnx and trainer/pretrained/faces.npz, each with a report faces.json beside it. A
run that was stopped is continued. The weights of both files are stored in float16, except those that are too
large for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ganport.runtime import Sampler
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.files import replacing, write_bytes
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.start_weights import find_start, load_start_weights
from scripts.bundle_models import MODELS, ganport, page, train, write_report

NAME = "faces"
LICENCE = "CC BY 4.0"
NETWORKS = Path("trainer/pretrained")
RUN = Path("runs/bundled-faces")
OPTIONS = ["--steps", "15000", "--mixed-precision", "auto", "--title", NAME]


def make(images: Path, test_images: Path) -> None:
    """Train the networks, and write all files."""
    train(RUN, images, *OPTIONS)
    model = RUN / f"{NAME}.onnx"
    ganport("export", RUN, "--precision", "float16", "--out", model, "--overwrite")
    write_bytes(model, with_licence(model))
    report = json.loads(ganport("evaluate", model, "--data", test_images, "--json", capture=True))
    write_bytes(MODELS / model.name, model.read_bytes())
    write_report(NAME, report)
    write_networks(RunFolder(RUN))
    (MODELS / "README.md").write_text(page())


def with_licence(model: Path) -> bytes:
    """Return an exported file whose contract names the licence of the images. A folder has none."""
    graph = onnx.load(model)
    contract = Sampler(model).contract
    data = {**contract.data, "name": NAME, "licence": LICENCE}
    changed = dataclasses.replace(contract, data=data)
    (entry,) = [each for each in graph.metadata_props if each.key == METADATA_KEY]
    entry.value = changed.to_json()
    return graph.SerializeToString()


def write_networks(run: RunFolder) -> None:
    """Write the weights of both networks, and what they are, for runs that start from them."""
    weights = load_start_weights(find_start(run.path))
    start = weights.start
    NETWORKS.mkdir(exist_ok=True)
    with replacing(NETWORKS / f"{NAME}.npz") as temporary:
        np.savez_compressed(temporary, **{name: stored(each) for name, each in weights.arrays.items()})
    document: dict[str, Any] = {
        "recipe": start.recipe,
        "image_shape": list(start.image_shape),
        "latent_dim": start.latent_dim,
        "labels": list(start.labels),
        "data": {**start.data, "name": NAME, "licence": LICENCE},
        "start": start.start,
        "step": weights.step,
    }
    write_bytes(NETWORKS / f"{NAME}.json", f"{json.dumps(document, indent=2)}\n".encode())


def stored(weight: np.ndarray) -> np.ndarray:
    """Return a weight in float16, unless it is no floating-point number or too large for that."""
    is_small = weight.dtype == np.float32 and np.abs(weight).max(initial=0) <= np.finfo(np.float16).max
    return weight.astype(np.float16) if is_small else weight


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pretrained faces that come with the package.")
    parser.add_argument("images", type=Path, help="folder of training images")
    parser.add_argument("test_images", type=Path, help="folder of other images, to measure with")
    arguments = parser.parse_args()
    make(arguments.images, arguments.test_images)


if __name__ == "__main__":
    main()
