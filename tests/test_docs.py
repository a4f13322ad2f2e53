"""The documents agree with the code: commands, options, links and examples."""

from __future__ import annotations

import re
import shutil

import pytest
import typer

from ganport.commands import app
from ganport.runtime.command import make_parser
from tests.conftest import ROOT, run_ganport

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS = {
    name: {option for parameter in command.params for option in parameter.opts}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
} | {
    "sample": {
        option for action in make_parser("sample", ("ray",))._actions for option in action.option_strings
    }
}
OPPOSITES = {  # options such as --no-page, which are documented beside the others
    option
    for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    for parameter in command.params
    for option in parameter.secondary_opts
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_documented(command):
    assert re.search(rf"`{command}[` ]", (ROOT / "README.md").read_text())
    pages = "\n".join(page.read_text() for page in PAGES)
    assert f"ganport {command}" in pages
    for option in COMMANDS[command]:
        if option.startswith("--") and option != "--help":
            assert re.search(rf"`{option}[` ]", pages), option


def test_every_documented_option_exists():
    known = set.union(OPPOSITES, *COMMANDS.values())
    for page in PAGES:
        for line in page.read_text().splitlines():
            if "ganport " in line or "cli.py " in line:
                assert set(re.findall(r"(?<!-)--[a-z][a-z-]+", line)) <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_existing_targets(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", ["README.md", "docs/embedding.md", "docs/quality.md"])
def test_python_examples_run(page, tiny_file, tmp_path, monkeypatch):
    shutil.copy(tiny_file, tmp_path / "generator.onnx")
    shutil.copytree(ROOT / "runtime", tmp_path / "my_app" / "ganlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert examples
    for example in examples:
        exec(example, {})
    if page == "README.md":
        assert (tmp_path / "threes.png").exists()


@pytest.mark.slow
def test_example_of_a_recipe_trains_exports_and_resumes_without_its_file(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 60
    (tmp_path / "my_recipe.py").write_text(
        example.replace("image_shape=(28, 28, 1)", "image_shape=(32, 32, 1)")
    )
    train = run_ganport("train", "my_recipe.py", "--steps", 4, "--out", "run", cwd=tmp_path)
    assert train.returncode == 0, train.stderr
    assert "mine: 5,000 images of 32x32x1" in train.stderr
    (tmp_path / "my_recipe.py").unlink()
    resume = run_ganport("train", "--resume", "--out", "run", cwd=tmp_path)
    assert resume.returncode == 0, resume.stderr
    export = run_ganport("export", "run", cwd=tmp_path)
    assert export.returncode == 0, export.stderr
    assert "32x32x1 uint8, float32; verified against Keras" in export.stdout
