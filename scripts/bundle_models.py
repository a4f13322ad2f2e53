"""Train, export and measure the generators that come with the package, and write them to runtime/models/.

    python -m scripts.bundle_models mnist --data-dir DATA

DATA as for scripts/train_classifiers.py. A run of these settings that is there already is gone on with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ganport.evaluation.features import FOLDERS
from ganport.runtime import BUNDLED, Sampler
from ganport.runtime.bundled import figures
from ganport.runtime.files import write_bytes

MODELS = Path("runtime/models")
# By name: how it is trained and exported; in the smallest precision that keeps the quality (docs/quality.md).
MADE_BY = {
    "mnist": (["mnist-conditional", "--mixed-precision", "--evaluate-every", "3000"], ["--best", "--precision", "float16"]),
    "fashion-mnist": (
        ["fashion-conditional", "--mixed-precision", "--evaluate-every", "5000"],
        ["--best", "--precision", "float16"],
    ),
    "rock-paper-scissors": (
        ["rps-conditional", "--mixed-precision", "--evaluate-every", "1000"],
        ["--precision", "float16"],  # the last: as near as the best, and better by each other figure and by eye
    ),
}


def make(name: str, data_dir: Path) -> None:
    recipe, export = MADE_BY[name]
    run = Path("runs") / f"bundled-{name}"
    train(run, *recipe, "--data-dir", data_dir)
    # Measured before it takes the place of the one that is there, whose figures stand beside it.
    made = run / f"{name}.onnx"
    ganport("export", run, *export, "--out", made, "--overwrite")
    found = evaluate(made, data_dir)
    write_bytes(MODELS / made.name, made.read_bytes())
    write_figures(name, found)


def measure(name: str, data_dir: Path) -> None:
    write_figures(name, evaluate(MODELS / f"{name}.onnx", data_dir))


def train(run: Path, *options: object) -> None:
    """Train a run to its end; one that is there already is gone on with, if its settings are those."""
    if (run / "recipe.json").exists():
        due = json.loads(ganport("train", *options, "--dry-run", capture=True))
        if json.loads((run / "recipe.json").read_text()) != due:
            raise SystemExit(f"{run} is a run of other settings than {options[0]} has now; move it away")
        ganport("train", "--resume", "--out", run)
    else:
        ganport("train", *options, "--out", run)


def write_figures(name: str, found: dict[str, Any]) -> None:
    """Write what a generator in the box scores; the hash of the file that has these figures is among them."""
    write_bytes(MODELS / f"{name}.json", f"{json.dumps(found, indent=2)}\n".encode())


def evaluate(file: Path, data_dir: Path) -> dict[str, Any]:
    """Return what `ganport evaluate` finds, with copies where training images are others than the reference's."""
    copies = [] if Sampler(file).model.data["name"] == FOLDERS else ["--data-dir", data_dir]
    found: dict[str, Any] = json.loads(ganport("evaluate", file, "--json", *copies, capture=True))
    return found


def ganport(*arguments: object, capture: bool = False) -> str:
    command = [sys.executable, "cli.py", *map(str, arguments)]
    # What it says goes where progress goes, so that a table that a benchmark prints is alone in its file.
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if capture else sys.stderr).stdout


def page() -> str:
    """Return the page that lists the generators, made of what their files and their figures say."""
    rows = []
    for name, file in BUNDLED.items():
        model, found = Sampler(file).model, figures(name)
        shape = "x".join(map(str, model.image.shape))
        cells = [
            f"`{name}`",
            shape,
            f"{model.recipe['name']}, {model.training['steps']:,} steps of {model.recipe['batch_size']}",
            f"{model.precision}, {file.stat().st_size / 1e6:.2f} MB",
            f"{found['frechet']:.3f} ({found['floor']['frechet']:.3f})",
            f"{_pair(found)} ({_pair(found['floor'])})",
            f"{found['agreement']:.1%} ({found['floor']['agreement']:.1%})",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return PAGE.format(rows="\n".join(rows))


def _pair(figures: dict[str, float]) -> str:
    return f"{figures['precision']:.2f}, {figures['recall']:.2f}"


PAGE = """# The generators in the box

`ganport sample NAME` draws from them; `ganport models` lists them, `ganport inspect NAME` shows all that a file says of itself.
Made by `python -m scripts.bundle_models NAME --data-dir DATA`; the figures are those of `ganport evaluate NAME` (all of them
are in NAME.json), in brackets what real images score.

| name | images | recipe | file | Fréchet distance | precision, recall | of the class asked for |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Meant as an example, a placeholder and a thing to test with: they draw nothing but what these sets show, in the ways of writing,
dressing and holding a hand that these sets have, and none is good enough to enlarge a set that a classifier learns from.

They were trained on the work of others, whose licences and names go where copies of these files go:

- `mnist`: [MNIST](https://yann.lecun.org/exdb/mnist/), handwritten digits, by Yann LeCun, Corinna Cortes and Christopher J. C.
  Burges; [CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/).
- `fashion-mnist`: [Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist), pictures of clothes, by Han Xiao, Kashif
  Rasul and Roland Vollgraf, Copyright © 2017 Zalando SE;
  [MIT](https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE).
- `rock-paper-scissors`: [Rock, Paper, Scissors](https://laurencemoroney.com/datasets.html), rendered hands, by Laurence
  Moroney; [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a generator that comes with the package.")
    parser.add_argument("name", choices=sorted(MADE_BY))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="the file that is there: measure it anew")
    arguments = parser.parse_args()
    (measure if arguments.keep else make)(arguments.name, arguments.data_dir)
    (MODELS / "README.md").write_text(page())


if __name__ == "__main__":
    main()
