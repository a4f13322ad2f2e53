"""The JavaScript module in a real Chromium: it generates the pixels of the runtime, and names mistakes."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.export.input_stages import add_seed_input
from ganport.runtime import PRETRAINED, InputSpec, Sampler, sample_latents
from ganport.runtime.contract import METADATA_KEY
from tests.conftest import ROOT
from tests.tiny_generator import DIM, SHAPE, tiny_contract, tiny_model, tiny_weights
from tests.web.conftest import missing
from tests.web.test_page import assert_same, pixels, wait_until
from tests.web.test_site import fixed_model

STRICT = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'"
}
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
# Functions for the code that tests run in a page: RGBA pixels as base64, and the outcome of a promise.
PRELUDE = """
    const { Generator, GanportError, latents } = await import("./ganport/ganport.js");
    const packed = (images) => images.map(({ data, width, height }) => {
        let text = "";
        for (const byte of data) text += String.fromCharCode(byte);
        return [width, height, btoa(text)];
    });
    const decoded = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const outcome = async (run) => {
        try { await run(); return "done"; }
        catch (error) { return `${error.name} ${error.code}: ${error.message}`; }
    };
"""


@pytest.fixture(scope="module")
def sampler():
    with Sampler(PRETRAINED["mnist"]) as sampler:
        yield sampler


@pytest.fixture
def run(open_page, serve, application):
    """A function that runs JavaScript in an empty page beside the module, and returns the result."""

    def run(code, argument=None, folder=application, page="empty.html", **options):
        opened = open_page(serve(folder, **options) + page, wait=False)
        work = f"async (argument) => {{ {PRELUDE} {code} }}"
        limit = (
            "new Promise((_, reject) => setTimeout(() => reject(new Error('no answer in 120 s')), 120_000))"
        )
        return opened.evaluate(f"(argument) => Promise.race([({work})(argument), {limit}])", argument)

    return run


def encoded(content):
    return base64.b64encode(content).decode()


def unpacked(images):
    """The RGBA pixels that a page packed, uint8 (n, height, width, 4)."""
    found = [
        np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        for width, height, data in images
    ]
    return np.stack(found)


def grey(images):
    rgba = unpacked(images)
    assert (rgba[..., 3] == 255).all()
    assert (rgba[..., :1] == rgba[..., :3]).all()
    return rgba[..., :1]


SIZES = pytest.mark.parametrize("size", [(1280, 800), (360, 740)], ids=["desktop", "phone"])


@SIZES
def test_the_example_without_a_build_shows_the_pixels_of_the_runtime(
    open_page, serve, application, sampler, size
):
    viewport = {"width": size[0], "height": size[1]}
    page = open_page(serve(application), wait=False, viewport=viewport)
    wait_until(page, "document.querySelector('#status').textContent === 'Done'")
    assert_same(pixels(page, "#images canvas"), sampler.sample(range(12)))
    *_, last = sampler.walk([0, 1, 2], frames=15)
    assert np.abs(pixels(page, "#walk")[0].astype(int) - last[-1]).max() <= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.fill("#seed", "100")
    page.select_option("#label", "7")
    page.click("button")
    wait_until(page, "document.querySelector('#images canvas').title === 'Seed 100'")
    assert_same(pixels(page, "#images canvas"), sampler.sample(range(100, 112), labels="7"))


@pytest.fixture(scope="module")
def vite_site(application, tmp_path_factory):
    """The example of Vite, installed from its lock file, with its types checked, and built."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm")
    folder = tmp_path_factory.mktemp("vite") / "example"
    shutil.copytree(
        ROOT / "examples/vite", folder, ignore=shutil.ignore_patterns("node_modules", "dist", "ganport")
    )
    shutil.copytree(application / "ganport", folder / "src/ganport")
    shutil.copy(ROOT / "tests/web/module_types.ts", folder / "src")
    for command in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        result = subprocess.run([npm, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder / "dist"


@pytest.mark.slow
@SIZES
def test_the_vite_example_shows_the_pixels_of_the_runtime(open_page, serve, vite_site, sampler, size):
    viewport = {"width": size[0], "height": size[1]}
    page = open_page(serve(vite_site), wait=False, viewport=viewport)
    for name in ("Ada", "Grace"):
        before = page.evaluate("document.querySelector('#avatar').dataset.seed")
        page.fill("#name", name)
        wait_until(page, f"![undefined, '{before}'].includes(document.querySelector('#avatar').dataset.seed)")
        seed = int(page.evaluate("document.querySelector('#avatar').dataset.seed"))
        assert_same(pixels(page, "#avatar"), sampler.sample([seed]))
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.slow
def test_a_bundler_finds_every_file(vite_site):
    names = " ".join(path.name for path in (vite_site / "assets").iterdir())
    for name in (
        "worker",
        "mnist",
        "ort.wasm.bundle.min",
        "ort-wasm-simd-threaded.jspi",
        "ort.jspi.bundle.min",
    ):
        assert f"{name}-" in names


def test_a_strict_policy_is_enough(run, sampler):
    code = """
        const violations = [];
        const note = ({ violatedDirective }) => violations.push(violatedDirective);
        document.addEventListener("securitypolicyviolation", note);
        const eval_ = await outcome(() => (0, eval)("1"));
        const generator = await Generator.load("ganport/mnist.onnx");
        const frames = [];
        for await (const frame of generator.walk([3, 8], 24)) frames.push(frame);
        const some = await generator.sampleBatch([1, 2n ** 53n + 1n]);
        const images = [await generator.sample(7), ...some, ...frames];
        return [eval_, violations, packed(images)];
    """
    eval_, violations, images = run(code, page="strict.html", headers=STRICT)
    assert eval_.startswith("EvalError")  # the policy is in force
    assert violations == ["script-src"]
    assert_same(grey(images[:3]), sampler.sample([7, 1, 2**53 + 1]))
    walk = np.concatenate(list(sampler.walk([3, 8], frames=24)))
    assert np.abs(grey(images[3:]).astype(int) - walk).max() <= 1


def test_the_page_stays_responsive_while_500_images_are_generated(run):
    """Chromium reports tasks of 50 ms and more. On a busy machine a task may wait for a core: six rounds."""
    code = """
        const generator = await Generator.load("ganport/mnist.onnx", { provider: "wasm" });
        const paint = (image) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
            canvas.getContext("2d").putImageData(image, 0, 0);
            document.body.append(canvas);
        };
        const tasks = [];
        new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({ type: "longtask" });
        const rounds = [];
        for (let round = 0; round < 6 && rounds.at(-1) !== 0; round++) {
            tasks.length = 0;
            document.body.replaceChildren();
            const all = generator.sampleBatch(Array.from({ length: 500 }, (_, seed) => seed));
            for (let seed = 0; seed < 500; seed++) paint(await generator.sample(seed));
            await all;
            await new Promise((resolve) => setTimeout(resolve, 100)); // until the observer has seen all tasks
            rounds.push(Math.max(0, ...tasks.map(({ duration }) => duration)));
        }
        return [rounds, document.querySelectorAll("canvas").length];
    """
    rounds, count = run(code)
    print(rounds)
    assert count == 500
    assert rounds[-1] == 0


def test_seeds_labels_and_truncation_are_those_of_python(run, sampler):
    code = """
        const generator = await Generator.load("ganport/mnist.onnx");
        const seeds = Array.from({ length: 130 }, (_, seed) => seed);
        const walk = [];
        const frames = generator.walk([3, 8, 21n], 7, { label: "4", loop: false });
        for await (const frame of frames) walk.push(frame);
        const { width, height, provider, labels, description } = generator;
        const result = {
            facts: [width, height, provider, labels, description.name],
            defaults: packed(await generator.sampleBatch(seeds)),
            name: packed([await generator.sample(5, { label: "7" })]),
            index: packed([await generator.sample(5, { label: 7, truncation: 0.5 })]),
            list: packed(await generator.sampleBatch(new Set([1, 2]), { label: ["3", 9] })),
            walk: packed(walk),
            large: packed([await generator.sample(2n ** 63n - 1n)]),
            latents: [...latents(42, 100), ...latents(3n, 5, "uniform")],
        };
        generator.close();
        return result;
    """
    found = run(code)
    labels = list(sampler.contract.input.labels)
    assert found["facts"] == [28, 28, "wasm", labels, "mnist-conditional"]
    assert_same(grey(found["defaults"]), sampler.sample(range(130)))
    assert_same(grey(found["name"]), sampler.sample([5], labels="7"))
    assert_same(grey(found["index"]), sampler.sample([5], labels="7", truncation=0.5))
    assert_same(grey(found["list"]), sampler.sample([1, 2], labels=["3", "9"]))
    assert_same(grey(found["large"]), sampler.sample([2**63 - 1]))
    walk = np.concatenate(list(sampler.walk([3, 8, 21], frames=7, labels="4", loop=False)))
    assert np.abs(grey(found["walk"]).astype(int) - walk).max() <= 1
    expected = [
        *sample_latents(np.array([42]), 100)[0],
        *sample_latents(np.array([3]), 5, distribution="uniform")[0],
    ]
    assert found["latents"] == [float(value) for value in expected]


def changed_model(
    *, shape=SHAPE, channels_first=False, one_hot=False, batch=None, dtype="float32", kind="latent"
):
    """The tiny generator in another form, with a contract that fits. `shape` has 12 values."""
    source = InputSpec(
        kind=kind,
        name="seed" if kind == "seed" else "latent",
        dim=DIM,
        distribution="normal",
        labels=("a", "b", "c") if one_hot else None,
        label_encoding="one-hot" if one_hot else "index",
    )
    height, width, channels = shape
    model = tiny_model(dtype, batch=batch, metadata={})
    graph = model.graph
    (target,) = (tensor for tensor in graph.initializer if tensor.name == "shape")
    target.CopyFrom(numpy_helper.from_array(np.array([-1, *shape]), "shape"))
    if one_hot:
        weights = np.random.default_rng(8).standard_normal((3, 12)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weights, "label_weights"))
        graph.input.append(helper.make_tensor_value_info("label", TensorProto.FLOAT, [batch or "batch", 3]))
        graph.node[0].input[2] = "label_part"
        graph.node.insert(0, helper.make_node("Gemm", ["label", "label_weights", "bias"], ["label_part"]))
    if channels_first:
        graph.node[-1].output[0] = "channels_last"
        graph.node.append(helper.make_node("Transpose", ["channels_last"], ["image"], perm=[0, 3, 1, 2]))
    sizes = (channels, height, width) if channels_first else shape
    output = helper.make_tensor_value_info(
        "image", graph.output[0].type.tensor_type.elem_type, [batch or "batch", *sizes]
    )
    graph.output[0].CopyFrom(output)
    contract = tiny_contract(dtype=dtype, batch=batch, input=source)
    image = dataclasses.replace(
        contract.image,
        height=height,
        width=width,
        channels=channels,
        layout="NCHW" if channels_first else "NHWC",
    )
    if kind == "seed":
        model = add_seed_input(model)
    contract = dataclasses.replace(contract, image=image)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return model.SerializeToString()


FORMS = {
    "float": {},
    "float, colour, channels first": {"shape": (2, 2, 3), "channels_first": True},
    "uint8, colour, channels first": {"shape": (2, 2, 3), "channels_first": True, "dtype": "uint8"},
    "uint8, colour and alpha": {"shape": (3, 1, 4), "dtype": "uint8"},
    "batch of 3": {"batch": 3, "dtype": "uint8"},
    "portable": {"one_hot": True, "channels_first": True, "batch": 1},
    "seeds": {"kind": "seed", "dtype": "uint8"},
}


def test_every_form_of_a_file_gives_the_images_of_the_runtime(run):
    code = """
        const results = {};
        for (const [form, content] of Object.entries(argument)) {
            const generator = await Generator.load(decoded(content));
            results[form] = [
                packed(await generator.sampleBatch([0, 1, 2, 3, 2n ** 60n])),
                await outcome(() => generator.walk([1, 2]).next()),
                await outcome(() => generator.sample(1, { truncation: 0.5 })),
            ];
            generator.close();
        }
        return results;
    """
    contents = {form: changed_model(**changes) for form, changes in FORMS.items()}
    found = run(code, {form: encoded(content) for form, content in contents.items()})
    for form, (images, walk, truncated) in found.items():
        with Sampler(contents[form]) as sampler:
            expected = sampler.sample([0, 1, 2, 3, 2**60])
        shown = grey(images) if expected.shape[3] == 1 else unpacked(images)[..., : expected.shape[3]]
        assert np.abs(shown.astype(int) - expected).max() <= 1, form
        if form == "seeds":
            assert "so it has no walk; export it with: ganport export --input latent" in walk
            assert "so it has no truncation" in truncated
        else:
            assert walk == truncated == "done", form


def test_a_file_with_fixed_seeds_gives_its_images(run, tmp_path):
    file = fixed_model(tmp_path)
    code = """
        const generator = await Generator.load(decoded(argument));
        return [packed(await generator.sampleBatch([9, 5, 9])), await outcome(() => generator.sample(7))];
    """
    images, other = run(code, encoded(file.read_bytes()))
    with Sampler(file) as sampler:
        assert (grey(images) == sampler.sample([9, 5, 9])).all()
    assert other == "GanportError usage: the seed is 7, and this generator has the seeds [5,9] only."


def test_a_model_is_loaded_from_bytes_and_from_another_base(run):
    code = """
        const bytes = await (await fetch("ganport/mnist.onnx")).arrayBuffer();
        const base = new URL("ganport", location.href);
        const first = await Generator.load(bytes, { base });
        const second = await Generator.load(new Uint8Array(bytes), { base: "./ganport/" });
        return [packed([await first.sample(1)]), packed([await second.sample(1)]), bytes.byteLength];
    """
    first, second, size = run(code)
    assert first == second
    assert size == PRETRAINED["mnist"].stat().st_size  # the given bytes still belong to the page


@pytest.mark.parametrize("compress", [False, True])
def test_the_progress_counts_bytes(run, application, compress):
    code = """
        const events = [];
        await Generator.load("ganport/mnist.onnx", { progress: (event) => events.push(event) });
        return events;
    """
    events = run(code, compress=compress)
    binary = application / "ganport/onnxruntime/ort-wasm-simd-threaded.wasm"
    expected = binary.stat().st_size + PRETRAINED["mnist"].stat().st_size
    assert events[-1] == {"loaded": expected, "total": None if compress else expected}
    loaded = [event["loaded"] for event in events]
    assert loaded == sorted(loaded)


def test_the_module_knows_the_sizes_of_onnxruntime(application):
    source = (ROOT / "web/page/ganport/ganport.js").read_text()
    found = re.findall(r'binary: at\("([\w.-]+)".*?size: (\d+)', source, re.DOTALL)
    assert len(found) == 2
    for name, size in found:
        assert (application / "ganport/onnxruntime" / name).stat().st_size == int(size)


def test_requests_and_loading_can_be_cancelled(run, sampler):
    code = """
        const address = "ganport/mnist.onnx", loading = new AbortController();
        const options = { signal: loading.signal, progress: () => loading.abort() };
        const results = [await outcome(() => Generator.load(address, options))];
        results.push(await outcome(() => Generator.load(address, { signal: AbortSignal.abort() })));
        const generator = await Generator.load(address);
        const controller = new AbortController(), { signal } = controller;
        const many = generator.sampleBatch(Array.from({ length: 5000 }, (_, seed) => seed), { signal });
        const waiting = generator.sampleBatch([1, 2], { signal });
        const walk = (async () => { for await (const frame of generator.walk([1, 2], 500, { signal })); })();
        setTimeout(() => controller.abort(), 20);
        results.push(...(await Promise.all([many, waiting, walk].map((each) => outcome(() => each)))));
        const reason = new Error("enough");
        results.push(await outcome(() => generator.sample(1, { signal: AbortSignal.abort(reason) })));
        for await (const frame of generator.walk([1, 2], 500)) break;
        const after = packed([await generator.sample(3)]); // the generator still works
        const last = generator.sampleBatch([1, 2, 3]);
        generator.close();
        generator.close();
        results.push(await outcome(() => last), await outcome(() => generator.sample(1)));
        return [results, after];
    """
    results, after = run(code)
    assert [result.split(":")[0] for result in results[:5]] == ["AbortError 20"] * 5
    assert results[5] == "Error undefined: enough"
    assert results[6:] == ["GanportError closed: The generator is closed; load it again."] * 2
    assert_same(grey(after), sampler.sample([3]))


def test_mistakes_are_named(run):
    mistakes = {
        "generator.sample(-1)": "the seed is -1; it must be a whole number from 0 to 2^63 - 1.",
        "generator.sample(0.5)": "the seed is 0.5; it must be",
        "generator.sample('7')": 'the seed is "7"; it must be',
        "generator.sample()": "the seed is missing; it must be",
        "generator.sample(2 ** 53)": "from 0 to 2^63 - 1, above 2^53 as a BigInt such as 7n.",
        "generator.sample(2n ** 63n)": "the seed is 9223372036854775808n; it must be",
        "generator.sampleBatch(5)": "seeds is 5; it must be a list of seeds.",
        "generator.sampleBatch([])": "seeds is empty; give one or more seeds.",
        "generator.sample(1, { label: 'x' })": 'label is "x"; it must be one of ["0","1",',
        "generator.sample(1, { label: 10 })": "label is 10; it must be one of",
        "generator.sampleBatch([1, 2], { label: [1] })": "label has 1 entries for 2 images; give one",
        "generator.sample(1, { truncation: 2 })": "truncation is 2; it must be a number from 0 to 1.",
        "generator.walk([1]).next()": "seeds has 1 entries; a walk needs two or more seeds.",
        "generator.walk([1, 2], 0).next()": "frames is 0; it must be a whole number from 1 to 100,000.",
        "latents(1, 0)": "dim is 0; it must be a whole number from 1 to 65,536.",
        "latents(1, 5, 'gamma')": 'distribution is "gamma"; it must be one of: normal, uniform, uniform01.',
        "Generator.load(7)": "the model is 7; it must be an address, or the bytes of an .onnx file.",
        "Generator.load('x.onnx', { provider: 'cuda' })": 'provider is "cuda"; it must be one of: auto, ',
        "Generator.load('x.onnx', { threads: 0 })": "threads is 0; it must be a whole number from 1",
        "Generator.load('http://')": 'the model is "http://"; it must be an address.',
    }
    calls = ", ".join(f"await outcome(() => {call})" for call in mistakes)
    found = run(f'const generator = await Generator.load("ganport/mnist.onnx"); return [{calls}]')
    for call, line, expected in zip(mistakes, found, mistakes.values(), strict=True):
        assert line.startswith("GanportError usage: "), call
        assert expected in line, call


def test_providers_and_threads_are_never_replaced_silently(run, sampler):
    code = """
        const results = [await outcome(() => Generator.load("ganport/mnist.onnx", { provider: "webgpu" }))];
        results.push(await outcome(() => Generator.load("ganport/mnist.onnx", { threads: 2 })));
        return results;
    """
    webgpu, threads = run(code)
    assert webgpu.startswith("GanportError provider: WebGPU is not available: ")
    assert webgpu.endswith('use the provider "auto" or "wasm".')
    assert "send the headers Cross-Origin-Opener-Policy: same-origin and" in threads
    code = """
        const generator = await Generator.load("ganport/mnist.onnx", { threads: 2 });
        return packed(await generator.sampleBatch([1, 2]));
    """
    assert_same(grey(run(code, headers=ISOLATED)), sampler.sample([1, 2]))


def test_missing_and_forbidden_files_are_named(browser, serve, application, tmp_path):
    """These pages have errors in their console, so they are not opened with `open_page`."""
    shutil.copytree(application / "ganport", tmp_path / "ganport", ignore=shutil.ignore_patterns("*.wasm"))
    (tmp_path / "empty.html").write_text('<link rel="icon" href="data:," />')
    code = f"""async (path) => {{ {PRELUDE}
        return outcome(() => Generator.load(path)) }}"""
    page = browser.new_page()
    page.goto(f"{serve(application)}empty.html")
    line = page.evaluate(code, "lost.onnx")
    assert re.search(
        r"download: http://\S+/lost.onnx can't be loaded \(HTTP status 404\); check the address", line
    )
    line = page.evaluate(code, "empty.html")
    assert "it is a web page, which many servers send for a wrong address; check the address" in line
    page.goto(f"{serve(tmp_path)}empty.html")
    line = page.evaluate(code, "ganport/mnist.onnx")
    assert "onnxruntime/ort-wasm-simd-threaded.wasm can't be loaded (HTTP status 404)" in line
    page.goto(serve(application, {"Content-Security-Policy": "worker-src 'none'"}) + "empty.html")
    line = page.evaluate(code, "ganport/mnist.onnx")
    assert re.match("GanportError download: .*(worker.js|The worker) can't be started", line)
    page.close()


def altered(**changes):
    """The contract of the tiny model with other fields; a value of None removes a field."""
    document = tiny_contract(dtype="uint8").to_dict()
    for path, value in changes.items():
        *parents, name = path.split("__")
        part = document
        for parent in parents:
            part = part[parent]
        if value is None:
            del part[name]
        else:
            part[name] = value
    return tiny_model("uint8", metadata={METADATA_KEY: json.dumps(document)}).SerializeToString()


def twice():
    model = tiny_model("uint8")
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, "{}"
    return model.SerializeToString()


DAMAGED = {
    "empty": (lambda: b"", "the file is empty"),
    "web page": (lambda: b"<!doctype html>", "it is a web page"),
    "LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer"),
    "ort": (lambda: b"\x18\0\0\0ORTM" + bytes(60), "it is an .ort file; give the .onnx file"),
    "text": (lambda: b"hello, this is not a model", "damaged, or it is not an ONNX file"),
    "cut": (lambda: tiny_model("uint8").SerializeToString()[:-40], "damaged, or it is not an ONNX file"),
    "huge length": (lambda: b"\x72\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
    "endless number": (lambda: b"\x08" + b"\xff" * 40, "damaged"),
    "third-party": (
        lambda: tiny_model(metadata={}).SerializeToString(),
        "create a file that has one with: ganport export",
    ),
    "two descriptions": (twice, "it has two descriptions"),
    "not JSON": (
        lambda: tiny_model(metadata={METADATA_KEY: "{"}).SerializeToString(),
        "its description is not JSON",
    ),
    "list": (lambda: tiny_model(metadata={METADATA_KEY: "[]"}).SerializeToString(), "is not a JSON object"),
    "newer": (
        lambda: altered(format=99),
        "format 99, and this module reads up to 4; install a newer ganport",
    ),
    "no format": (lambda: altered(format=None), "has format missing, and expected is"),
    "huge image": (
        lambda: altered(image__width=10**9),
        "has image.width 1000000000, and expected is a whole number",
    ),
    "no dim": (lambda: altered(input__dim=None), "has input.dim missing"),
    "text as dim": (lambda: altered(input__dim="5"), 'has input.dim "5", and expected is'),
    "input is a list": (lambda: altered(input=[]), "has input [], and expected is an object"),
    "prototype": (lambda: altered(input__kind="__proto__"), 'has input.kind "__proto__"'),
    "same labels": (lambda: altered(input__labels=["a", "a"]), "expected is two or more different names"),
    "batch": (lambda: altered(batch=0), "has batch 0"),
}


def test_damaged_files_are_named(described):
    lines = described([make() for make, _ in DAMAGED.values()])
    for case, line, (_, expected) in zip(DAMAGED, lines, DAMAGED.values(), strict=True):
        assert line.startswith("GanportError model: This is not a generator that this module can open: "), (
            case
        )
        assert expected in line, case


@pytest.fixture
def described(tmp_path):
    """A function that reads descriptions in Node.js, and returns the name of each generator or the error."""
    node = shutil.which("node")
    if node is None:
        missing("Node.js")
    script = tmp_path / "read.mjs"
    module = json.dumps((ROOT / "web/page/ganport/description.js").as_uri())
    script.write_text(f"""
        import {{ readFileSync }} from "node:fs";
        const {{ readDescription }} = await import({module});
        const lines = JSON.parse(readFileSync(0)).map((content) => {{
            try {{ return readDescription(Buffer.from(content, "base64")).name; }}
            catch (error) {{ return `${{error.name}} ${{error.code}}: ${{error.message}}`; }}
        }});
        console.log(JSON.stringify(lines));
    """)

    def described(contents):
        text = json.dumps([encoded(content) for content in contents])
        result = subprocess.run(
            [node, str(script)], input=text, capture_output=True, text=True, check=False, timeout=60
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return described


def test_no_damage_gives_another_error(described):
    """Bytes at random places of a file are changed, removed or added: a name or a clear error comes back."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(2000):
        damaged = bytearray(altered())
        for _ in range(rng.integers(1, 4)):
            position = int(rng.integers(len(damaged)))
            choice = rng.integers(3)
            if choice == 0:
                damaged[position] = int(rng.integers(256))
            elif choice == 1:
                del damaged[position : position + int(rng.integers(1, 9))]
            else:
                damaged[position:position] = rng.bytes(int(rng.integers(1, 9)))
        contents.append(bytes(damaged))
    lines = described(contents)
    errors = [line for line in lines if line.startswith("GanportError model: ")]
    others = [line for line in lines if "Error" in line and line not in errors]
    assert not others
    assert 100 < len(errors) < 2000


def test_the_description_is_read_without_the_golden_images(run):
    found = run('return (await Generator.load("ganport/mnist.onnx")).description;')
    with Sampler(PRETRAINED["mnist"]) as sampler:
        expected = sampler.contract.to_dict()
    del expected["golden"]
    assert found == json.loads(json.dumps(expected))


MISMATCHES = [
    (altered(input__dim=6), "the graph's latent is float32 [batch,5], and the description's is float32"),
    (altered(input__name="z"), "the graph's inputs are latent, and the description's are z"),
    (altered(image__name="pixels"), 'the graph has no output "pixels"'),
    (altered(image__width=5), "the graph's image is uint8 [batch,3,4,1], and the description's is uint8"),
    (altered(image__dtype="float32"), "and the description's is float32"),
    (altered(input__labels=["a", "b"], format=2), "the description's are latent, label"),
]


def test_a_description_of_another_graph_is_named(run):
    code = """
        const lines = [];
        for (const content of argument) lines.push(await outcome(() => Generator.load(decoded(content))));
        return lines;
    """
    lines = run(code, [encoded(content) for content, _ in MISMATCHES])
    for line, (_, expected) in zip(lines, MISMATCHES, strict=True):
        assert line.startswith("GanportError model: The file's description does not belong to its graph: ")
        assert expected in line
        assert line.endswith("; export the generator again.")


def test_values_that_are_not_finite_are_an_error(run):
    model = tiny_model("float32")
    kernel, _ = tiny_weights()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full_like(kernel, np.nan), "kernel"))
    code = """
        const generator = await Generator.load(decoded(argument));
        return outcome(() => generator.sample(1));
    """
    line = run(code, encoded(model.SerializeToString()))
    assert line.startswith("GanportError runtime: The images can't be generated: ")
    assert "NaN or infinite" in line


def test_the_table_of_normal_latents_does_not_depend_on_the_engine():
    """JavaScript engines may round a logarithm differently. No quantile is near a border of float32."""
    import statistics

    ranks = [0.5 + (k + 0.5) / 8192 for k in range(4096)]
    exact = np.array([statistics.NormalDist().inv_cdf(rank) for rank in ranks])
    nearest = exact.astype(np.float32)
    borders = [(nearest.astype(float) + np.nextafter(nearest, np.float32(side))) / 2 for side in (-9, 9)]
    distance = np.minimum(*(np.abs(border - exact) for border in borders)) / exact
    assert distance.min() > 1000 * np.finfo(float).eps


@pytest.mark.slow
def test_webgpu_gives_the_images_of_the_runtime(playwright_browser, serve, application, sampler):
    """On a GPU that Chromium emulates."""
    browser = playwright_browser(
        "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"
    )
    page = browser.new_page()
    page.goto(f"{serve(application)}empty.html")
    code = f"""async () => {{ {PRELUDE}
        const generator = await Generator.load("ganport/mnist.onnx", {{ provider: "webgpu" }});
        return [generator.provider, packed(await generator.sampleBatch([1, 2, 3]))] }}"""
    provider, images = page.evaluate(code)
    assert provider == "webgpu"
    assert_same(grey(images), sampler.sample([1, 2, 3]))
    browser.close()
