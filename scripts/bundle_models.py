"""Train, export and measure the generators that come with the package, and write them to runtime/models/.

    python -m scripts.bundle_models mnist --data-dir DATA

DATA as for scripts/train_classifiers.py. A run that is there already is gone on with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from runtime import Sampler

MODELS = Path("runtime/models")
# By name: how it is trained and exported; in the smallest precision that keeps the quality (docs/quality.md).
MADE_BY = {
    "mnist": (["mnist-conditional", "--mixed-precision", "--evaluate-every", "3000"], ["--best", "--precision", "float16"]),
    "fashion-mnist": (
        ["fashion-conditional", "--mixed-precision", "--evaluate-every", "5000"],
        ["--best", "--precision", "float16"],
    ),
    # Its last checkpoint: by the figures the hands of step 1,000 are the best, and anybody can see that they are not.
    "rock-paper-scissors": (["rps-conditional", "--mixed-precision", "--evaluate-every", "500"], ["--precision", "float16"]),
}


def make(name: str, data_dir: Path) -> None:
    recipe, export = MADE_BY[name]
    run, file = Path("runs") / f"bundled-{name}", MODELS / f"{name}.onnx"
    if (run / "recipe.json").exists():
        ganport("train", "--resume", "--out", run)
    else:
        ganport("train", *recipe, "--data-dir", data_dir, "--out", run)
    ganport("export", run, *export, "--out", file, "--overwrite")
    figures = json.loads(ganport("evaluate", file, "--json", "--data-dir", data_dir, capture=True))
    (MODELS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")


def ganport(*arguments: object, capture: bool = False) -> str:
    command = [sys.executable, "cli.py", *map(str, arguments)]
    # What it says goes where progress goes, so that a table that a benchmark prints is alone in its file.
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if capture else sys.stderr).stdout


def write_page() -> None:
    rows = []
    for file in sorted(MODELS.glob("*.onnx")):
        name, model = file.stem, Sampler(file).model
        if not (MODELS / f"{name}.json").exists():
            print(f"{name} has no figures yet; make it, too")
            continue
        figures = json.loads((MODELS / f"{name}.json").read_text())
        shape = "x".join(map(str, model.image.shape))
        rows.append(
            f"| `{name}` | {shape} | {model.recipe['name']}, {model.training['steps']:,} steps "
            f"| {model.precision}, {file.stat().st_size / 1e6:.2f} MB "
            f"| {figures['frechet']:.3f} ({figures['floor']['frechet']:.3f}) | "
            f"{_pair(figures)} ({_pair(figures['floor'])}) | {model.data['licence']} |"
        )
    (MODELS / "README.md").write_text(PAGE.format(rows="\n".join(rows)))


def _pair(figures) -> str:
    return f"{figures['precision']:.2f}, {figures['recall']:.2f}"


PAGE = """# The generators in the box

`ganport sample NAME` draws from them; `ganport models` lists them. Made by `python -m scripts.bundle_models NAME --data-dir
DATA`; the figures are those of `ganport evaluate NAME`, in brackets what real images score.

| name | images | recipe | file | Fréchet distance | precision, recall | licence of the data |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a generator that comes with the package.")
    parser.add_argument("name", choices=sorted(MADE_BY))
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    make(arguments.name, arguments.data_dir)
    write_page()


if __name__ == "__main__":
    main()
