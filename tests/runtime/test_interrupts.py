"""Ctrl-C at any moment ends a command with exit code 130, without output, and without half-written files."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Sends Ctrl-C to the process when it begins to import a module. A process that a shell starts in the
# background ignores Ctrl-C; this one must not.
AT_IMPORT = """
import runpy, signal, sys
module, how, name, *sys.argv[1:] = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(wanted, path=None, target=None):
        if wanted == module:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
{"module": runpy.run_module, "path": runpy.run_path}[how](name, run_name="__main__")
"""
CLI, MODULE, RUNTIME = ("path", str(ROOT / "cli.py")), ("module", "ganport"), ("module", "ganport.runtime")

# Runs the function of a test as a command. The command has less time to clean up than usual.
GUARDED = """
import signal, sys, time
from pathlib import Path
from ganport.runtime import interrupts
from ganport.runtime.command import guarded
from ganport.runtime.files import lock_output, replacing
interrupts._IMPORT_S, interrupts._CLEAN_UP_S, interrupts._ECHO_S = 0.3, 0.3, 0.0
signal.signal(signal.SIGINT, signal.default_int_handler)
def ctrl_c(number=signal.SIGINT):
    signal.raise_signal(number)
"""


def python(code, *arguments, cwd):
    command = [sys.executable, "-c", code, *arguments]
    env = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("start", "module", "arguments"),
    [
        (CLI, "numpy", ["sample", "mnist"]),
        (CLI, "onnxruntime", ["sample", "mnist"]),
        (CLI, "onnxruntime.capi.onnxruntime_pybind11_state", ["sample", "mnist"]),
        (MODULE, "numpy._core._multiarray_umath", ["--version"]),
        (MODULE, "typer", ["inspect", "mnist"]),
        (MODULE, "ganport.trainer.recipes", ["train", "--dry-run"]),
        (RUNTIME, "numpy", ["mnist"]),
        (RUNTIME, "PIL.Image", ["mnist"]),
    ],
)
def test_interrupt_during_an_import_is_silent(tmp_path, start, module, arguments):
    result = python(AT_IMPORT, module, *start, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")
    assert not list(tmp_path.iterdir())


ENDINGS = {
    "an exception that is lost in a destructor": """
class Lost:
    def __del__(self):
        ctrl_c()
def run():
    with replacing(Path("x.png")):
        Lost()
        time.sleep(30)
""",
    "an exception that other code catches": """
def run():
    with lock_output(Path("x.png")), replacing(Path("x.png")):
        try:
            ctrl_c()
        except BaseException:
            time.sleep(30)
""",
    "an import that turns it into another error": """
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "slow":
            try:
                ctrl_c()
                time.sleep(30)
            except BaseException:
                raise ImportError("not installed") from None
sys.meta_path.insert(0, Finder)
def run():
    with replacing(Path("x.png")):
        import slow
""",
    "a second signal during the clean-up": """
def run():
    with replacing(Path("x.png")):
        try:
            ctrl_c()
        finally:
            ctrl_c()
            time.sleep(30)
""",
    "an error that follows from it": """
def run():
    with replacing(Path("x.png")):
        try:
            ctrl_c()
        except KeyboardInterrupt:
            raise RuntimeError("a thread was stopped")
""",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_signal_ends_a_command_that_loses_its_exception(tmp_path, name):
    code = f"{GUARDED}{ENDINGS[name]}"
    result = python(f"{code}\nsys.exit(guarded(run))", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_of_the_system_removes_what_is_not_finished(tmp_path, name):
    code = f"""{GUARDED}
def run():
    with replacing(Path("x.png")):
        ctrl_c(signal.{name})
sys.exit(guarded(run))
"""
    result = python(code, cwd=tmp_path)
    assert (result.returncode, result.stderr) == ({"SIGTERM": 143, "SIGHUP": 129}[name], "")
    assert not list(tmp_path.iterdir())


def test_signal_that_is_ignored_stays_ignored(tmp_path):
    code = f"{GUARDED}signal.signal(signal.SIGINT, signal.SIG_IGN)\nsys.exit(guarded(lambda: ctrl_c() or 0))"
    assert python(code, cwd=tmp_path).returncode == 0


def test_handlers_are_as_before_after_a_command(tmp_path):
    code = f"""{GUARDED}
names = "SIGINT", "SIGTERM", "SIGHUP"
handlers = lambda: [signal.getsignal(getattr(signal, name)) for name in names] + [sys.unraisablehook]
before = handlers()
print(guarded(lambda: 0), guarded(ctrl_c), handlers() == before)
time.sleep(1)
"""
    result = python(code, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "0 130 True\n", "")
