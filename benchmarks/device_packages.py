"""Packages of engines and emulators, in ganport's cache folder.

Nothing is installed into the system or into the environment that runs the benchmark. Python packages are
installed into virtual environments. Debian packages are downloaded with `apt-get` and unpacked. A folder that
was made without an error holds the file `complete`, which states what the folder was made of. If that text is
not the expected one, the folder is made anew.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ganport.runtime.files import cache_folder

COMPLETE = "complete"  # name of the file that marks a folder that was made without an error
INSTALL_S = 900.0  # seconds for one download or installation
EXPORT_S = 300.0  # seconds for one command of ganport
ROOT = Path(__file__).parent.parent
# The names of one machine in Debian, and those in the tags of wheels.
ARM64 = ("arm64", "aarch64")


class NotAvailableError(Exception):
    """An engine can't run here. The message is the reason, which the table shows."""


def devices_folder() -> Path:
    """Return the folder of the cache that holds all engines. It may not exist."""
    cache = cache_folder()
    if cache is None:
        raise NotAvailableError("there is no cache folder, since neither XDG_CACHE_HOME nor HOME is set")
    return cache / "devices"


def find_program(*names: str) -> str:
    """Return the path of the first of these programs that is installed."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NotAvailableError(f"{names[0]} is not installed")
    return found


def run_quietly(
    command: Sequence[str | Path], *, limit_s: float, cwd: Path | None = None,
    env: Mapping[str, str] | None = None, name: str | None = None,
) -> str:  # fmt: skip
    """Run a program and return what it wrote to stdout.

    Args:
        command: Program and arguments.
        limit_s: Seconds after which the program is stopped.
        cwd: Folder to run in.
        env: Variables that are added to those of this process.
        name: Name of the program in reasons; by default the name of its file.

    Raises:
        NotAvailableError: The program does not exist, took too long, or failed. The reason is its last line.
    """
    name = name or Path(command[0]).name
    try:
        result = subprocess.run(
            list(map(str, command)), cwd=cwd, env=os.environ | (env or {}), capture_output=True, text=True,
            errors="replace", timeout=limit_s, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NotAvailableError(f"{name} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"{name} took longer than {limit_s:.0f} s") from error
    if result.returncode < 0:
        raise NotAvailableError(f"{name} was ended by signal {-result.returncode}")
    if result.returncode:
        raise NotAvailableError(f"{name} failed: {last_line(result.stderr or result.stdout)}")
    return result.stdout


def ganport(command: str, *arguments: str | Path, limit_s: float) -> None:
    """Run a command of ganport. If it fails, its error message is the reason."""
    program = [sys.executable, "-m", "ganport", command, *map(str, arguments)]
    try:
        result = subprocess.run(
            program,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"ganport {command} took longer than {limit_s:.0f} s") from error
    if result.returncode:
        reason = last_line(result.stderr).removeprefix("error: ")
        raise NotAvailableError(f"ganport {command}: {reason}")


def last_line(text: str) -> str:
    """Return the line of a program's output that says what failed, without paths of this machine.

    It is the last line that names an error, or else the last line that is not empty.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"(^|: )\w*error( \[\w+\])?:", line, re.IGNORECASE)]
    line = [*(lines[-1:] or ["it printed no reason"]), *errors][-1]
    for folder, name in ((str(Path.cwd()), "."), (str(Path.home()), "~")):
        line = line.replace(folder, name)
    return line[:300]


def make_folder(name: str, description: str, make: Callable[[Path], None]) -> Path:
    """Return the folder with this name in the cache. Unless it is complete, it is made anew.

    Args:
        name: Name of the folder.
        description: What the folder is made of.
        make: Function that fills an empty folder, or raises NotAvailableError.
    """
    folder = devices_folder() / name
    mark = folder / COMPLETE
    if mark.is_file() and mark.read_text(encoding="utf-8") == description:
        return folder
    print(f"{name}: downloading {description}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    mark.write_text(description, encoding="utf-8")
    return folder


def python_environment(name: str, *requirements: str) -> Path:
    """Return the interpreter of a virtual environment that holds the required packages."""

    def make(folder: Path) -> None:
        run_quietly([sys.executable, "-m", "venv", folder], limit_s=INSTALL_S)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run_quietly([*pip, *requirements], limit_s=INSTALL_S)

    return make_folder(name, " ".join(requirements), make) / "bin" / "python"


def foreign_wheels(name: str, machine: str, python: str, *requirements: str) -> Path:
    """Return a folder with Python packages for another machine, which PYTHONPATH can name.

    Args:
        name: Name of the folder in the cache.
        machine: Machine, as the tags of wheels name it.
        python: Version of Python, such as "3.11".
        requirements: Packages to install.
    """

    def make(folder: Path) -> None:
        tags = [f"--platform=manylinux_{tag}_{machine}" for tag in ("2_17", "2_24", "2_27", "2_28")]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = [
            *tags,
            f"--python-version={python}",
            "--only-binary=:all:",
            "--target",
            folder / "packages",
        ]
        run_quietly([*pip, *options, *requirements], limit_s=INSTALL_S)

    description = f"{' '.join(requirements)} for Python {python} on {machine}"
    return make_folder(name, description, make) / "packages"


def debian_packages(name: str, *packages: str, architecture: str | None = None) -> Path:
    """Return a folder into which Debian packages were unpacked, with all that they depend on.

    Args:
        name: Name of the folder in the cache.
        packages: Packages to unpack.
        architecture: Debian's name of another architecture. Then the folder is a whole system, with its C
            library. By default, packages that this machine has installed are left out.
    """

    def make(folder: Path) -> None:
        apt = [find_program("apt-get"), *_apt_options(folder, architecture)]
        # An error for one source of packages may leave enough of the others.
        run_quietly([*apt, "update"], limit_s=INSTALL_S)
        download = ["install", "--yes", "--quiet", "--download-only", "--no-install-recommends"]
        run_quietly([*apt, *download, *packages], limit_s=INSTALL_S)
        unpack_packages(folder / "apt" / "cache" / "archives", folder)
        shutil.rmtree(folder / "apt")

    if platform.system() != "Linux":
        raise NotAvailableError("Debian's packages run on Linux only")
    description = " ".join(packages) + (f" for {architecture}" if architecture else "")
    return make_folder(name, description, make)


def unpack_packages(archives: Path, folder: Path) -> None:
    """Unpack all Debian packages of one folder into another folder."""
    unpack = find_program("dpkg-deb")
    for package in sorted(archives.glob("*.deb")):
        run_quietly([unpack, "--extract", package, folder], limit_s=INSTALL_S)


def _apt_options(folder: Path, architecture: str | None) -> list[str]:
    """Return options that let `apt-get` write below a folder, instead of in the system's folders."""
    state, cache = folder / "apt" / "state", folder / "apt" / "cache"
    for each in (state / "lists" / "partial", cache / "archives" / "partial"):
        each.mkdir(parents=True)
    settings = [
        f"Dir::State={state}",
        f"Dir::Cache={cache}",
        "Debug::NoLocking=true",
        "APT::Sandbox::User=root",
    ]
    status = Path("/var/lib/dpkg/status")
    if architecture:
        status = state / "status"
        status.touch()
        settings += [f"APT::Architecture={architecture}", f"APT::Architectures={architecture}"]
    settings.append(f"Dir::State::status={status}")
    return [word for setting in settings for word in ("-o", setting)]
