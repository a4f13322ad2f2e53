"""The candidates of `benchmarks.images`: our recipes by the command line, and two peers in PyTorch.

Each candidate is trained in a process of its own, with the same minutes. The minutes are those of the
training: the time to start Python, to load packages and to read the images is not counted, for no candidate.
The minutes of ganport include compiling its step, checkpoints and previews, as with `ganport train
--minutes`. Those of the peers are steps alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.images_data import BenchmarkError, Split
from ganport.runtime import Sampler
from ganport.runtime.arrays import Pixels
from scripts.bundle_models import ganport

Clock = Literal["wall", "cpu"]

_TORCH = {"torch": "torch"}
_UNLABELLED = "benchmarks/images_rps_recipe.py"


@dataclasses.dataclass(frozen=True)
class Budget:
    """The minutes of a training.

    Attributes:
        minutes: The minutes.
        clock: "wall" for time, or "cpu" for CPU time divided by the number of cores.
    """

    minutes: float
    clock: Clock

    def __str__(self) -> str:
        unit = "CPU minutes" if self.clock == "cpu" else "minutes"
        return f"{self.minutes:g} {unit}"


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of a candidate.

    Attributes:
        split: The images.
        seed: Seed of the training.
        budget: The minutes of the training.
        folder: Folder for the files of this training.
        count: Number of images to generate.
        start: Run folder whose weights the training begins with, for the candidate "from".
    """

    split: Split
    seed: int
    budget: Budget
    folder: Path
    count: int
    start: Path | None = None


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        images: Generated images, uint8 (n, height, width, 3).
        facts: "steps", "images_seen", "seconds" of training, and "cpu_seconds" of the whole process.
    """

    images: Pixels
    facts: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A way to train a generator.

    Attributes:
        name: Name on the command line.
        title: What the tables say.
        train: Function that trains and generates images.
        packages: Packages that are needed: names of modules, and names to install.
    """

    name: str
    title: str
    train: Callable[[Job], Trained]
    packages: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def missing(self) -> list[str]:
        """Return the names of the packages to install."""
        return [each for name, each in self.packages.items() if importlib.util.find_spec(name) is None]


def train_own_images(job: Job) -> Trained:
    """Train `ganport train FOLDER`."""
    extra = [] if job.start is None else ["--from", str(job.start)]
    return _train_ganport(job, {"recipe": str(job.split.folder)}, extra)


def train_rps_dcgan(job: Job) -> Trained:
    """Train the recipe `rps-dcgan`."""
    return _train_ganport(job, {"recipe": "rps-dcgan", "data": str(job.split.folder)})


def train_rps_conditional(job: Job) -> Trained:
    """Train the networks of `rps-conditional`, with labels if the images have some."""
    recipe = "rps-conditional" if job.split.is_labelled else _UNLABELLED
    return _train_ganport(job, {"recipe": recipe, "data": str(job.split.folder)})


def _train_ganport(job: Job, arguments: dict[str, Any], extra: list[str] | None = None) -> Trained:
    """Train and export with the command line, and generate images with the exported file."""
    arguments |= {"image_size": job.split.image_size, "seed": job.seed, "mixed_precision": "auto"}
    run, recipe = job.folder / "run", arguments["recipe"]
    shutil.rmtree(run, ignore_errors=True)  # an unfinished training had other minutes
    length = ["--minutes", f"{job.budget.minutes:g}"]
    if job.budget.clock == "cpu":
        length = _run_program("images_pace", json.dumps(arguments), str(job.budget.minutes))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items() if name != "recipe"]
    before = _cpu_seconds()
    ganport("train", recipe, *options, *length, *(extra or []), "--out", run)
    cpu_seconds = _cpu_seconds() - before
    ganport("export", run)
    with Sampler(run / "generator.onnx") as sampler:
        images = sampler.sample(range(job.count))
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    settings = json.loads((run / "recipe.json").read_text())
    facts = {
        "steps": settings["steps"],
        "images_seen": settings["steps"] * settings["batch_size"],
        "seconds": max(line.get("seconds", 0) for line in lines),
        "cpu_seconds": cpu_seconds,
    }
    return Trained(images, facts)


def _train_torch(peer: str) -> Callable[[Job], Trained]:
    def train(job: Job) -> Trained:
        out = job.folder / "generated.npz"
        options = {
            "data": job.split.array_file,
            "out": out,
            "seed": job.seed,
            "seconds": 60 * job.budget.minutes,
            "clock": job.budget.clock,
            "count": job.count,
        }
        texts = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        facts = _run_program("images_torch", peer, *texts)
        with np.load(out) as arrays:
            images = arrays["images"]
        out.unlink()
        return Trained(images, facts)

    return train


def _run_program(module: str, *arguments: str) -> Any:
    """Run a module of this package in a new process, and return the JSON document that it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    root = Path(__file__).parent.parent
    process = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise BenchmarkError(f"{module} ended with exit code {process.returncode}; its output is above")
    return json.loads(process.stdout.splitlines()[-1])


def _cpu_seconds() -> float:
    """Return the CPU time of all processes that this process has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


OURS = Candidate("ours", "`ganport train FOLDER`", train_own_images)
RPS_DCGAN = Candidate("rps-dcgan", "`rps-dcgan`", train_rps_dcgan)
RPS_CONDITIONAL = Candidate("rps-conditional", "networks of `rps-conditional`", train_rps_conditional)
PYTORCH_DCGAN = Candidate("pytorch-dcgan", "PyTorch's DCGAN tutorial", _train_torch("pytorch-dcgan"), _TORCH)
LIGHTWEIGHT, LIGHTWEIGHT_TRAINER = (
    Candidate(
        name,
        title,
        _train_torch(name),
        {**_TORCH, "lightweight_gan": "lightweight-gan==1.2.1", "einops": "einops", "tqdm": "tqdm"},
    )
    for name, title in (
        ("lightweight-gan", "lightweight-gan, command line"),
        ("lightweight-gan-trainer", "lightweight-gan, class Trainer"),
    )
)
FROM = Candidate("from", "`ganport train FOLDER --from RUN`", train_own_images)
