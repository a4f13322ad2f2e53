"""What is written, and what is refused."""

from __future__ import annotations

import json
import os

import pytest

from ganport.runtime import BUNDLED, InputSpec
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import OutputError, UsageError, WebError
from ganport.runtime.latents import normal_table
from ganport.web import write_site
from ganport.web.site import pinned_version
from tests.conftest import failure
from tests.tiny_generator import DIM, tiny_contract, tiny_model

FILES = (
    *("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
)


@pytest.fixture
def scripts(tmp_path):
    """What stands for onnxruntime-web where nothing is drawn."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


def test_writes_all_that_the_page_needs(tiny_file, scripts, tmp_path):
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
    assert {path.name for path in site.folder.parent.iterdir()} == {"site"}  # no part of it is left beside it


def test_a_site_is_written_over_only_when_that_was_asked_for(tiny_file, scripts, tmp_path):
    folder = tmp_path / "site"
    write_site(tiny_file, folder, onnxruntime_web=scripts)
    (folder / "old").touch()
    with pytest.raises(UsageError, match="--overwrite"):
        write_site(tiny_file, folder, onnxruntime_web=scripts)
    assert (folder / "old").exists()
    write_site(tiny_file, folder, overwrite=True, onnxruntime_web=scripts)
    assert not (folder / "old").exists()


def test_a_link_to_a_folder_stays_one(tiny_file, scripts, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "served")
    write_site(tiny_file, tmp_path / "link", onnxruntime_web=scripts)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "served" / "index.html").exists()


def test_a_site_stays_where_the_new_one_can_not_take_its_place(tiny_file, scripts, tmp_path, monkeypatch):
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


def test_what_is_no_site_is_never_written_over(tiny_file, scripts, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="no site of ours"):
        write_site(tiny_file, tmp_path / "mine", overwrite=True, onnxruntime_web=scripts)
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("model", "due"),
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
            "another's",
        ),
    ],
    ids=["floats", "foreign"],
)
def test_models_that_the_page_cannot_draw(tmp_path, scripts, model, due):
    file = tmp_path / "x.onnx"
    file.write_bytes(model().SerializeToString())
    with pytest.raises(UsageError, match=due):
        write_site(file, tmp_path / "site", onnxruntime_web=scripts)
    assert not (tmp_path / "site").exists()


def test_a_folder_without_the_package(tiny_file, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WebError, match=f"ort.wasm.bundle.min.mjs; name the folder dist of onnxruntime-web {pinned_version()}"):
        write_site(tiny_file, tmp_path / "site", onnxruntime_web=tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_without_npm(tmp_path, ganport):
    result = ganport("web", BUNDLED["mnist"], PATH=os.defpath[:0], XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert "npm is not installed; install Node.js, or name the package's folder dist with --onnxruntime-web" in failure(result)
    assert not (tmp_path / "site").exists()


def test_the_lock_pins_by_checksum_and_names_no_host():
    from ganport.web import site

    lock = json.loads((site._HERE / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages["node_modules/onnxruntime-web"]["version"] == pinned_version()
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert not any("resolved" in each for each in packages.values())
