"""Targets for the files of a training run: a damaged file in a run folder, and a damaged checkpoint."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from ganport.datasets import load_images
from ganport.trainer.comparison import compare
from ganport.trainer.findings import Finding
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import load_run_data
from ganport.trainer.runs import list_runs, newest_run
from ganport.trainer.start_weights import find_start, load_start_weights

from .mutations import mutate_json, mutate_json_lines, mutate_zip
from .target import Target


def write_run(folder: Path, images: Path) -> RunFolder:
    """Write a run with each of its records. Its one checkpoint holds arrays of the right names."""
    run = RunFolder(folder)
    run.checkpoint_file(25).parent.mkdir(parents=True)
    recipe = dataclasses.replace(load_recipe("mnist-minimal"), steps=25, batch_size=8)
    data = load_images(images, image_size=28)
    record = data.facts() | {
        "classes": dict(data.classes),
        "source": data.source,
        "preparation": dataclasses.asdict(data.preparation),
        "fingerprint": data.fingerprint(),
    }
    run.recipe_file.write_text(json.dumps(recipe.to_dict()))
    run.data_file.write_text(json.dumps(record))
    start = {
        "source": "/models/cats",
        "step": 4_000,
        "fingerprint": "0",
        "recipe": "digits",
        "data": {},
        "start": None,
    }
    run.start_file.write_text(json.dumps(start))
    finding = Finding("collapse", 20, "the images are too much alike", "change a setting").to_line()
    lines = [
        {"step": 10, "images_seen": 80, "d_loss": 1.0, "g_loss": 0.7, "d_accuracy": 0.5, "seconds": 5.0},
        {"step": 20, "distance": 0.1, "frechet": 5.0, "variety": 0.4},
        finding,
        {"step": 20, "steps": 25},
        {"step": 25, "images_seen": 200, "d_loss": 0.9, "seconds": 9.0},
    ]
    run.history_file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    arrays = {
        f"{part}/000/dense/kernel": np.zeros((3, 4), np.float32) for part in ("average", "discriminator")
    }
    np.savez(run.checkpoint_file(25), **arrays)
    return run


class RunFolderTarget(Target):
    """A run folder with one damaged file: it is listed, compared, and taken as a start.

    The first line of an input is the name of the file, and the rest is its content.
    """

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        name, _, text = content.partition(b"\n")
        kinds = {b"history.jsonl": mutate_json_lines, b"checkpoints/step-00000025.npz": mutate_zip}
        return name + b"\n" + kinds.get(name, mutate_json)(rng, text, other.partition(b"\n")[2])

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        images = folder / "images"
        images.mkdir()
        for level in (0, 200):
            Image.fromarray(np.full((28, 28), level, np.uint8)).save(images / f"{level}.png")
        self._runs = folder / "runs"
        write_run(self._runs / "damaged", images)
        shutil.copytree(self._runs / "damaged", self._runs / "whole")

    def examples(self) -> Iterable[bytes]:
        for file in sorted((self._runs / "whole").rglob("*.*")):
            name = file.relative_to(self._runs / "whole").as_posix()
            yield name.encode() + b"\n" + file.read_bytes()

    def run(self, content: bytes) -> str:
        name, _, text = content.partition(b"\n")
        damaged, whole = self._runs / "damaged", self._runs / "whole"
        file = name.decode(errors="replace")
        if not (whole / file).is_file():
            return ""
        (damaged / file).write_bytes(text)
        try:
            return self._read(damaged, whole)
        finally:
            shutil.copyfile(whole / file, damaged / file)

    def _read(self, damaged: Path, whole: Path) -> str:
        """Read the damaged run in every way, and return the errors."""
        run, errors = RunFolder(damaged), []
        readers = (
            lambda: [json.dumps(dataclasses.asdict(each), default=str) for each in list_runs(self._runs)],
            lambda: newest_run(self._runs, "mnist-minimal", prefer_trained=True),
            lambda: (run.best_step(), run.step_to_export(), run.measured_at(20)),
            lambda: json.dumps(compare([damaged, whole]).to_dict()),
            lambda: compare([whole, damaged]).write_csv(self.folder / "table.csv"),
            lambda: load_run_data(run),
            lambda: load_start_weights(find_start(damaged)),
        )
        for read in readers:
            try:
                read()
            except self.expected as error:
                errors.append(str(error))
        return "; ".join(errors)


class CheckpointTarget(Target):
    """A checkpoint, which is read into the networks of its recipe. TensorFlow is needed."""

    mutate = staticmethod(mutate_zip)

    def __init__(self, folder: Path) -> None:
        from ganport.trainer.devices import load_tensorflow
        from ganport.trainer.networks import build_networks

        load_tensorflow()
        super().__init__(folder)
        recipe = load_recipe("mnist-minimal")
        recipe = dataclasses.replace(recipe, image_shape=(4, 4, 1), latent_dim=3)
        self._networks = build_networks(recipe)
        self._run = RunFolder(folder / "run")
        self._run.checkpoint_file(1).parent.mkdir(parents=True)

    def examples(self) -> Iterable[bytes]:
        file = io.BytesIO()
        np.savez(file, **self._networks.read())
        yield file.getvalue()

    def run(self, content: bytes) -> None:
        from ganport.trainer.checkpoints import load_checkpoint

        self._run.checkpoint_file(1).write_bytes(content)
        load_checkpoint(self._run, 1, self._networks)
