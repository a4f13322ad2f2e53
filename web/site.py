"""The files for browsers: a page (`write_site`), or a module for your own application (`write_module`).

Both folders hold the module in `page/ganport/`, a generator, and the files of onnxruntime-web.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import gzip
import json
import os
import re
import shutil
import string
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ganport.runtime import Contract, Sampler
from ganport.runtime.display import first_line, system_reason
from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.files import cache_folder
from ganport.runtime.model_file import resolve_model

from .errors import WebError

_HERE = Path(__file__).parent
_NPM_TIMEOUT_S = 300
_LONGEST_WRITE_S = 3_600.0  # a temporary folder that is older was left by a process that was killed
_PAGE = _HERE / "page"
_MODULE = _PAGE / "ganport"
# A folder that contains one of these files is a site of ganport. Older versions wrote the second file.
_SITE_MARKS = ("ganport/ganport.js", "model.json")
_MODULE_MARK = "ganport.js"
_TYPES = "*.d.ts"  # for programmers; browsers do not load them
_GUIDE = "README.md"
# Each pair is a script and a binary of onnxruntime-web that the module loads. Browsers download the second
# pair only if they try WebGPU.
_CPU_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_WEBGPU_FILES = ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm")
_CHECK_NPM = "check that npm reaches its registry, and try again"


@dataclasses.dataclass(frozen=True)
class Site:
    """A folder that `write_site` or `write_module` wrote.

    Attributes:
        folder: Folder that a web server can serve.
        model: Path of the generator in the folder.
        contract: Contract of the generator.
        transfer: Number of bytes that a browser downloads if it does not try WebGPU.
        compressed: Number of bytes of the same downloads if the server compresses them with gzip.
        webgpu: Number of further bytes that a browser downloads if it tries WebGPU.
    """

    folder: Path
    model: Path
    contract: Contract
    transfer: int
    compressed: int
    webgpu: int


def write_site(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    onnxruntime_web: str | os.PathLike[str] | None = None,
) -> Site:
    """Write the page as a folder that any web server can serve. After an error the folder is unchanged.

    Args:
        model: Path of an .onnx file that `ganport export` wrote, with latents or seeds as its input; or the
            name of a pretrained generator.
        out: Folder to write.
        overwrite: Whether an existing site may be replaced.
        onnxruntime_web: Folder `dist` of the npm package onnxruntime-web. By default npm downloads the
            package once, into the user's cache.

    Raises:
        UsageError: The model does not have the required input.
        ModelError: Raised by `Sampler`.
        WebError: npm is not installed or can't download the package, or `onnxruntime_web` lacks a file.
        OutputError: The folder can't be written, or it exists and may not be replaced.
    """
    path, contract = _open_model(model)
    if contract.input.kind == "fixed":
        raise UsageError(
            "This model has fixed seeds, and the page needs one that takes any seed; create it with: "
            "ganport export --input latent"
        )

    def assemble(site: Path, scripts: Path) -> Path:
        shutil.copytree(_PAGE, site, ignore=shutil.ignore_patterns(_TYPES))
        _copy_onnxruntime(scripts, site / "ganport")
        return Path(shutil.copyfile(path, site / "generator.onnx"))

    folder = _resolved(out)
    _check_site(folder, overwrite=overwrite)
    return _write(folder, contract, onnxruntime_web, assemble)


def write_module(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    onnxruntime_web: str | os.PathLike[str] | None = None,
) -> Site:
    """Write the JavaScript module with its types, the generator and onnxruntime-web's files into one folder.

    The folder is for an application of your own: `import { Generator } from "./ganport/ganport.js"`. After an
    error the folder is unchanged.

    Args:
        model: Path of an .onnx file that `ganport export` wrote, or the name of a pretrained generator.
        out: Folder to write.
        overwrite: Whether an existing folder of the module may be replaced.
        onnxruntime_web: Folder `dist` of the npm package onnxruntime-web. By default npm downloads the
            package once, into the user's cache.

    Raises:
        UsageError: The model is a third-party one.
        ModelError: Raised by `Sampler`.
        WebError: npm is not installed or can't download the package, or `onnxruntime_web` lacks a file.
        OutputError: The folder can't be written, it may not be replaced, or it holds files of yours.
    """
    path, contract = _open_model(model)

    def assemble(module: Path, scripts: Path) -> Path:
        shutil.copytree(_MODULE, module)
        _copy_onnxruntime(scripts, module)
        copy = Path(shutil.copyfile(path, module / _url_name(path)))
        (module / _GUIDE).write_text(_guide(contract, copy.name), encoding="utf-8")
        return copy

    folder = _resolved(out)
    _check_module(folder, overwrite=overwrite)
    return _write(folder, contract, onnxruntime_web, assemble)


def _open_model(model: str | os.PathLike[str]) -> tuple[Path, Contract]:
    """Return the path and the contract of a model, after the checks that the page and the module share."""
    path = resolve_model(model)
    with Sampler(path) as sampler:
        contract = sampler.contract
    if not contract.created_by:
        raise UsageError(
            "This is a third-party model, and browsers need one that ganport exported; create it with: "
            "ganport export FILE"
        )
    if path.suffix.lower() == ".ort":
        raise UsageError(f"{path} is an .ort file, and browsers need the .onnx file; give that one.")
    return path, contract


def _resolved(out: str | os.PathLike[str]) -> Path:
    return Path(out).resolve()  # if `out` is a symbolic link, its target is replaced and the link stays


def _write(
    folder: Path,
    contract: Contract,
    onnxruntime_web: str | os.PathLike[str] | None,
    assemble: Callable[[Path, Path], Path],
) -> Site:
    """Write a folder, whole or not at all.

    Args:
        folder: Folder to write.
        contract: Contract of the generator.
        onnxruntime_web: Folder `dist` of onnxruntime-web; None for the user's cache.
        assemble: Function that writes all files into a new folder, and returns the path of the generator. Its
            arguments are the new folder and onnxruntime-web's folder `dist`.
    """
    scripts = install_onnxruntime_web() if onnxruntime_web is None else Path(onnxruntime_web)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            new = Path(temporary) / "new"
            model = assemble(new, scripts)
            site = _measure(new, folder, model, contract)
            _replace(folder, new, Path(temporary) / "old")
    except OSError as error:
        raise OutputError(folder, system_reason(error)) from error
    return site


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders that killed processes left while they wrote this folder."""
    newest = time.time() - _LONGEST_WRITE_S  # another process may be writing a younger one
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.{'[a-z0-9_]' * 8}"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < newest:
                shutil.rmtree(leftover)


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Move `new` to `folder`. An existing `folder` is first moved to `old`, and restored after an error."""
    if folder.exists():
        folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise


def _check_site(folder: Path, *, overwrite: bool) -> None:
    if _is_free(folder):
        return
    if not any((folder / mark).is_file() for mark in _SITE_MARKS):
        raise OutputError(folder, "it exists and is not a site of ganport")
    if not overwrite:
        remedy = "replace it with `overwrite=True`, or choose another `out`."
        raise OutputError(folder, "a site exists there", remedy)


def _check_module(folder: Path, *, overwrite: bool) -> None:
    if _is_free(folder):
        return
    if not (folder / _MODULE_MARK).is_file():
        problem = "it exists and is not a folder of ganport's module"
        raise OutputError(folder, problem, "choose another folder.")
    known = {path.name for path in _MODULE.iterdir()} | {"onnxruntime", _GUIDE}
    others = sorted(
        path.name for path in folder.iterdir() if path.name not in known and path.suffix != ".onnx"
    )
    if others:  # an application's own files, which must not be lost
        raise OutputError(folder, f"it also holds {', '.join(others[:3])}", "move these files elsewhere.")
    if not overwrite:
        remedy = "replace it with `overwrite=True`, or choose another folder."
        raise OutputError(folder, "the module exists there", remedy)


def _is_free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _copy_onnxruntime(scripts: Path, module: Path) -> None:
    (module / "onnxruntime").mkdir()
    for name in (*_CPU_FILES, *_WEBGPU_FILES):
        if not (scripts / name).is_file():
            remedy = f"set `onnxruntime_web` to the folder dist of onnxruntime-web {pinned_version()}"
            raise WebError(f"{scripts} has no file {name}", remedy)
        content = (scripts / name).read_bytes()
        if name.endswith(".mjs"):
            content = re.sub(rb"\n//# sourceMappingURL=.*", b"", content)  # the map is not copied
        (module / "onnxruntime" / name).write_bytes(content)


def _url_name(model: Path) -> str:
    """Return a name for a model's file that needs no escape in an address or in JavaScript."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", model.stem).strip(".-")
    return f"{stem or 'generator'}.onnx"


