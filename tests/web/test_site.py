"""Writing a site: its files, and the models and folders that are rejected."""

from __future__ import annotations

import json
import os

import pytest

from ganport.runtime import PRETRAINED, InputSpec
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.latents import normal_table
from ganport.web import write_site
from ganport.web.errors import WebError
from ganport.web.site import pinned_version
from tests.conftest import ROOT, failure
from tests.tiny_generator import DIM, tiny_contract, tiny_model

FILES = (
    *("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
)


@pytest.fixture
def scripts(tmp_path):
    """A folder with the file names of onnxruntime-web, for tests that open no page."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_pretrained_generator_is_selected_by_name(scripts, tmp_path):
    site = write_site("mnist", tmp_path / "site", onnxruntime_web=scripts)
    assert (site.folder / "generator.onnx").read_bytes() == PRETRAINED["mnist"].read_bytes()


def test_a_site_has_all_files_of_the_page(tiny_file, scripts, tmp_path):
    site = write_site(tiny_file, tmp_path / "a" / "site", onnxruntime_web=scripts)
    described = json.loads((site.folder / "model.json").read_text())
    assert described["contract"]["name"] == "tiny"
    assert "golden" not in described["contract"]
    assert described["files"]["model"] == tiny_file.stat().st_size
    assert (site.folder / "generator.onnx").read_bytes() == tiny_file.read_bytes()
    assert (site.folder / "normal.bin").read_bytes() == normal_table().astype("<f4").tobytes()
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert site.transfer + site.webgpu == sum(path.stat().st_size for path in files)
    assert 0 < site.compressed < site.transfer
    assert {path.name for path in site.folder.parent.iterdir()} == {"site"}  # no temporary files are left


def test_an_existing_site_is_replaced_only_with_overwrite(tiny_file, scripts, tmp_path):
    folder = tmp_path / "site"
    write_site(tiny_file, folder, onnxruntime_web=scripts)
    (folder / "old").touch()
    with pytest.raises(OutputError, match="replace it with `overwrite=True`, or choose another `out`"):
        write_site(tiny_file, folder, onnxruntime_web=scripts)
    assert (folder / "old").exists()
    write_site(tiny_file, folder, overwrite=True, onnxruntime_web=scripts)
    assert not (folder / "old").exists()


def test_a_symbolic_link_to_a_folder_is_kept(tiny_file, scripts, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "served")
    write_site(tiny_file, tmp_path / "link", onnxruntime_web=scripts)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "served" / "index.html").exists()


def test_an_existing_site_is_kept_if_the_replacement_fails(tiny_file, scripts, tmp_path, monkeypatch):
    folder = write_site(tiny_file, tmp_path / "site", onnxruntime_web=scripts).folder
    (folder / "old").touch()
    replace = type(tmp_path).replace

    def fail(path, target):
        if path.name == "site" and target == folder:
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(OutputError, match="input/output error"):
        write_site(tiny_file, folder, overwrite=True, onnxruntime_web=scripts)
    assert (folder / "old").exists()


def test_a_folder_that_is_not_a_site_is_never_replaced(tiny_file, scripts, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="is not a site of ganport; choose another `out`"):
        write_site(tiny_file, tmp_path / "mine", overwrite=True, onnxruntime_web=scripts)
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: tiny_model("float32"), "--output uint8"),
        (
            lambda: tiny_model(
                "uint8",
                metadata={
                    METADATA_KEY: tiny_contract(
                        dtype="uint8",
                        input=InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal"),
                        created_by="",
                    ).to_json()
                },
            ),
            "third-party model",
        ),
    ],
    ids=["float32", "third-party"],
)
def test_models_that_the_page_does_not_support_are_rejected(tmp_path, scripts, model, expected):
    file = tmp_path / "x.onnx"
    file.write_bytes(model().SerializeToString())
    with pytest.raises(UsageError, match=expected):
        write_site(file, tmp_path / "site", onnxruntime_web=scripts)
    assert not (tmp_path / "site").exists()


def test_a_folder_without_the_package_is_named(tiny_file, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WebError) as caught:
        write_site(tiny_file, tmp_path / "site", onnxruntime_web=tmp_path / "empty")
    assert f"{tmp_path / 'empty'} has no file ort.wasm.bundle.min.mjs" in str(caught.value)
    assert f"`onnxruntime_web` to the folder dist of onnxruntime-web {pinned_version()}" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_the_command_names_its_options(tiny_file, scripts, tmp_path, ganport):
    arguments = ["web", tiny_file, "-o", "site", "--onnxruntime-web", scripts]
    assert ganport(*arguments).returncode == 0
    line = failure(ganport(*arguments))
    assert line.endswith("replace it with --overwrite, or choose another --out.")
    assert ganport(*arguments, "--overwrite").returncode == 0
    line = failure(ganport("web", tiny_file, "-o", "other", "--onnxruntime-web", tmp_path))
    assert "set --onnxruntime-web to the folder dist" in line


def test_without_npm_the_command_names_its_option(tmp_path, ganport):
    cache = str(tmp_path / "cache")
    line = failure(ganport("web", PRETRAINED["mnist"], PATH=os.defpath[:0], XDG_CACHE_HOME=cache))
    assert "npm is not installed; install Node.js, or set --onnxruntime-web to the folder dist" in line
    assert not (tmp_path / "site").exists()


def test_without_a_home_folder_the_command_says_what_to_set(tmp_path, ganport):
    bare = {"XDG_CACHE_HOME": "", "HOME": "", "USERPROFILE": ""}
    line = failure(ganport("web", PRETRAINED["mnist"], **bare))
    assert "HOME is not set; set XDG_CACHE_HOME to a folder" in line
    assert not (tmp_path / "site").exists()


def test_the_lock_file_pins_by_checksum_and_names_no_host():
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages["node_modules/onnxruntime-web"]["version"] == pinned_version()
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert not any("resolved" in each for each in packages.values())
