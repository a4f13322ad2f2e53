"""Target for the command line. An input has one argument in each line."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ganport.__main__ import main
from tests.third_party_graphs import index_model

from .models import golden_contract, with_metadata
from .mutations import mutate_words
from .runs import write_run
from .target import Target, UnexpectedError

# Commands that serve until they are stopped, train, download or measure for seconds.
_LEFT_OUT = {"train", "export", "serve", "web", "bench", "evaluate", "doctor"}
_WORDS = """
sample walk inspect verify runs models recipes
--seeds --out -o --label --truncation --threads --batch-size --repeatable --json --shard-size --resume
--layout
--range --clip --image-size --labels --labels-at --latents --input-value --output-name --provider --frames
--rate --scale --no-loop --by --csv --help --version --
tiny.onnx labels.onnx text.onnx empty.onnx folder missing.onnx runs mnist new -
NHWC NCHW 3x4x1 psi=0.7 uniform
0-3 7 -1 0 1e9 nan 0.5 0,0,0 9-1 99999999999999999999 auto cuda tanh
a.png a.webp a.gif a.npz a.npy a.tar a.csv -a.png
"""
_ODD_WORDS = ("", "a b\n.png", "\N{PILE OF POO}.png", "\udcff.png", "\udcff", "x" * 300)
_EXAMPLES = """
sample tiny.onnx --seeds 0-3 --out a.png
sample labels.onnx --label 2 --out new
sample tiny.onnx --out a.tar --shard-size 3 --seeds 0-7
sample tiny.onnx --out a.npz
sample --help
walk tiny.onnx --seeds 0,1 --frames 2 --out a.gif
inspect labels.onnx --json
verify tiny.onnx --out a.png
models
runs
recipes
--version
"""


class CommandTarget(Target):
    """The command line: it ends with 0, 1 or 2, prints at most one error, and leaves nothing half-written."""

    is_traced = False  # tracing makes typer and rich take twice as long
    mutate = staticmethod(mutate_words((*_WORDS.split(), *_ODD_WORDS)))

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.resolve())
        os.chdir(self.folder)
        Path("tiny.onnx").write_bytes(with_metadata(golden_contract().to_json()))
        Path("labels.onnx").write_bytes(index_model())
        Path("text.onnx").write_text("not a model")
        Path("empty.onnx").touch()
        Path("folder").mkdir()
        for level in (0, 200):
            Image.fromarray(np.full((28, 28), level, np.uint8)).save(f"folder/{level}.png")
        write_run(Path("runs/a"), Path("folder"))
        shutil.copytree("runs/a", "runs/b")
        self._own = {path.name for path in self.folder.iterdir()}

    def examples(self) -> Iterable[bytes]:
        for line in _EXAMPLES.strip().splitlines():
            yield line.replace(" ", "\n").encode()

    def run(self, content: bytes) -> str:
        arguments = [
            line.decode("utf-8", "surrogateescape").replace("\0", "") for line in content.split(b"\n")
        ]
        text = "\n".join(arguments)
        # No file outside of the folder is read or written, and no shell is set up for completion.
        has_path = any("/" in each and each not in ("runs/a", "runs/b") for each in arguments)
        if _LEFT_OUT & set(arguments) or has_path or ".." in text or "~" in text or "completion" in text:
            return ""
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
        before, sys.argv = sys.argv, ["ganport", *arguments]
        try:
            with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
                status = _status_of_main()
            errors = streams[1].buffer.getvalue().decode("utf-8", "backslashreplace")
            self._check(status, errors)
            return f"{arguments[:1]} {status} {errors}"
        finally:
            sys.argv = before
            self._clean()

    def _check(self, status: object, errors: str) -> None:
        if status not in (0, 1, 2, None):
            raise UnexpectedError(f"exit code {status}: {errors}")
        if "Traceback" in errors or errors.count("error: ") > 1:
            raise UnexpectedError(f"more than one line of error: {errors}")
        if "error: Unexpected " in errors:
            raise UnexpectedError(errors[errors.index("error: Unexpected ") :])
        if status and not errors.strip():
            raise UnexpectedError(f"exit code {status} without an error")
        left = [path.name for path in self.folder.rglob(".*.part*")]
        if left:
            raise UnexpectedError("a half-written file is left")

    def _clean(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in self._own and not path.is_dir():
                path.unlink()
            elif path.name not in self._own:
                shutil.rmtree(path)


def _status_of_main() -> object:
    try:
        main()
    except SystemExit as leaving:
        return leaving.code
    return 0
