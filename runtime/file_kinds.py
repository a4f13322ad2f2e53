"""Files that people take for ONNX files: how each kind is recognised, and what to do with it.

A file of another kind is recognised by its first bytes, and a zip archive by the names of the files in it.
Nothing is unpacked or unpickled.
"""

from __future__ import annotations

import codecs
import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .display import shortened
from .protobuf import WireError, fields, message_of, text_of

_START = 4_096  # number of bytes at the start of a file that most tests below look at
_MOST_READ = 2**20  # limit for the size of an archive's list of names


class FileKind(NamedTuple):
    """A kind of file that is not an ONNX file.

    Attributes:
        name: Name of the kind with its article, such as "a Git LFS pointer".
        remedy: Instruction that leads to an ONNX file. $FILE and $FOLDER stand for paths.
    """

    name: str
    remedy: str

    def remedy_for(self, file: Path | None) -> str:
        """Return the instruction for one file; for one without a path if `file` is None."""
        import shlex  # not at the top, because an ONNX file needs no instruction
        import string

        paths = {"FILE": "FILE", "FOLDER": "FOLDER"}
        if file is not None:
            paths = {"FILE": shlex.quote(str(file)), "FOLDER": shlex.quote(str(file.parent))}
        return string.Template(self.remedy).substitute(paths)


def recognise(content: memoryview) -> FileKind | None:
    """Return the kind of a file that is not an ONNX file; None if the kind is not known.

    Args:
        content: Bytes of the file, which is not readable as ONNX.
    """
    if _has_mark(content, b"PK\x03\x04"):
        return _kind_of_zip(content)
    return next((kind for kind, test in _KINDS if test(content)), None) or _kind_of_text(content)


_Test = Callable[[memoryview], object]


def _begins(*marks: bytes) -> _Test:
    return lambda content: bytes(content[:_START]).startswith(marks)


def _has_at(offset: int, mark: bytes) -> _Test:
    return lambda content: _has_mark(content[offset:], mark)


def _has_mark(content: memoryview, mark: bytes) -> bool:
    return bytes(content[: len(mark)]) == mark


def _matches(pattern: bytes) -> _Test:
    """Return a test for a pattern at the start of a text, after white space and a byte order mark."""
    matcher = re.compile(rb"(\xef\xbb\xbf)?\s*" + pattern, re.IGNORECASE | re.DOTALL)
    return lambda content: matcher.match(bytes(content[:_START]))


_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _is_pickle(content: memoryview) -> bool:
    """Return whether a file begins with a pickle's protocol, and ends with a pickle's last operation."""
    return bytes(content[:2]) in _PICKLE_STARTS and _has_mark(content[-1:], b".")


def _is_safetensors(content: memoryview) -> bool:
    """Return whether a file begins with the length of a JSON text, and then with the text."""
    return _has_mark(content[8:], b"{") and struct.unpack("<Q", content[:8])[0] <= len(content) - 8


def _is_frozen_graph(content: memoryview) -> bool:
    """Return whether a file is a GraphDef of TensorFlow, which begins with a node's name and operation.

    An ONNX file can't begin like this, because its first field is a number.
    """
    try:
        number, node = next(fields(content))
        node_fields = fields(message_of(node))
        (first, name), (second, operation) = next(node_fields), next(node_fields)
        is_text = (text_of(name) + text_of(operation)).isprintable()
    except (WireError, IndexError, UnicodeDecodeError, StopIteration):
        return False
    return (number, first, second) == (1, 1, 2) and is_text


def _is_saved_model(content: memoryview) -> bool:
    """Return whether a file is a SavedModel of schema version 1 with the tag "serve"."""
    return _has_mark(content, b"\x08\x01\x12") and b"\x22\x05serve" in bytes(content[:_MOST_READ])


def _is_core_ml(content: memoryview) -> bool:
    """Return whether a file has only the fields of a Core ML model. The network's number is at least 200."""
    try:
        numbers = {number for number, _ in fields(content)}
    except (WireError, IndexError):
        return False
    networks = numbers - {1, 2, 10}
    return 1 in numbers and bool(networks) and min(networks) >= 200


_EXPORT_FROM_TORCH = (
    "load its generator in PyTorch, and export it in evaluation mode with a dynamic batch: "
    "torch.onnx.export(generator.eval(), torch.randn(2, z_dim), 'generator.onnx', input_names=['z'], "
    "dynamic_axes={'z': {0: 'batch'}})"
)
_EXPORT_FROM_KERAS = "run: ganport export $FILE"
_EXPORT_ORIGINAL = "export the model that it was converted from to ONNX"
_DOWNLOAD = "download the model's file itself, which has another link than its web page"
_UNPACK = "unpack it, and use the .onnx file in it"
_USE_MODEL = "choose the model's .onnx file"

