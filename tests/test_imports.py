"""Where TensorFlow is not: what the runtime needs, and the direction of the arrows between the packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = ("tensorflow", "keras", "onnx", "tf2onnx")
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))\n"  # importing any of them then fails


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["sample", "MODEL"], ["inspect", "MODEL"], ["recipes"], ["train", "--dry-run"]),
        ["evaluate", "mnist", "--seeds", "0-599"],
    ],
)
def test_command_runs_where_no_heavy_package_can_be_imported(tiny_file, tmp_path, arguments):
    arguments = [str(tiny_file) if argument == "MODEL" else argument for argument in arguments]
    result = python(BLOCKED + "from ganport.__main__ import main; main()", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    if arguments[0] == "sample":
        assert (tmp_path / "grid.png").stat().st_size > 100


def test_the_block_above_blocks(tmp_path):
    for package in HEAVY:
        assert "ModuleNotFoundError" in python(BLOCKED + f"import {package}", cwd=tmp_path).stderr


@pytest.mark.parametrize("command", ["train", "export"])
def test_command_that_needs_tensorflow_gives_the_install_line(tmp_path, command):
    (tmp_path / "x.keras").touch()
    arguments = {"train": ["train"], "export": ["export", "x.keras"]}[command]
    result = python(BLOCKED + "from ganport.__main__ import main; main()", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert f"pip install 'ganport[{command}]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()


def test_export_without_its_own_packages_gives_the_install_line(tmp_path):
    (tmp_path / "x.keras").touch()
    code = "import sys; sys.modules['tf2onnx'] = None; from ganport.__main__ import main; main()"
    result = python(code, "export", "x.keras", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: export needs tf2onnx, which is not installed; run: pip install 'ganport[export]'\n"


def test_nothing_is_reported_to_anybody(tiny_file, tmp_path):
    """onnxruntime's telemetry keeps its queue and a device number in the home folder; here there is neither."""
    home = tmp_path / "home"
    home.mkdir()
    code = BLOCKED + "from ganport.__main__ import main; main()"
    command = [sys.executable, "-c", code, "sample", str(tiny_file)]
    env = {"PYTHONPATH": str(ROOT), "HOME": str(home)}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert (tmp_path / "grid.png").exists()
    assert not list(home.iterdir())


def test_runtime_imports_its_three_packages_and_no_more(tmp_path):
    """Not even onnxruntime until a model is opened: the trainer uses the runtime's latents where it is not installed."""
    result = python("import ganport.runtime, sys; print(*sys.modules)", cwd=tmp_path)
    modules = set(result.stdout.split())
    assert "numpy" in modules
    for package in (*HEAVY, "onnxruntime", "typer", "rich", "trainer", "export", "mlxtend"):
        assert package not in modules


def test_sample_starts_without_the_packages_of_the_other_commands(tiny_file, tmp_path):
    code = (
        BLOCKED + "sys.modules.update(dict.fromkeys(('typer', 'rich', 'pydantic'))); from ganport.__main__ import main; main()"
    )
    assert python(code, "sample", str(tiny_file), cwd=tmp_path).returncode == 0
    assert "ModuleNotFoundError" in python(code, "inspect", str(tiny_file), cwd=tmp_path).stderr


def imports(file: Path) -> set[str]:
    """Return the top names that a module imports, "." for a relative import."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else (node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("runtime", {"runtime", "trainer", "export", "cli", "commands", "rich", "typer", *HEAVY}),
        ("evaluation", {"trainer", "export", "cli", "commands", "rich", "typer", "onnxruntime", *HEAVY}),
        ("trainer", {"trainer", "export", "cli", "commands", "onnx", "onnxruntime", "tf2onnx"}),
        ("export", {"export", "cli", "commands"}),
        ("web", {"web", "trainer", "export", "cli", "commands", "rich", "typer", "onnxruntime", *HEAVY}),
        ("cluster", {"cluster", "trainer", "export", "cli", "commands", "rich", "typer", "onnxruntime", *HEAVY}),
        ("server", {"server", "trainer", "export", "cli", "commands", "rich", "typer", "onnxruntime", *HEAVY}),
    ],
)
def test_arrows_run_one_way(package, forbidden):
    files = list((ROOT / package).rglob("*.py"))
    assert len(files) > 1
    for file in files:
        assert not imports(file) & forbidden, file
