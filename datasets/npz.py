"""Reading .npz files that may be damaged, or may have a different format."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DAMAGE = (
    *(OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *(tokenize.TokenError, SyntaxError, ArithmeticError, TypeError, MemoryError),
)


def read_npz(path: Path, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz file, as a dict from names to arrays.

    Args:
        path: Path of the file.
        prefix: Beginning of the names of the arrays to read. The others are not read.

    Raises:
        ValueError: The file can't be read as .npz, or it contains pickled objects. The message says why.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, not an archive of arrays")
            arrays = {name: archive[name] for name in archive.files if name.startswith(prefix)}
    # Python raises RuntimeError for an encrypted member, or for an unknown compression method. The damaged
    # header of an array can raise any error of Python's tokenizer, parser and arithmetic.
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        raise ValueError(f"its member {others[0]} is not an array")
    return arrays
