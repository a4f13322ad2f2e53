"""Allowed imports between the packages, and the commands that work without TensorFlow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PACKAGES, ROOT

HEAVY = ("tensorflow", "keras", "onnx", "tf2onnx")
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))\n"  # imports of HEAVY then fail
RUN = "from ganport.__main__ import main; main()"

# Allowed imports of each package: packages of ganport, and third-party packages. The standard library is
# always allowed.
MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    "runtime": (set(), {"numpy", "PIL", "onnxruntime", "isal"}),
    "datasets": ({"runtime"}, {"numpy", "PIL", "keras"}),
    "evaluation": ({"datasets", "runtime"}, {"numpy", "PIL"}),
    "trainer": (
        {"evaluation", "datasets", "runtime"},
        {"numpy", "PIL", "tensorflow", "keras", "matplotlib", "rich", "tensorboard", "IPython"},
    ),
    "export": (
        {"trainer", "evaluation", "datasets", "runtime"},
        {"numpy", "onnx", "onnxruntime", "tensorflow", "keras", "tf_keras", "tf2onnx", "h5py", "google"},
    ),
    "server": (
        {"runtime"},
        {"numpy", "fastapi", "starlette", "pydantic", "uvicorn", "httptools", "prometheus_client"},
    ),
    "web": ({"runtime"}, {"numpy"}),
    "cluster": ({"server", "runtime"}, {"numpy", "ray"}),
    "commands": (
        {"cluster", "web", "server", "export", "trainer", "evaluation", "datasets", "runtime"},
        {"numpy", "typer", "rich"},
    ),
}
RELATIVE_ONLY = {"runtime"}  # the folder can be copied into another project, under any name


def forbidden_imports(package: str, source: str) -> list[str]:
    """Return the imports in a module's source that are not allowed in its package."""
    ours, others = MAY_IMPORT[package]
    allowed = others | set(sys.stdlib_module_names)
    forbidden = []
    for name in imported_modules(source):
        top, *rest = name.split(".")
        if top == "ganport":
            target = rest[0] if rest else "ganport"
            if target not in ours:
                forbidden.append(name)
        elif top not in allowed:
            forbidden.append(name)
    return forbidden


