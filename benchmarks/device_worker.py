"""A program that runs one engine in the Python environment of that engine.

    python device_worker.py ENGINE SECONDS INPUTS.npz OUTPUT.npz MODEL [MODEL ...]

It needs numpy and the engine, and nothing of ganport. `INPUTS.npz` holds one array per input of the graph,
with one row per image. Images are generated one at a time, on one thread. `OUTPUT.npz` then holds the array
`images`, and the array `seconds` with the time of each further run. The time of one image is measured for
SECONDS, or not at all if that is 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LEAST_RUNS = 5  # that are measured
HEAVY = ("Gemm", "MatMul", "Conv", "ConvTranspose", "FusedGemm", "FusedConv")  # operators that take the time
Inputs = Mapping[str, Any]
Run = Callable[[Inputs], Any]


def _onnxruntime(model: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))[0]


def _webgpu(model: str) -> Run:
    import onnxruntime
    import onnxruntime_ep_webgpu as plugin

    onnxruntime.set_default_logger_severity(4)
    onnxruntime.register_execution_provider_library("webgpu", plugin.get_library_path())
    name = plugin.get_ep_name()
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise SystemExit("onnxruntime-ep-webgpu finds no adapter")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_provider_for_devices(devices[:1], {})
    session = onnxruntime.InferenceSession(model, options, enable_fallback=0)
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
        if part.ep_name != name
    }
    if not elsewhere.isdisjoint(HEAVY):
        raise SystemExit(f"{', '.join(sorted(elsewhere.intersection(HEAVY)))} did not run on WebGPU")
    return lambda inputs: session.run(None, dict(inputs))[0]


def _openvino(model: str) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    return lambda inputs: compiled(dict(inputs))[0]


def _tract(model: str) -> Run:
    import tract

    graph = tract.onnx().load(model).into_model()
    # tract wants the inputs in the order of the graph.
    names = [graph.input_name(index) for index in range(graph.input_count())]
    runnable = graph.into_runnable()
    return lambda inputs: runnable.run([inputs[name] for name in names])[0].to_numpy()


def _ncnn(parameters: str, weights: str) -> Run:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(parameters)
    net.load_model(weights)

    def run(inputs: Inputs) -> Any:
        # ncnn's tensors have no batch. The inputs are named in the order of the graph: in0, in1.
        with net.create_extractor() as extractor:
            for index, array in enumerate(inputs.values()):
                extractor.input(f"in{index}", ncnn.Mat(np.ascontiguousarray(array[0])).clone())
            return np.array(extractor.extract("out0")[1])[np.newaxis]

    return run


def _litert(model: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    sources, (image,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(inputs: Inputs) -> Any:
        for source in sources:
            # A generator with one input may have another name for it, and other dimensions of size 1.
            (array,) = [inputs[name] for name in inputs if name in source["name"] or len(inputs) == 1]
            interpreter.set_tensor(source["index"], array.reshape(source["shape"]))
        interpreter.invoke()
        return interpreter.get_tensor(image["index"])

    return run


ENGINES: Mapping[str, Callable[..., Run]] = {
    "onnxruntime": _onnxruntime,
    "webgpu": _webgpu,
    "openvino": _openvino,
    "tract": _tract,
    "ncnn": _ncnn,
    "litert": _litert,
}


def main(engine: str, seconds: str, source: str, target: str, *model: str) -> None:
    """Generate the images of all inputs, and measure the time of one image."""
    arrays = dict(np.load(source))
    count = len(next(iter(arrays.values())))
    rows = [{name: array[index : index + 1] for name, array in arrays.items()} for index in range(count)]
    run = ENGINES[engine](*model)
    images = np.concatenate([np.array(run(row)) for row in rows])
    times: list[float] = []
    started = time.perf_counter()
    while float(seconds) and (len(times) < LEAST_RUNS or time.perf_counter() - started < float(seconds)):
        before = time.perf_counter()
        run(rows[len(times) % count])
        times.append(time.perf_counter() - before)
    np.savez(target, images=images, seconds=times)


if __name__ == "__main__":
    main(*sys.argv[1:])
