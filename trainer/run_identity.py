"""The identity of a run: fingerprints by which its files know each other. This module imports no TensorFlow.

The record run.json has the version of ganport, and a fingerprint of each file that decides what is trained:
of recipe.json, of data.json, and of the files of the networks and the start weights, if the run has them.
Each checkpoint has the same fingerprints. So a file of another run, or a file that was edited, is an error
that names the file.

Runs of early versions have no run.json. They are read without these checks, and get the record when they are
resumed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ganport.datasets.npz import read_npz
from ganport.runtime import __version__
from ganport.runtime.files import write_bytes

from .errors import CheckpointError, MixedRunError, RunVersionError
from .run_folder import RunFolder

FORMAT = 1  # format of the run folder; a change that this version could not read gets the next number

Arrays = Mapping[str, npt.NDArray[Any]]
Fingerprints = dict[str, str]  # SHA-256 in hex, by the name of the file

_PACKAGES = ("keras", "tensorflow", "numpy")
_PREFIX = "run/"  # of the names of a checkpoint's arrays that hold fingerprints
# Settings that may change: a run may get another number of steps, and another title changes no image.
_FREE_SETTINGS = {"steps", "title"}
# Facts about the images that may change: they may be moved to another folder, for example.
_FREE_FACTS = {"name", "source", "licence"}


class Identity(NamedTuple):
    """What run.json says.

    Attributes:
        version: Version of ganport that started the run, or that first resumed a run of an early version.
        files: Fingerprints of the files.
        software: Versions of Python, Keras, TensorFlow and NumPy at that time, by name.
    """

    version: str
    files: Fingerprints
    software: Mapping[str, str]


def record_identity(run: RunFolder) -> None:
    """Write run.json, if it does not exist.

    Raises:
        OutputError: The folder is not writable.
    """
    if not run.identity_file.exists():
        software = {"python": platform.python_version()}
        software |= {name: sys.modules[name].__version__ for name in _PACKAGES if name in sys.modules}
        files = fingerprints(run)
        document = {"format": FORMAT, "version": __version__, "software": software, "files": files}
        write_bytes(run.identity_file, json.dumps(document, indent=2).encode() + b"\n")


def read_identity(run: RunFolder) -> Identity | None:
    """Return what run.json says; None for a run of an early version, which has no such file.

    Raises:
        CheckpointError: The file is damaged.
        RunVersionError: A newer version of ganport has written the run.
    """
    if not run.identity_file.exists():
        return None
    document = run.read_json(run.identity_file)
    version, files, software = map(document.get, ("version", "files", "software"))
    if not isinstance(version, str) or not isinstance(document.get("format"), int):
        raise CheckpointError(run.path, f"{run.identity_file.name} is damaged (no format or no version)")
    if document["format"] > FORMAT:
        raise RunVersionError(run.path, version)
    if not isinstance(files, dict) or not isinstance(software, dict):
        raise CheckpointError(
            run.path, f"{run.identity_file.name} is damaged (no fingerprints or no software)"
        )
    return Identity(version, _texts(files), _texts(software))


def _texts(document: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in document.items()}


def fingerprints(run: RunFolder) -> Fingerprints:
    """Return the fingerprints of the files of a run that decide what is trained.

    Raises:
        RunNotFoundError: There is no run in this folder.
        CheckpointError: A file is damaged.
    """
    recipe, data = run.read_json(run.recipe_file), run.read_json(run.data_file)
    found = {
        run.recipe_file.name: _hash_of_fields(recipe, _FREE_SETTINGS),
        run.data_file.name: _hash_of_fields(data, _FREE_FACTS),
    }
    for file in (run.module_file, run.networks_file, run.start_file, run.start_weights_file):
        if file.exists():
            found[file.name] = _hash(file)
    return found


def check_identity(run: RunFolder) -> None:
    """Check that the files of a run are those that it was started with, and that its checkpoints are its own.

    Raises:
        MixedRunError: A file was edited, or is that of another run. The error names the file.
        RunVersionError: A newer version of ganport has written the run.
        RunNotFoundError: There is no run in this folder.
        CheckpointError: A record is damaged.
    """
    identity, present = read_identity(run), fingerprints(run)
    if identity is None:
        return
    trained = {run.checkpoint_file(step).name: _trained_with(run, step) for step in run.checkpoint_steps()}
    if identity.files != present:
        raise _mixed_records(run, identity.files, present, trained.values())
    strangers = {name: files for name, files in trained.items() if files not in ({}, present)}
    if strangers:
        differing = {name for files in strangers.values() for name in _differing(files, present)}
        problem = f"is a checkpoint of another run ({', '.join(sorted(differing))} differ)"
        raise MixedRunError(run.path, list(strangers), problem, "remove it")


def _mixed_records(
    run: RunFolder, recorded: Fingerprints, present: Fingerprints, trained: Iterable[Fingerprints]
) -> MixedRunError:
    """Return the error for a run whose files are not those that run.json names."""
    if present in trained:
        return MixedRunError(run.path, [run.identity_file.name], "is of another run", "remove it")
    names = _differing(recorded, present)
    missing = [name for name in names if name not in present]
    problem = "is missing" if missing else "is not the one that the run was started with"
    return MixedRunError(run.path, missing or names, problem, "copy it from a backup, or train a new run")


def describe_provenance(run: RunFolder, step: int) -> dict[str, Any]:
    """Return what an exported file says about the origin of the weights of a checkpoint.

    It is the SHA-256 of the checkpoint, and the versions of the software that trained it. The versions are
    missing for runs of early versions.

    Raises:
        CheckpointError: run.json is damaged.
    """
    identity, checkpoint = read_identity(run), _hash(run.checkpoint_file(step))
    if identity is None:
        return {"checkpoint": checkpoint}
    return {"checkpoint": checkpoint, "software": {"ganport": identity.version, **identity.software}}


def identity_arrays(run: RunFolder) -> Arrays:
    """Return the fingerprints of a run as arrays for a checkpoint, uint8 (32,); none without run.json.

    Raises:
        CheckpointError: run.json is damaged.
    """
    identity = read_identity(run)
    files = {} if identity is None else identity.files
    return {
        f"{_PREFIX}{name}": np.frombuffer(bytes.fromhex(value), np.uint8) for name, value in files.items()
    }


def without_identity(arrays: Arrays) -> Arrays:
    """Return the arrays of a checkpoint without its fingerprints."""
    return {name: array for name, array in arrays.items() if not name.startswith(_PREFIX)}


def _trained_with(run: RunFolder, step: int) -> Fingerprints:
    """Return the fingerprints in a checkpoint; none for a damaged one, or for one of an early version."""
    try:
        arrays = read_npz(run.checkpoint_file(step), _PREFIX)
    except ValueError:  # the error is reported when the checkpoint is loaded
        return {}
    return {name.removeprefix(_PREFIX): array.tobytes().hex() for name, array in arrays.items()}


def _differing(one: Fingerprints, other: Fingerprints) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _hash_of_fields(document: Mapping[str, Any], without: set[str]) -> str:
    kept = {name: value for name, value in document.items() if name not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
