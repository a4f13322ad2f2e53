"""Targets for model files: ONNX, onnxruntime's own format, and the contract in a file."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import onnx
import onnxruntime

from ganport.runtime import Contract, Sampler, encode_png, make_grid
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.golden import check_description_beside, compare_golden, difference_picture
from tests.third_party_graphs import chain, dynamic_model, index_model, joined_model, one_hot_model
from tests.tiny_generator import tiny_contract, tiny_model

from .mutations import mutate_bytes, mutate_json, mutate_protobuf
from .target import Target

_TORCH = Path(__file__).parents[1] / "runtime/third_party/torch_dcgan.onnx"
_WEIGHTS = "weights.bin"


def golden_contract(**changes: object) -> Contract:
    """Return the contract of the tiny generator with the golden images of two seeds."""
    with Sampler(tiny_model("uint8").SerializeToString(), threads=1) as sampler:
        grid = encode_png(make_grid(sampler.sample([3, 4])))
    golden = {"seeds": [3, 4], "png_base64": base64.b64encode(grid).decode()}
    return tiny_contract(dtype="uint8", golden=golden, **changes)


def with_metadata(text: str) -> bytes:
    """Return the tiny generator with a text in place of its contract."""
    return tiny_model("uint8", metadata={METADATA_KEY: text}).SerializeToString()


class OnnxTarget(Target):
    """An .onnx file: it is opened, sampled, and compared with its golden images."""

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        return (mutate_protobuf if rng.random() < 0.7 else mutate_bytes)(rng, content, other)

    def examples(self) -> Iterable[bytes]:
        (self.folder / _WEIGHTS).write_bytes(np.ones(120, np.float32).tobytes())
        yield tiny_model("uint8").SerializeToString()
        yield tiny_model("float32", batch=2).SerializeToString()
        yield with_metadata(golden_contract().to_json())
        yield _TORCH.read_bytes()
        yield from (index_model(), one_hot_model(), joined_model(), dynamic_model())
        yield chain(("Relu", "", {}), ("Tanh", "", {}), ("Mul", "half", {}), half=np.float32(0.5))
        yield self._with_weights_beside()

    def _with_weights_beside(self) -> bytes:
        model = tiny_model("uint8")
        for tensor in model.graph.initializer:
            if tensor.name == "kernel":
                size = len(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for key, value in (("location", _WEIGHTS), ("offset", "0"), ("length", str(size))):
                    tensor.external_data.add(key=key, value=value)
        return model.SerializeToString()

    def run(self, content: bytes) -> None:
        path = self.folder / "model.onnx"
        path.write_bytes(content)
        with Sampler(path, threads=1) as sampler:
            sampler.sample([0, 1])
            sampler.model.fingerprint()
            if sampler.contract.created_by and sampler.contract.golden["seeds"]:
                compare_golden(sampler)


class OrtTarget(Target):
    """A model in onnxruntime's own format."""

    def examples(self) -> Iterable[bytes]:
        path = self.folder / "written.ort"
        for model in (tiny_model("uint8").SerializeToString(), tiny_model("float32").SerializeToString()):
            options = onnxruntime.SessionOptions()
            options.optimized_model_filepath = str(path)
            options.add_session_config_entry("session.save_model_format", "ORT")
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            yield path.read_bytes()

    def run(self, content: bytes) -> None:
        path = self.folder / "model.ort"
        path.write_bytes(content)
        with Sampler(path, threads=1) as sampler:
            sampler.sample([0, 1])


class ContractTarget(Target):
    """The contract in a model, and the same document in a file beside the model."""

    mutate = staticmethod(mutate_json)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "model.onnx"
        self._path.write_bytes(with_metadata(golden_contract().to_json()))
        self._sampler = Sampler(self._path, threads=1)

    def examples(self) -> Iterable[bytes]:
        yield golden_contract().to_json().encode()
        for source in (tiny_contract(dtype="uint8"), tiny_contract(), Sampler("mnist").contract):
            yield source.to_json().encode()
        document = golden_contract().to_dict()
        document["input"] |= {"labels": ["a", "b"], "label_encoding": "one-hot"}
        yield json.dumps(document | {"format": 4}).encode()
        document["input"] |= {"kind": "fixed", "seeds": [3, 4], "name": ""}
        yield json.dumps(document | {"batch": 2, "seed_rule": {}}).encode()

    def run(self, content: bytes) -> None:
        self._path.with_suffix(".json").write_bytes(content)
        with contextlib.suppress(*self.expected):
            check_description_beside(self._sampler)
        text = content.decode("utf-8", "replace")
        contract = Contract.from_json(text)
        repr(contract), contract._repr_html_(), contract.summary(), contract.to_json()
        with Sampler(with_metadata(text), threads=1) as sampler:
            sampler.sample(contract.input.seeds or [0, 1])
            difference_picture(compare_golden(sampler))
