"""write_site: writes the page, the generator and onnxruntime-web into one folder."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ganport.runtime import Contract, Sampler
from ganport.runtime.display import first_line, system_reason
from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.files import cache_folder
from ganport.runtime.latents import normal_table
from ganport.runtime.model_file import resolve_model

from .errors import WebError

_HERE = Path(__file__).parent
_NPM_TIMEOUT_S = 300
_DESCRIPTION = "model.json"  # a folder that contains this file is a site of ganport
# Each pair is a script and a binary of onnxruntime-web that worker.js loads. Browsers download the second
# pair only if they try WebGPU.
_CPU_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_WEBGPU_FILES = ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm")
_CHECK_NPM = "check that npm reaches its registry, and try again"


@dataclasses.dataclass(frozen=True)
class Site:
    """A browser page that `write_site` wrote.

    Attributes:
        folder: Folder that a web server can serve.
        contract: Contract of the generator.
        transfer: Number of bytes that a browser downloads if it does not try WebGPU.
        compressed: Number of bytes of the same downloads if the server compresses them with gzip.
        webgpu: Number of further bytes that a browser downloads if it tries WebGPU.
    """

    folder: Path
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
        model: Path of an .onnx file that `ganport export` wrote, with latents or seeds as its input and uint8
            images; or the name of a pretrained generator.
        out: Folder to write.
        overwrite: Whether an existing site may be replaced.
        onnxruntime_web: Folder `dist` of the npm package onnxruntime-web. By default npm downloads the
            package once, into the user's cache.

    Raises:
        UsageError: The model does not have the required input or output.
        ModelError: Raised by `Sampler`.
        WebError: npm is not installed or can't download the package, or `onnxruntime_web` lacks a file.
        OutputError: The folder can't be written, or it exists and may not be replaced.
    """
    path = resolve_model(model)
    with Sampler(path) as sampler:
        contract = sampler.contract
    _check_contract(contract)
    folder = Path(out).resolve()  # if `out` is a symbolic link, its target is replaced and the link stays
    _check_free(folder, overwrite=overwrite)
    scripts = install_onnxruntime_web() if onnxruntime_web is None else Path(onnxruntime_web)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            new = Path(temporary) / "site"
            _assemble(new, path, contract, scripts)
            site = _measure(new, folder, contract)
            _replace(folder, new, Path(temporary) / "old")
    except OSError as error:
        raise OutputError(folder, system_reason(error)) from error
    return site


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


def _check_contract(contract: Contract) -> None:
    if not contract.created_by:
        raise UsageError(
            "This is a third-party model, and the page needs one that ganport exported; create it with: "
            "ganport export FILE"
        )
    if contract.input.kind == "fixed":
        raise UsageError(
            "This model has fixed seeds, and the page needs one that takes any seed; create it with: "
            "ganport export --input latent"
        )
    if contract.image.dtype != "uint8":
        raise UsageError(
            f"This model's images are {contract.image.dtype}, and the page needs uint8; create it with: "
            "ganport export --output uint8"
        )


def _check_free(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _DESCRIPTION).is_file():
        raise OutputError(folder, "it exists and is not a site of ganport")
    if not overwrite:
        remedy = "replace it with `overwrite=True`, or choose another `out`."
        raise OutputError(folder, "a site exists there", remedy)


def _assemble(site: Path, model: Path, contract: Contract, scripts: Path) -> None:
    """Write all files of the site."""
    shutil.copytree(_HERE / "page", site)
    (site / "onnxruntime").mkdir()
    for name in (*_CPU_FILES, *_WEBGPU_FILES):
        if not (scripts / name).is_file():
            remedy = f"set `onnxruntime_web` to the folder dist of onnxruntime-web {pinned_version()}"
            raise WebError(f"{scripts} has no file {name}", remedy)
        shutil.copyfile(scripts / name, site / "onnxruntime" / name)
    shutil.copyfile(model, site / "generator.onnx")
    (site / "normal.bin").write_bytes(normal_table().astype("<f4").tobytes())
    document = contract.to_dict()
    del document["golden"]  # the golden images are large, and only needed to verify the file
    downloads = {
        "runtime": site / "onnxruntime" / _CPU_FILES[1],
        "model": site / "generator.onnx",
        "table": site / "normal.bin",
    }
    description = {
        "contract": document,
        "files": {name: path.stat().st_size for name, path in downloads.items()},
    }
    (site / _DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def _measure(site: Path, folder: Path, contract: Contract) -> Site:
    """Return the `Site` for the files in the temporary folder `site`, which later moves to `folder`."""
    webgpu = {site / "onnxruntime" / name for name in _WEBGPU_FILES}
    needed = [path.read_bytes() for path in site.rglob("*") if path.is_file() and path not in webgpu]
    return Site(
        folder=folder,
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