def _guide(contract: Contract, model: str) -> str:
    """Return the text of the module's README.md."""
    source, image = contract.input, contract.image
    options = ""
    if source.labels and source.kind != "fixed":
        options = f", {{ label: {json.dumps(source.labels[-1], ensure_ascii=False)} }}"
    template = string.Template((_HERE / "guide.md").read_text(encoding="utf-8"))
    return template.substitute(
        name=contract.name,
        model=model,
        seed=source.seeds[0] if source.seeds else 7,
        options=options,
        height=image.height,
        width=image.width,
        version=pinned_version(),
    )


def _measure(new: Path, folder: Path, model: Path, contract: Contract) -> Site:
    """Return the `Site` for the files in the temporary folder `new`, which later moves to `folder`."""
    webgpu = [path for path in new.rglob("*") if path.name in _WEBGPU_FILES]
    unused = {*webgpu, *new.rglob(_TYPES), new / _GUIDE}
    needed = [path.read_bytes() for path in new.rglob("*") if path.is_file() and path not in unused]
    return Site(
        folder=folder,
        model=folder / model.relative_to(new),
        contract=contract,
        transfer=sum(map(len, needed)),
        compressed=sum(len(gzip.compress(content, 6)) for content in needed),
        webgpu=sum(path.stat().st_size for path in webgpu),
    )