_LFS_POINTER = FileKind("a pointer of Git LFS in place of the file", "in its folder, run: git lfs pull")
_WEB_PAGE = FileKind("a web page", _DOWNLOAD)
_XML = FileKind("an XML text", _DOWNLOAD)
_OPENVINO = FileKind("an OpenVINO model", _EXPORT_ORIGINAL)
_JSON = FileKind("a JSON text", _USE_MODEL)
_KERAS = FileKind("a Keras model", _EXPORT_FROM_KERAS)
_HDF5 = FileKind("an HDF5 file, as Keras writes them", _EXPORT_FROM_KERAS)
_TORCH = FileKind("a PyTorch checkpoint", _EXPORT_FROM_TORCH)
_PICKLE = FileKind(
    "a Python pickle",
    "if it is a Keras model, load it in Python, and call model.save('generator.keras'); if it is a PyTorch "
    f"model, as those of StyleGAN, {_EXPORT_FROM_TORCH}",
)
_SAFETENSORS = FileKind("a safetensors file, which holds weights and no network", _EXPORT_FROM_TORCH)
_TFLITE = FileKind("a TensorFlow Lite model", _EXPORT_ORIGINAL)
_ORT = FileKind("a model in onnxruntime's own format", "give the file a name that ends in .ort")
_TENSORRT = FileKind("a TensorRT engine", _EXPORT_ORIGINAL)
_SAVED_MODEL = FileKind("the graph of a TensorFlow SavedModel", "run: ganport export $FOLDER")
_FROZEN_GRAPH = FileKind("a frozen graph of TensorFlow", "convert it to ONNX with tf2onnx")
_CORE_ML = FileKind("a Core ML model", _EXPORT_ORIGINAL)
_NUMPY = FileKind("a file of NumPy arrays", _USE_MODEL)
_ARCHIVE = FileKind("a packed archive", _UNPACK)
_IMAGE = FileKind("an image", _USE_MODEL)

# Pairs of a kind and its test. The first test that is true decides.
_KINDS: tuple[tuple[FileKind, _Test], ...] = (
    (_LFS_POINTER, _begins(b"version https://git-lfs")),
    (_WEB_PAGE, _matches(rb"(<\?xml[^>]*>\s*|<!--((?!-->).)*-->\s*)*<(!doctype html|html)\b")),
    (_OPENVINO, _matches(rb"<\?xml[^>]*>\s*<net\b")),
    (_XML, _matches(rb"<\?xml\b")),
    (_JSON, _matches(rb"""(\{\s*["}]|\[\s*[\[\]{"\d-])""")),
    (_HDF5, _begins(b"\x89HDF\r\n\x1a\n")),
    (_TORCH, _begins(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")),  # PyTorch before version 1.6
    (_PICKLE, _is_pickle),
    (_SAFETENSORS, _is_safetensors),
    (_TFLITE, _has_at(4, b"TFL3")),
    (_ORT, _has_at(4, b"ORTM")),
    (_TENSORRT, _begins(b"ftrt", b"ptrt")),
    (_SAVED_MODEL, _is_saved_model),
    (_FROZEN_GRAPH, _is_frozen_graph),
    (_CORE_ML, _is_core_ml),
    (_NUMPY, _begins(b"\x93NUMPY")),
    (_ARCHIVE, _begins(b"\x1f\x8b", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"BZh", b"Rar!")),
    (_ARCHIVE, _begins(b"\x28\xb5\x2f\xfd")),  # zstd
    (_ARCHIVE, _has_at(257, b"ustar")),
    (_IMAGE, _begins(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8")),
    (_IMAGE, _has_at(8, b"WEBP")),
)


def _kind_of_text(content: memoryview) -> FileKind | None:
    """Return a kind that shows the first line of a text, such as the error message of a download."""
    try:
        text, _ = codecs.utf_8_decode(content[:_START], "strict", False)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    words = text.split()
    if not words or not all(each.isprintable() for each in words):
        return None
    line = text.strip().splitlines()[0]
    return FileKind(f"a text that begins with {shortened(line)}", f"{_USE_MODEL}, or download it again")


_NAMES_IN_TORCH = ("data.pkl", "archive_format")  # of torch.save and torch.jit.save; of torch.export.save


def _kind_of_zip(content: memoryview) -> FileKind:
    names = _names_in_zip(content)
    if any(name.rpartition("/")[2] in _NAMES_IN_TORCH for name in names):
        return _TORCH
    if {"config.json", "model.weights.h5"} <= set(names):
        return _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return _NUMPY
    return _ARCHIVE


def _names_in_zip(content: memoryview) -> list[str]:
    """Return the names of the files in a zip archive; empty if their list is damaged or too long."""
    import zipfile  # this import takes milliseconds, and an ONNX file does not need it

    try:
        with zipfile.ZipFile(_BoundedFile(content)) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error):
        return []


class _BoundedFile(io.RawIOBase):
    """A file of bytes that returns at most _MOST_READ bytes at once.

    `zipfile` reads an archive's list of names at once, so this limits its memory.
    """

    def __init__(self, content: memoryview) -> None:
        self._content, self._offset = content, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: len(self._content)}[whence]
        if start + offset < 0:
            raise OSError("the offset is negative")
        self._offset = start + offset
        return self._offset

    def read(self, size: int = -1) -> bytes:
        length = _MOST_READ if size < 0 else min(size, _MOST_READ)
        part = bytes(self._content[self._offset : self._offset + length])
        self._offset += len(part)
        return part
