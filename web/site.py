"""Writing the site: the page, the generator, and onnxruntime-web in one folder."""

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
from ganport.runtime.errors import OutputError, UsageError, WebError, first_line, system_reason
from ganport.runtime.latents import normal_table

_HERE = Path(__file__).parent
_NPM_S = 300
_MARK = "model.json"  # a folder with it is a site, which may be written over
# By the name that worker.js asks for. The second pair is for WebGPU, and is downloaded where that is worth a trial.
_CPU_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_WEBGPU_FILES = ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm")


@dataclasses.dataclass(frozen=True)
class Site:
    """A site that was written.

    Attributes:
        folder: that a web server is to serve.
        contract: of the generator that it draws.
        transfer: bytes that a browser downloads to draw.
        compressed: the same from a server that compresses by gzip.
        webgpu: further bytes where WebGPU is tried.
    """

    folder: Path
    contract: Contract
    transfer: int
    compressed: int
    webgpu: int


def write_site(model: Path, folder: Path, overwrite: bool = False, onnxruntime_web: Path | None = None) -> Site:
    """Write a folder that any web server can serve.

    Args:
        model: of a contract with latents or seeds as its input and uint8 images.
        folder: to write; whole or not at all.
        overwrite: write over a site that is there.
        onnxruntime_web: the npm package's folder `dist`, where npm is not to be asked for it.

    Raises:
        UsageError: the model is of another kind, or there is something in `folder`.
        ModelError: as `Sampler`.
        WebError: npm is missing, or can't get the package.
        OutputError: the folder can't be written.
    """
    with Sampler(model) as sampler:
        contract = sampler.model
    _check(contract)
    folder = folder.resolve()  # what a link leads to is written, not the link
    _check_free(folder, overwrite)
    scripts = onnxruntime_web or install_onnxruntime_web()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "site"
            _assemble(made, model, contract, scripts)
            site = _measure(made, folder, contract)
            _exchange(made, folder, Path(temporary) / "old")
    except OSError as error:
        raise OutputError(folder, system_reason(error)) from error
    return site


def _exchange(made: Path, folder: Path, old: Path) -> None:
    """Put the new folder in the place of the old one, which stays where that fails."""
    if folder.exists():
        folder.replace(old)
    try:
        made.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise


def _check(contract: Contract) -> None:
    if not contract.created_by:
        raise UsageError("The page takes a file that ganport exported; this one is another's: ganport export FILE")
    if contract.input.kind == "fixed":
        raise UsageError("The file draws certain seeds only; the page takes one of any seed: ganport export --input latent")
    if contract.image.dtype != "uint8":
        raise UsageError("The file draws floats; the page takes one that draws pixels: ganport export --output uint8")


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _MARK).is_file():
        raise UsageError(f"There is something at {folder}, and no site of ours; name another place with --out.")
    if not overwrite:
        raise UsageError(f"There is a site at {folder}; write over it with --overwrite, or name another place with --out.")


def _assemble(made: Path, model: Path, contract: Contract, scripts: Path) -> None:
    shutil.copytree(_HERE / "page", made)
    (made / "onnxruntime").mkdir()
    for name in (*_CPU_FILES, *_WEBGPU_FILES):
        if not (scripts / name).is_file():
            raise WebError(f"{scripts} has no {name}", f"name the folder dist of onnxruntime-web {pinned_version()}")
        shutil.copyfile(scripts / name, made / "onnxruntime" / name)
    shutil.copyfile(model, made / "generator.onnx")
    (made / "normal.bin").write_bytes(normal_table().astype("<f4").tobytes())
    document = json.loads(contract.to_json())
    del document["golden"]  # it has a picture in it, which the page draws itself
    sizes = {"runtime": made / "onnxruntime" / _CPU_FILES[1], "model": made / "generator.onnx", "table": made / "normal.bin"}
    described = {"contract": document, "files": {name: path.stat().st_size for name, path in sizes.items()}}
    (made / _MARK).write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")


def _measure(made: Path, folder: Path, contract: Contract) -> Site:
    webgpu = {made / "onnxruntime" / name for name in _WEBGPU_FILES}
    needed = [path.read_bytes() for path in made.rglob("*") if path.is_file() and path not in webgpu]
    return Site(
        folder=folder,
        contract=contract,
        transfer=sum(map(len, needed)),
        compressed=sum(len(gzip.compress(content, 6)) for content in needed),
        webgpu=sum(path.stat().st_size for path in webgpu),
    )


def pinned_version() -> str:
    """Return the version of onnxruntime-web that the page was made for."""
    package = json.loads((_HERE / "package.json").read_text(encoding="utf-8"))
    version: str = package["dependencies"]["onnxruntime-web"]
    return version


def install_onnxruntime_web() -> Path:
    """Return the folder with the package's files; npm gets it once, at the pinned version and checksum.

    Raises:
        WebError: npm is missing, or failed.
        OutputError: the cache can't be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganport"
    home = cache / f"onnxruntime-web-{pinned_version()}"
    scripts = home / "node_modules" / "onnxruntime-web" / "dist"
    if scripts.is_dir():
        return scripts
    npm = shutil.which("npm")
    if npm is None:
        raise WebError(
            f"the page needs onnxruntime-web {pinned_version()}, which npm gets, and npm is not installed",
            "install Node.js, or name the package's folder dist with --onnxruntime-web",
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(_HERE / name, Path(temporary) / name)
            _run_npm(npm, Path(temporary))
            made = Path(temporary) / "made"
            made.mkdir()
            (Path(temporary) / "node_modules").replace(made / "node_modules")
            if not scripts.is_dir():  # another process may have been first
                made.replace(home)
    except OSError as error:
        raise OutputError(cache, system_reason(error), "name another place with XDG_CACHE_HOME.") from error
    return scripts


def _run_npm(npm: str, folder: Path) -> None:
    # No script of a package runs: the files are all that is wanted.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_NPM_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise WebError(f"npm has not answered for {_NPM_S} s", "see that npm reaches its registry, and try again") from error
    if result.returncode:
        problem = first_line(RuntimeError(result.stderr or f"it ends with {result.returncode}"))
        raise WebError(f"npm can't get onnxruntime-web: {problem}", "see that npm reaches its registry, and try again")
