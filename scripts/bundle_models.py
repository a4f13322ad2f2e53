"""Train, export and measure the pretrained generators, and write them to runtime/models/.

    python -m scripts.bundle_models mnist --data-dir DATA

DATA is the same folder as for scripts/train_classifiers.py. An existing run is continued if it has the same
settings.

    python -m scripts.bundle_models mnist --store

rewrites an existing file that computes in float16 into one that stores the same weights in float16 and
computes in float32. It needs no training, and no DATA.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ganport.evaluation import load_reference
from ganport.evaluation.features import SET_NETWORKS
from ganport.export.precision import store_in_float16, to_float32
from ganport.export.rewrites import simplify
from ganport.runtime import Sampler
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.files import write_bytes
from ganport.runtime.pretrained import measured_quality
from ganport.runtime.seeds import parse_seeds

MODELS = Path("runtime/models")
# Options of `ganport train` and options of `ganport export`, by name of the generator. The precision is the
# smallest that keeps the quality (docs/quality.md).
MADE_BY = {
    "mnist": (
        ["mnist-conditional", "--mixed-precision", "on", "--evaluate-interval", "3000"],
        ["--best", "--precision", "float16"],
    ),
    "fashion-mnist": (
        ["fashion-conditional", "--mixed-precision", "on", "--evaluate-interval", "5000"],
        ["--best", "--precision", "float16"],
    ),
    "rock-paper-scissors": (
        ["rps-conditional", "--mixed-precision", "on", "--evaluate-interval", "1000"],
        # Without --best, the last checkpoint is exported. Its Fréchet distance equals that of the best
        # checkpoint, and all its other figures are better.
        ["--precision", "float16"],
    ),
}


def make(name: str, data_dir: Path) -> None:
    """Train, export and measure a generator, and write the model file and its report."""
    recipe, export = MADE_BY[name]
    run = Path("runs") / f"bundled-{name}"
    train(run, *recipe, "--data-dir", data_dir)
    # The new model is measured before it replaces the existing one. If the measurement fails, the existing
    # model and its report stay as they are.
    model = run / f"{name}.onnx"
    ganport("export", run, *export, "--out", model, "--overwrite")
    report = evaluate(model, data_dir)
    write_bytes(MODELS / model.name, model.read_bytes())
    write_report(name, report)


def measure(name: str, data_dir: Path) -> None:
    """Measure an existing generator, and write its report."""
    write_report(name, evaluate(MODELS / f"{name}.onnx", data_dir))


def store(name: str) -> None:
    """Rewrite an existing generator into float16 storage. The figures in its report stay as they are.

    They can stay only if no image that they were measured with has changed, so these images are compared.
    """
    path, report = MODELS / f"{name}.onnx", measured_quality(name)
    rewritten = store_in_float16(simplify(to_float32(onnx.load(path))))
    with Sampler(path) as before:
        contract = dataclasses.replace(before.contract, precision="float16")
        rewritten.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
        content = rewritten.SerializeToString()
        seeds = parse_seeds(report["seeds"])
        labels = load_reference(name).matching_labels(len(seeds))
        with Sampler(content) as after:
            for part in np.array_split(np.arange(len(seeds)), -(-len(seeds) // 64)):
                images = [each.sample(seeds[part], labels=labels[part]) for each in (before, after)]
                if not np.array_equal(*images):
                    raise SystemExit(f"Images of {name} have changed; measure it again, with --keep.")
    write_bytes(path, content)
    write_report(name, report | {"sha256": hashlib.sha256(content).hexdigest()})


def train(run: Path, *options: object) -> None:
    """Train a run to its end. An existing run is continued if it has the same settings."""
    if not (run / "recipe.json").exists():
        ganport("train", *options, "--out", run)
        return
    expected = json.loads(ganport("train", *options, "--dry-run", capture=True))
    if json.loads((run / "recipe.json").read_text()) != expected:
        raise SystemExit(f"The settings of {run} are not those of {options[0]}; move that folder away.")
    ganport("train", "--resume", "--out", run)


def write_report(name: str, report: dict[str, Any]) -> None:
    """Write the report of a pretrained generator. The report holds the hash of the measured model file."""
    write_bytes(MODELS / f"{name}.json", f"{json.dumps(report, indent=2)}\n".encode())


def evaluate(model: Path, data_dir: Path) -> dict[str, Any]:
    """Return the report of `ganport evaluate`.

    If the real images are a test split, the report also counts generated images that are copies of training
    images. The reference of rock-paper-scissors is no test split.
    """
    is_held_out = Sampler(model).contract.data["name"] in SET_NETWORKS
    options = ["--data-dir", data_dir] if is_held_out else []
    report: dict[str, Any] = json.loads(ganport("evaluate", model, "--json", *options, capture=True))
    return report


def ganport(*arguments: object, capture: bool = False) -> str:
    """Run a ganport command. Returns the output of the command if `capture` is set.

    Otherwise the output of the command goes to stderr, so that stdout of a benchmark holds only its table.
    """
    command = [sys.executable, "cli.py", *map(str, arguments)]
    stdout = subprocess.PIPE if capture else sys.stderr
    return subprocess.run(command, check=True, text=True, stdout=stdout).stdout


def page() -> str:
    """Return the README of the pretrained generators, with a table from their contracts and reports."""
    rows = []
    # PRETRAINED lacks a generator that this program has just written.
    for file in sorted(MODELS.glob("*.onnx")):
        contract, report = Sampler(file).contract, json.loads(file.with_suffix(".json").read_text())
        recipe, baseline = contract.recipe, report["baseline"]
        cells = [
            f"`{file.stem}`",
            "x".join(map(str, contract.image.shape)),
            f"{recipe['name']}, {contract.training['steps']:,} steps of {recipe['batch_size']}",
            f"{contract.precision}, {file.stat().st_size / 1e6:.2f} MB",
            f"{report['frechet']:.3f} ({baseline['frechet']:.3f})",
            f"{_pair(report)} ({_pair(baseline)})",
            f"{report['label_accuracy']:.1%} ({baseline['label_accuracy']:.1%})"
            if report["label_accuracy"] is not None
            else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return PAGE.format(rows="\n".join(rows))


def _pair(figures: dict[str, float]) -> str:
    return f"{figures['precision']:.2f}, {figures['recall']:.2f}"


PAGE = """# Pretrained generators

