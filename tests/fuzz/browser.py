"""Target for the JavaScript that reads the description in a model. Node runs it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from random import Random

from ganport.runtime import Sampler
from tests.tiny_generator import tiny_contract, tiny_model

from .models import golden_contract, with_metadata
from .mutations import mutate_bytes, mutate_json, mutate_protobuf
from .target import Target, UnexpectedError

_MODULE = Path(__file__).parents[2] / "web/page/ganport"
_SCRIPT = """
import { readSync, writeSync } from "node:fs";
import { readDescription } from "./description.js";

function read(size) {
  const buffer = Buffer.alloc(size);
  for (let offset = 0; offset < size; ) {
    const count = readSync(0, buffer, offset, size - offset);
    if (count === 0) process.exit();
    offset += count;
  }
  return buffer;
}

for (;;) {
  const content = new Uint8Array(read(read(4).readUInt32LE()));
  let problem = "", outcome = "";
  try {
    outcome = Object.keys(readDescription(content)).join();
  } catch (error) {
    outcome = String(error.message);
    if (error.name !== "GanportError") problem = String(error.stack ?? error);
  }
  const memory = process.memoryUsage();
  writeSync(1, JSON.stringify({ problem, outcome, bytes: memory.rss + memory.external }) + "\\n");
}
"""


class JavaScriptTarget(Target):
    """The JavaScript module's reading of a model: it gives a description or raises a GanportError.

    An input that begins with "{" is a description, which is put into a model.
    """

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        if content.startswith(b"{"):
            return mutate_json(rng, content, other)
        return (mutate_protobuf if rng.random() < 0.7 else mutate_bytes)(rng, content, other)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("description.js", "errors.js", "latents.js"):
            shutil.copy(_MODULE / name, folder)
        (folder / "package.json").write_text('{"type": "module"}')
        (folder / "read.js").write_text(_SCRIPT)
        self._node = subprocess.Popen(
            ["node", "--max-old-space-size=900", "read.js"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def examples(self) -> Iterable[bytes]:
        yield golden_contract().to_json().encode()
        yield tiny_contract().to_json().encode()
        yield Sampler("mnist").contract.to_json().encode()
        document = tiny_contract().to_dict()
        document["input"] |= {
            "kind": "fixed",
            "seeds": [3, 4],
            "labels": ["a", "b"],
            "label_encoding": "one-hot",
        }
        yield json.dumps(document | {"format": 4, "batch": 2}).encode()
        yield tiny_model("uint8").SerializeToString()

    def run(self, content: bytes) -> str:
        if content.startswith(b"{"):
            content = with_metadata(content.decode("utf-8", "replace"))
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(struct.pack("<I", len(content)) + content)
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        if not line:
            raise UnexpectedError("Node has ended")
        found = json.loads(line)
        if found["problem"]:
            raise UnexpectedError(found["problem"])
        if found["bytes"] > 10**9:
            raise MemoryError
        return str(found["outcome"])
