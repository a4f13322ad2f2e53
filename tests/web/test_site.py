"""Writing a page or a module: its files, and the models and folders that are rejected."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import PRETRAINED, InputSpec
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import OutputError, UsageError
from ganport.web import write_module, write_site
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
    assert site.contract.name == "tiny"
    assert site.model == site.folder / "generator.onnx"
    assert (site.folder / "generator.onnx").read_bytes() == tiny_file.read_bytes()
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
        if path.name == "new" and target == folder:
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(OutputError, match="input/output error"):
        write_site(tiny_file, folder, overwrite=True, onnxruntime_web=scripts)
    assert (folder / "old").exists()


def test_what_a_killed_process_left_is_removed_after_an_hour(tiny_file, scripts, tmp_path):
    names = ".site.ab_d3f9h", ".site.young678", ".site.mine", ".sites.abcdefgh"
    for name in names:
        (tmp_path / name / "new").mkdir(parents=True)
        if name != ".site.young678":
            os.utime(tmp_path / name, (time.time() - 4_000,) * 2)
    write_site(tiny_file, tmp_path / "site", onnxruntime_web=scripts)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set(names[1:])


def test_a_folder_that_is_not_a_site_is_never_replaced(tiny_file, scripts, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="is not a site of ganport; choose another `out`"):
        write_site(tiny_file, tmp_path / "mine", overwrite=True, onnxruntime_web=scripts)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def model_file(folder, **changes):
    """A file with a contract that does not have to fit its graph."""
    file = folder / "x.onnx"
    contract = tiny_contract(dtype="uint8", **changes)
    file.write_bytes(tiny_model("uint8", metadata={METADATA_KEY: contract.to_json()}).SerializeToString())
    return file


@pytest.mark.parametrize("write", [write_site, write_module])
def test_third_party_models_are_rejected(tmp_path, scripts, write):
    file = model_file(tmp_path, created_by="")
    with pytest.raises(UsageError, match="third-party model"):
        write(file, tmp_path / "new", onnxruntime_web=scripts)
    assert not (tmp_path / "new").exists()


def fixed_model(folder):
    """A generator without an input."""
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    node = helper.make_node("Constant", [], ["image"], value=numpy_helper.from_array(images))
    output = helper.make_tensor_value_info("image", TensorProto.UINT8, images.shape)
    model = helper.make_model(
        helper.make_graph([node], "fixed", [], [output]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    spec = InputSpec(kind="fixed", name="", dim=DIM, distribution="normal", seeds=(5, 9))
    contract = tiny_contract(dtype="uint8", input=spec, batch=2)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    file = folder / "fixed.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def test_the_page_needs_any_seed_and_the_module_does_not(tmp_path, scripts):
    file = fixed_model(tmp_path)
    with pytest.raises(UsageError, match="--input latent"):
        write_site(file, tmp_path / "site", onnxruntime_web=scripts)
    assert not (tmp_path / "site").exists()
    module = write_module(file, tmp_path / "module", onnxruntime_web=scripts)
    assert "generator.sample(5); // ImageData, 4x3" in (module.folder / "README.md").read_text()


def test_float_images_need_no_other_export(tmp_path, scripts):
    file = tmp_path / "x.onnx"
    file.write_bytes(tiny_model("float32").SerializeToString())
    assert write_site(file, tmp_path / "site", onnxruntime_web=scripts).contract.image.dtype == "float32"


@pytest.mark.parametrize("write", [write_site, write_module])
def test_ort_files_are_rejected(tiny_file, scripts, tmp_path, write):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(tmp_path / "tiny.ort")
    onnxruntime.InferenceSession(tiny_file, options)
    with pytest.raises(UsageError, match=r"is an \.ort file, and browsers need the \.onnx file"):
        write(tmp_path / "tiny.ort", tmp_path / "new", onnxruntime_web=scripts)
    assert not (tmp_path / "new").exists()


def test_a_module_has_the_files_for_an_application(tiny_file, scripts, tmp_path):
    named = tmp_path / "my generator (2).onnx"
    named.write_bytes(tiny_file.read_bytes())
    module = write_module(named, tmp_path / "a" / "ganport", onnxruntime_web=scripts)
    assert module.model == module.folder / "my-generator-2.onnx"  # a name that needs no escape
    assert module.model.read_bytes() == tiny_file.read_bytes()
    names = {path.name for path in module.folder.iterdir()}
    assert names >= {"ganport.js", "ganport.d.ts", "worker.js", "onnxruntime", "README.md"}
    assert {path.name for path in (module.folder / "onnxruntime").iterdir()} == set(FILES)
    guide = (module.folder / "README.md").read_text()
    assert 'new URL("./my-generator-2.onnx", import.meta.url)' in guide
    assert "$" not in guide
    assert 0 < module.compressed < module.transfer


def test_an_existing_module_is_replaced_only_with_overwrite(tiny_file, scripts, tmp_path):
    folder = write_module(tiny_file, tmp_path / "ganport", onnxruntime_web=scripts).folder
    with pytest.raises(OutputError, match="the module exists there; replace it with `overwrite=True`"):
        write_module(tiny_file, folder, onnxruntime_web=scripts)
    write_module("mnist", folder, overwrite=True, onnxruntime_web=scripts)
    assert [path.name for path in folder.glob("*.onnx")] == ["mnist.onnx"]


def test_files_of_an_application_are_never_lost(tiny_file, scripts, tmp_path):
    folder = write_module(tiny_file, tmp_path / "ganport", onnxruntime_web=scripts).folder
    (folder / "app.js").touch()
    with pytest.raises(OutputError, match=r"it also holds app\.js; move these files elsewhere"):
        write_module(tiny_file, folder, overwrite=True, onnxruntime_web=scripts)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.js").touch()
    with pytest.raises(OutputError, match="is not a folder of ganport's module; choose another folder"):
        write_module(tiny_file, tmp_path / "src", overwrite=True, onnxruntime_web=scripts)
    assert (folder / "app.js").exists()
    assert (tmp_path / "src" / "main.js").exists()


def test_an_older_site_is_replaced_with_overwrite(tiny_file, scripts, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "model.json").touch()
    write_site(tiny_file, tmp_path / "site", overwrite=True, onnxruntime_web=scripts)
    assert not (tmp_path / "site" / "model.json").exists()


def test_the_command_writes_a_module(tiny_file, scripts, tmp_path, ganport):
    arguments = ["web", tiny_file, "--module", "lib", "--onnxruntime-web", scripts]
    result = ganport(*arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("lib: tiny, ")
    assert result.stdout.endswith(f"How to use it: {Path('lib') / 'README.md'}\n")
    assert (tmp_path / "lib" / "ganport.js").exists()
    assert not (tmp_path / "site").exists()
    assert failure(ganport(*arguments)).endswith("replace it with --overwrite, or choose another folder.")
    line = failure(ganport(*arguments, "--out", "site"), 2)
    assert line == "error: --out writes a page and --module writes a module; give one of them."


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