def pinned_version() -> str:
    """Return the version of onnxruntime-web that the page needs."""
    package = json.loads((_HERE / "package.json").read_text(encoding="utf-8"))
    version: str = package["dependencies"]["onnxruntime-web"]
    return version


def install_onnxruntime_web() -> Path:
    """Return the folder `dist` of onnxruntime-web in the user's cache.

    If the package is not in the cache, npm downloads it. Its version and its checksum are pinned.

    Raises:
        WebError: npm is not installed, or it failed, or there is no folder for caches.
        OutputError: The cache can't be written.
    """
    cache = cache_folder()
    if cache is None:
        raise WebError(
            "there is no folder for onnxruntime-web, since HOME is not set",
            "set XDG_CACHE_HOME to a folder, or `onnxruntime_web` to the folder dist of the package",
        )
    package = cache / f"onnxruntime-web-{pinned_version()}"
    scripts = package / "node_modules" / "onnxruntime-web" / "dist"
    if scripts.is_dir():
        return scripts
    npm = shutil.which("npm")
    if npm is None:
        raise WebError(
            f"npm has to download onnxruntime-web {pinned_version()}, and npm is not installed",
            "install Node.js, or set `onnxruntime_web` to the folder dist of the package",
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(_HERE / name, Path(temporary) / name)
            _run_npm(npm, Path(temporary))
            new = Path(temporary) / "new"
            new.mkdir()
            (Path(temporary) / "node_modules").replace(new / "node_modules")
            if not scripts.is_dir():  # another process may have installed the package in the meantime
                new.replace(package)
    except OSError as error:
        raise OutputError(
            cache, system_reason(error), "choose another folder with XDG_CACHE_HOME."
        ) from error
    return scripts


def _run_npm(npm: str, folder: Path) -> None:
    # --ignore-scripts: npm does not run the packages' installation scripts. The page only needs files.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        result = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WebError(f"npm did not finish within {_NPM_TIMEOUT_S} s", _CHECK_NPM) from error
    if result.returncode:
        problem = first_line(RuntimeError(result.stderr or f"exit code {result.returncode}"))
        raise WebError(f"npm can't download onnxruntime-web: {problem}", _CHECK_NPM)