These generators come with the package. `ganport sample NAME` generates images with them, `ganport models`
lists them, and `ganport inspect NAME` shows what a file says about itself. They were made by
`python -m scripts.bundle_models NAME --data-dir DATA`, and `faces` by `python -m scripts.bundle_faces`. The
figures are those of `ganport evaluate NAME`, for `faces` with 2,000 other faces as `--data`. The baseline
(real vs. real) stands in brackets, and NAME.json holds the whole report.

| name | images | recipe | file | Fréchet distance | precision, recall | label accuracy |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

They are meant as an example, as a placeholder, and for tests. They generate only what these data sets show,
in the handwriting, the clothes, the hands and the style of these sets. None is good enough to enlarge a data
set that a classifier is trained on.

They were trained on the work of others. Copies of these files must carry these names and licences:

- `mnist`: [MNIST](https://yann.lecun.org/exdb/mnist/), handwritten digits, by Yann LeCun, Corinna Cortes and
  Christopher J. C. Burges; [CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/).
- `fashion-mnist`: [Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist), images of clothes, by
  Han Xiao, Kashif Rasul and Roland Vollgraf, Copyright © 2017 Zalando SE;
  [MIT](https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE).
- `rock-paper-scissors`: [Rock, Paper, Scissors](https://laurencemoroney.com/datasets.html), rendered hands,
  by Laurence Moroney; [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/).
- `faces`: cartoon faces of the style
  ["Adventurer"](https://www.figma.com/community/file/1184595184137881796) by Lisa Wischofsky, drawn by
  [DiceBear](https://www.dicebear.com/styles/adventurer/);
  [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Its networks for `ganport train --from faces`
  (trainer/pretrained) have the same licence.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a pretrained generator that comes with the package.")
    parser.add_argument("name", choices=sorted(MADE_BY))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument(
        "--keep", action="store_true", help="keep the existing generator, and measure it again"
    )
    parser.add_argument(
        "--store", action="store_true", help="rewrite an existing file of float16 arithmetic into storage"
    )
    arguments = parser.parse_args()
    if arguments.store:
        store(arguments.name)
    elif arguments.data_dir is None:
        parser.error("--data-dir is needed to measure a generator")
    else:
        (measure if arguments.keep else make)(arguments.name, arguments.data_dir)
    (MODELS / "README.md").write_text(page())


if __name__ == "__main__":
    main()