def imported_modules(source: str) -> list[str]:
    """Return the modules that a source imports absolutely, within functions too."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            names += [f"ganport.{alias.name}" for alias in node.names] if module == "ganport" else [module]
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_allowed_packages(package):
    files = list((ROOT / package).rglob("*.py"))
    assert len(files) > 1
    for file in files:
        assert not forbidden_imports(package, file.read_text()), file


def test_every_package_has_a_list_of_allowed_imports():
    assert set(MAY_IMPORT) == set(PACKAGES)
    folders = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert folders - {"ganport", "tests", "benchmarks", "scripts"} == set(PACKAGES)


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("runtime", "from ganport.server import Settings"),
        ("runtime", "from ganport.runtime import Sampler"),
        ("datasets", "from ganport.evaluation import Report"),
        ("evaluation", "import ganport.trainer.runs"),
        ("trainer", "from ganport.cluster import write_shards_on_ray"),
        ("trainer", "from ganport import export"),
        ("export", "def f():\n    from ganport.server.api import make_api"),
        ("server", "from ganport.web import write_site"),
        ("web", "import onnxruntime"),
        ("cluster", "from ganport.commands.console import results"),
        ("commands", "from tests.conftest import ROOT"),
        ("commands", "from runtime import Sampler"),
    ],
)
def test_a_forbidden_import_is_found(package, line):
    assert forbidden_imports(package, line)


def test_no_module_imports_a_bare_name():
    """In a clone `import runtime` makes a second copy, whose classes are not those of `ganport.runtime`."""
    folders = [*PACKAGES, "ganport", "tests", "benchmarks", "scripts", "examples"]
    for file in [ROOT / "cli.py", *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]:
        tops = {name.split(".")[0] for name in imported_modules(file.read_text())}
        assert not tops & set(PACKAGES), file


def test_type_checkers_find_every_package():
    for name in (*PACKAGES, "__init__.py", "__main__.py", "py.typed"):
        assert (ROOT / "typings" / "ganport" / name).exists(), name


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    env = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
        "SYSTEMROOT": os.environ.get("SYSTEMROOT", ""),
    }
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["sample", "MODEL"], ["inspect", "MODEL"], ["recipes"], ["train", "--dry-run"]),
        ["evaluate", "mnist", "--seeds", "0-599"],
    ],
)
def test_command_runs_without_the_heavy_packages(tiny_file, tmp_path, arguments):
    arguments = [str(tiny_file) if argument == "MODEL" else argument for argument in arguments]
    result = python(BLOCKED + RUN, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    if arguments[0] == "sample":
        assert (tmp_path / "grid.png").stat().st_size > 100


def test_blocked_packages_can_not_be_imported(tmp_path):
    for package in HEAVY:
        assert "ModuleNotFoundError" in python(BLOCKED + f"import {package}", cwd=tmp_path).stderr


@pytest.mark.parametrize("command", ["train", "export"])
def test_command_that_needs_tensorflow_gives_the_install_line(tmp_path, command):
    (tmp_path / "x.keras").touch()
    arguments = {"train": ["train"], "export": ["export", "x.keras"]}[command]
    result = python(BLOCKED + RUN, *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert f"pip install 'ganport[{command}]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()


def test_export_without_its_own_packages_gives_the_install_line(tmp_path):
    (tmp_path / "x.keras").touch()
    code = f"import sys; sys.modules['tf2onnx'] = None; {RUN}"
    result = python(code, "export", "x.keras", cwd=tmp_path)
    assert result.returncode == 1
    assert (
        result.stderr
        == "error: export needs tf2onnx, which is not installed; run: pip install 'ganport[export]'\n"
    )


def test_no_telemetry_is_sent(tiny_file, tmp_path):
    """With telemetry, onnxruntime would write a queue and a device number into the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", BLOCKED + RUN, "sample", str(tiny_file)]
    env = {"PYTHONPATH": str(ROOT), "HOME": str(home)}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert (tmp_path / "grid.png").exists()
    assert not list(home.iterdir())


@pytest.mark.parametrize("module", ["ganport", "ganport.runtime"])
def test_import_loads_no_heavy_package(tmp_path, module):
    """Neither onnxruntime nor NumPy are loaded: each public name is imported when it is first used."""
    result = python(f"import {module}, sys; print(*sys.modules)", cwd=tmp_path)
    modules = set(result.stdout.split())
    heavy = (*HEAVY, "onnxruntime", "numpy", "typer", "rich", "mlxtend", "ganport.trainer", "ganport.export")
    assert module in modules
    assert not modules & set(heavy)


def test_latents_need_no_onnxruntime(tmp_path):
    """The trainer uses the runtime's latents where onnxruntime may not be installed."""
    code = "from ganport.runtime import sample_latents, save_png; import sys; print(*sys.modules)"
    modules = set(python(code, cwd=tmp_path).stdout.split())
    assert "ganport.runtime.latents" in modules
    assert "onnxruntime" not in modules


def test_sample_starts_without_the_packages_of_the_other_commands(tiny_file, tmp_path):
    code = BLOCKED + f"sys.modules.update(dict.fromkeys(('typer', 'rich', 'pydantic'))); {RUN}"
    assert python(code, "sample", str(tiny_file), cwd=tmp_path).returncode == 0
    assert "ModuleNotFoundError" in python(code, "inspect", str(tiny_file), cwd=tmp_path).stderr


def test_one_image_loads_no_module_that_it_does_not_need(tmp_path):
    """Each of these modules takes milliseconds of the start of a process."""
    model = ROOT / "runtime/models/mnist.onnx"
    code = (
        f"from ganport import Sampler; import sys; Sampler({str(model)!r}).sample([7]); print(*sys.modules)"
    )
    modules = set(python(code, cwd=tmp_path).stdout.split())
    own = ("adapter", "third_party", "graph_inputs", "graph_range", "session_errors", "file_kinds", "doctor")
    assert "ganport.runtime.sampler" in modules
    assert not modules & {"concurrent.futures", "logging", *(f"ganport.runtime.{name}" for name in own)}
