"""Sampler: load a generator once, draw many images."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import math
import numbers
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from .bundled import BUNDLED, DEFAULT
from .contract import LABEL, METADATA_KEY, Contract
from .errors import (
    ClosedSamplerError,
    ContractError,
    FixedSeedError,
    GanportError,
    InferenceError,
    InputKindError,
    LabelError,
    LatentShapeError,
    LatentValueError,
    ModelFormatError,
    ModelNotFoundError,
    ProviderError,
    SeedError,
    UsageError,
    first_line,
    system_reason,
)
from .foreign import RANGES, Layout, ValueRange, describe
from .images import to_uint8
from .latents import labels_of, latents_of, slerp
from .onnx_file import Node, read_nodes, weight_files
from .providers import AUTO, check_provider, choose_provider, onnxruntime_errors, open_session, usable_cores
from .runner import Inputs, Run, make_run, size_of
from .seeds import check_seeds

# Images per call where the model leaves the choice: enough to fill a CPU, or a GPU, and little enough to bound memory, which a
# large image takes a thousand times of on its way.
BATCH_SIZE = 256
LARGE_BATCH_SIZE = 64  # on the CPU, of large images
_LARGE = 64 * 64 * 3  # values
_MOST_THREADS = 1_024  # onnxruntime starts them all, and ends the process where it can't
_MOST_OFF = 16  # levels of 0 to 255: rounding moves a pixel by less, the statistics of a batch by more
_MOST_IMAGES = 2**24  # of a batch: memory ends before

Latents = npt.NDArray[np.float32]
Seeds = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
Label = str | int  # a class, by its name or its place
Labels = Label | Sequence[Label] | npt.NDArray[np.integer[Any]] | None

_ORT_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)"}


class Sampler:
    """Draws images from one exported generator.

    An image belongs to its seed: on the CPU the same bytes whether drawn alone, in a batch, or in another order. Many threads
    may share a Sampler. It has read the file once it is made: what becomes of that later does not matter, but to a pickled
    Sampler and on the other side of a fork, where the file is opened again, and to `fingerprint`.

    Args:
        model: path of an .onnx or .ort file that `ganport export` made, or of another's ONNX generator; or its bytes; or the
            name of one in the box, a key of BUNDLED ("mnist" if None). A file of such a name is "./mnist".
        provider: a key of PROVIDERS: what is asked for is what runs, or there is an error. "auto" is the fastest that works;
            the attribute `provider` then says which, and `passed_over` why no faster one.
        threads: that onnxruntime works with on the CPU; as many as the process may use, if None.
        batch_size: most images that are drawn together, where the model leaves the choice; 256, if None, and 64 on the CPU for
            images of more than 64x64x3 values.
        repeatable: the same bytes each time on CUDA, too, where convolutions may else differ by a level on a few pixels in a
            million from call to call; they then take several times as long.
        layout: of a foreign generator's images, "NHWC" or "NCHW", where their shape leaves it open.
        value_range: of a foreign generator's images, "tanh" for -1 to 1 or "sigmoid" for 0 to 1, where its last step leaves it
            open.

    Raises:
        UsageError: threads not in 1 to 1,024, batch_size not in 1 to 16,777,216; or a batch_size, layout or value_range where
            the model says it itself.
        ModelError: the file is missing, damaged, harmful, or no generator (see runtime.errors for the leaves).
        ProviderError: the provider can't be used on this machine, or not for all of the model.

    Example::

        with Sampler("generator.onnx") as sampler:
            images = sampler.sample(range(64))  # uint8 (64, 28, 28, 1)

    >>> Sampler("mnist").sample([7, 42]).shape
    (2, 28, 28, 1)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | None = None,
        provider: str = "cpu",
        threads: int | None = None,
        batch_size: int | None = None,
        *,
        repeatable: bool = False,
        layout: Layout | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        _check_numbers(threads, batch_size)
        _check_choices(layout=(layout, ("NHWC", "NCHW")), value_range=(value_range, tuple(RANGES)))
        model = DEFAULT if model is None else model
        self.source = model if isinstance(model, bytes) else BUNDLED[model] if model in BUNDLED else Path(model)  # type: ignore[index]
        self._place = self.source if isinstance(self.source, bytes) else self.source.absolute()  # wherever the process goes
        check_provider(provider, AUTO)
        self.provider = provider
        self.passed_over: dict[str, str] = {}
        self.threads = threads or usable_cores()
        self._remake = functools.partial(
            Sampler, self._place, provider, threads, batch_size, repeatable=repeatable, layout=layout, value_range=value_range
        )
        self._repeatable = repeatable
        self._lock = threading.Lock()
        self._signature = None if isinstance(self.source, bytes) else _check_file(self.source)
        nodes = read_nodes(self.source)
        session = self._open_fastest() if provider == AUTO else self._open(self.threads)
        # onnxruntime keeps to one core for a ConvTranspose: several at once then share the batch.
        self._is_serial = self.provider == "cpu" and self.threads > 1 and any(node.kind == "ConvTranspose" for node in nodes)
        try:
            self._model = _read_contract(session, nodes, self.source, layout, value_range)
        except UnicodeDecodeError:  # onnxruntime takes names and metadata of any bytes
            raise ModelFormatError(self.source, "its names or its metadata are no text") from None
        if batch_size is not None and self._model.batch is not None:
            raise UsageError(f"The model draws {self._model.batch} images at a time; leave out batch_size.")
        is_large = self.provider == "cpu" and math.prod(self._model.image.shape) > _LARGE
        self._batch_size = self._model.batch or batch_size or (LARGE_BATCH_SIZE if is_large else BATCH_SIZE)
        self._latent_shape = tuple(session.get_inputs()[0].shape[1:]) if self._model.input.kind == "latent" else ()
        self._process = os.getpid()
        self._run_batch: Run | None = self._make_run(session)
        if not self._model.created_by and self._latent_shape:  # our own files are verified when they are made
            self._check_batch(make_run(session, self._model, self.provider, None, self.threads))

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._remake, ()

    def opener(self, threads: int) -> Callable[[], Sampler]:
        """Return what opens the same generator elsewhere: it holds the model's bytes and all options, and can be pickled.

        Args:
            threads: that onnxruntime works with there.
        """
        content = self._place if isinstance(self._place, bytes) else self._place.read_bytes()
        _, _, _, batch_size = self._remake.args
        return functools.partial(Sampler, content, self.provider, threads, batch_size, **self._remake.keywords)

    def fingerprint(self) -> str:
        """Return the sha256 of the model's file, in hex; where weights lie in files beside it, of all their hashes.

        Raises:
            ModelError: the file has changed since it was opened, or is gone.
        """
        if isinstance(self._place, bytes):
            return hashlib.sha256(self._place).hexdigest()
        self._check_unchanged(self._place)
        hashes = []
        for path in (self._place, *weight_files(self._place)):
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256"))
        found = hashes[0] if len(hashes) == 1 else hashlib.sha256(b"".join(each.digest() for each in hashes))
        return found.hexdigest()

    def close(self) -> None:
        """Let go of the model; what other threads are drawing they draw to the end."""
        self._run_batch = None

    @property
    def batch_size(self) -> int:
        """Most images that are drawn together."""
        return self._batch_size

    @property
    def model(self) -> Contract:
        """What the model file says about itself."""
        return self._model

    def sample(self, seeds: Iterable[int], truncation: float = 1.0, labels: Labels = None) -> Pixels:
        """Draw one image per seed.

        Args:
            seeds: whole numbers in [0, 2**63), in any order.
            truncation: factor of the latents, in [0, 1]: below 1 nearer to the average image, less varied (the scaling of
                Karras et al., CVPR 2019, section B, towards the mean latent, which is 0 here; no latent is drawn twice).
            labels: the class to draw, by its name or its place in `model.input.labels`; or one for each seed. Without, seed s
                is of class s modulo their number.

        Returns:
            uint8 (n, height, width, channels), in the order of the seeds.

        Raises:
            SeedError: a seed is no whole number or out of range, or there is none.
            FixedSeedError: the file draws certain seeds only, and one is not among them.
            InputKindError: a truncation, and the file makes its latents itself.
            LabelError: no class of this generator.
            UsageError: truncation out of range, or more or fewer labels than seeds.
        """
        checked = self.check_request(seeds, truncation)
        source = self._model.input
        classes = self.resolve_labels(labels, checked)
        if source.kind == "fixed":
            return self._pick(checked)
        if source.kind == "seed":
            return self._draw(len(checked), lambda part: checked[part], classes)
        if truncation == 1:
            return self._draw(len(checked), lambda part: latents_of(checked[part], source.dim), classes)
        scale = np.float32(truncation)
        return self._draw(len(checked), lambda part: latents_of(checked[part], source.dim) * scale, classes)

    def resolve_labels(self, asked: Labels, seeds: Seeds) -> Seeds | None:
        """Return the class of each image, int64 (n,), by the seeds where none is asked for; None without classes.

        Args:
            asked: as for `sample`.
            seeds: int64 (n,).

        Raises:
            LabelError: no class of this generator.
            InputKindError: a class is asked for, and the file draws what is baked in.
            UsageError: more or fewer labels than seeds.
        """
        known, count = self._model.input.labels or (), len(seeds)
        if asked is None:
            return labels_of(seeds, len(known)) if known else None
        if not known:
            raise LabelError(asked, known)
        if self._model.input.kind == "fixed":
            raise InputKindError("fixed")
        if _is_list(asked):
            if len(asked) != count:
                raise UsageError(f"There are {len(asked):,} labels for {count:,} images; give one for each, or one for all.")
            return np.array([_place(label, known) for label in asked], np.int64)
        return np.full(count, _place(asked, known), np.int64)

    def check_request(self, seeds: Iterable[int], truncation: float = 1.0, label: Label | None = None) -> Seeds:
        """Return the seeds, after all that `sample` would refuse them for; nothing is drawn.

        Raises:
            As `sample`.
        """
        checked = check_seeds(seeds)
        self._check_options(truncation, label)
        source = self._model.input
        if source.seeds is not None:
            known = set(source.seeds)
            for seed in checked.tolist():
                if seed not in known:
                    raise FixedSeedError(seed, source.seeds)
        return checked

    def _check_options(self, truncation: float, label: Label | None) -> None:
        if not (isinstance(truncation, numbers.Real) and 0 <= truncation <= 1):
            raise UsageError(f"truncation is {truncation!r}; it takes a factor from 0 to 1.")
        if self._model.input.kind != "latent" and truncation != 1:
            raise InputKindError(self._model.input.kind)
        if _is_list(label):
            raise UsageError("A stream and a request take one label for all; `sample` takes one for each image.")
        if label is not None:
            self.resolve_labels(label, np.zeros(1, np.int64))

    def stream(self, seeds: Iterable[int], truncation: float = 1.0, label: Label | None = None) -> Iterator[Pixels]:
        """Draw without end, if the seeds have none: batch by batch, the next one while the caller works on the last.

        Args:
            seeds: as for `sample`, of any number; they are asked for as they are needed.
            truncation: as for `sample`.
            label: the class of all of them, as for `sample`.

        Yields:
            uint8 (n, height, width, channels), n images at a time; the last time what is left. No more than three batches are
            in memory.

        Raises:
            As `sample`: for a seed when its batch is due, for all else at once.
        """
        self._check_options(truncation, label)
        return self._stream(_split(seeds, self._batch_size), truncation, label)

    def _stream(self, parts: Iterator[Seeds | list[int]], truncation: float, label: Label | None) -> Iterator[Pixels]:
        first, second = next(parts, None), next(parts, None)
        if first is None:
            raise SeedError((), "is an empty list")
        if second is None:
            yield self.sample(first, truncation, label)
            return
        from concurrent.futures import ThreadPoolExecutor  # 30 ms, which few images need not take

        with ThreadPoolExecutor(1, "ganport-stream") as worker:
            drawn = worker.submit(self.sample, first, truncation, label)
            for part in itertools.chain([second], parts):
                following = worker.submit(self.sample, part, truncation, label)
                yield drawn.result()
                drawn = following
            yield drawn.result()

    def walk(
        self, seeds: Sequence[int], frames: int, loop: bool = True, label: Label | None = None, truncation: float = 1.0
    ) -> Iterator[Pixels]:
        """Draw the way from seed to seed, on the sphere that their latents lie on.

        Args:
            seeds: two or more.
            frames: from one seed to before the next, at least 1.
            loop: go back to the first seed, and end before it; else end on the last.
            label: the class of all of them, as for `sample`; that of the first seed, if None.
            truncation: as for `sample`.

        Yields:
            uint8 (n, height, width, channels), n frames at a time.

        Raises:
            UsageError: fewer than two seeds, or no frames.
            InputKindError: the file makes its latents itself.
            As `sample` for the rest, at once.
        """
        checked = self.check_request(seeds, truncation, label)
        if len(checked) < 2 or not isinstance(frames, (int, np.integer)) or not 1 <= frames <= _MOST_IMAGES:
            raise UsageError(
                f"A walk takes two seeds or more, and 1 to {_MOST_IMAGES:,} frames; it got {len(checked)} and {frames!r}."
            )
        if self._model.input.kind != "latent":
            raise InputKindError(self._model.input.kind)
        ends = latents_of(checked, self._model.input.dim)
        if label is None and self._model.input.labels:
            label = int(labels_of(checked, len(self._model.input.labels))[0])
        return self._walk(ends, int(frames), loop, label, np.float32(truncation))

    def _walk(self, ends: Latents, frames: int, loop: bool, label: Label | None, scale: np.float32) -> Iterator[Pixels]:
        legs = len(ends) if loop else len(ends) - 1
        steps = legs * frames + (not loop)
        for start in range(0, steps, self._batch_size):
            places = np.arange(start, min(start + self._batch_size, steps))
            leg = np.minimum(places // frames, legs - 1)
            latents = slerp(ends[leg], ends[(leg + 1) % len(ends)], (places - leg * frames) / frames)
            yield self.sample_latents(latents * scale, label)

    def sample_latents(self, latents: npt.NDArray[np.floating[Any]], labels: Labels = None) -> Pixels:
        """Draw one image per latent.

        Args:
            latents: shape (n, dim), n >= 1, any float type.
            labels: as for `sample`; without, the classes come in turn.

        Returns:
            uint8 (n, height, width, channels), in the order of the latents.

        Raises:
            LatentShapeError: another shape.
            LatentValueError: a latent that is not finite.
            InputKindError: the file takes seeds, or nothing.
            LabelError: no class of this generator.
            UsageError: more or fewer labels than latents.
        """
        if self._model.input.kind != "latent":
            raise InputKindError(self._model.input.kind)
        dim = self._model.input.dim
        latents = np.asarray(latents)
        if latents.ndim != 2 or latents.shape[0] == 0 or latents.shape[1] != dim:
            raise LatentShapeError(latents.shape, dim)
        checked = np.ascontiguousarray(latents, dtype=np.float32)
        if not np.isfinite(checked).all():
            raise LatentValueError(int((~np.isfinite(checked)).sum()))
        return self._draw(len(checked), lambda part: checked[part], self.resolve_labels(labels, np.arange(len(checked))))

    def _open_fastest(self) -> Any:
        """Open the model on the fastest provider that takes it; `passed_over` says why no faster one does."""
        while True:
            self.provider, broken = choose_provider(self.passed_over)
            self.passed_over |= broken
            try:
                return self._open(self.threads)
            except ProviderError as error:  # it works, but not for this model: memory, or an operation that it lacks
                self.passed_over[self.provider] = error.problem

    def _open(self, threads: int) -> Any:
        if isinstance(self._place, Path):
            self._check_unchanged(self._place)
        return open_session(self._place, self.provider, threads, repeatable=self._repeatable)

    def _check_unchanged(self, place: Path) -> None:
        if _check_file(place) != self._signature:
            raise ModelFormatError(place, "it has changed since it was opened")

    def _make_run(self, session: Any) -> Run:
        share = self._open(threads=1) if self._is_serial and self._model.batch is None else None
        return make_run(session, self._model, self.provider, share, self.threads)

    def _opened(self) -> Run:
        """Return what draws a batch; in a process that was forked it is opened anew, since threads do not come along."""
        run = self._run_batch
        if run is None:
            raise ClosedSamplerError
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    if self.provider == "cuda":
                        raise ProviderError("cuda", "it does not outlive a fork", "start processes by spawn, or open it there")
                    # The end of its session would wait for threads that this process does not have: it is never to come.
                    ctypes.pythonapi.Py_IncRef(ctypes.py_object(run))
                    self._run_batch = self._make_run(self._open(self.threads))
                    self._process = os.getpid()
            return self._opened()
        return run

    def _pick(self, seeds: Seeds) -> Pixels:
        """Draw the images that are baked in; return those of the seeds."""
        rows = {seed: row for row, seed in enumerate(self._model.input.seeds or ())}
        return self._to_pixels(self._infer(self._opened(), {})[[rows[seed] for seed in seeds.tolist()]])

    def _draw(self, count: int, inputs_of: Callable[[slice], Latents | Seeds], classes: Seeds | None) -> Pixels:
        """Draw batch by batch, so that memory beyond the result is bounded."""
        run = self._opened()
        if count <= self._batch_size:
            return self._draw_batch(run, inputs_of(slice(None)), classes)
        try:
            images = np.empty((count, *self._model.image.shape), dtype=np.uint8)
        except MemoryError:
            size = count * math.prod(self._model.image.shape) / 1e9
            raise InferenceError(
                self.source, f"{count:,} images take {size:,.1f} GB of memory; draw them with stream()"
            ) from None
        for start in range(0, count, self._batch_size):
            part = slice(start, start + self._batch_size)
            images[part] = self._draw_batch(run, inputs_of(part), None if classes is None else classes[part])
        return images

    def _draw_batch(self, run: Run, inputs: Latents | Seeds, classes: Seeds | None) -> Pixels:
        if len(self._latent_shape) > 1:
            inputs = inputs.reshape(-1, *self._latent_shape)  # foreign graphs may take (n, dim, 1, 1)
        feed = {self._model.input.name: inputs}
        if classes is not None:
            feed[LABEL] = classes
        return self._to_pixels(self._infer(run, feed))

    def _check_batch(self, run: Run) -> None:
        """Raise InferenceError where an image is another beside another than alone; `run` is to share no batch."""
        feed = {self._model.input.name: latents_of((0, 1), self._model.input.dim).reshape(-1, *self._latent_shape)}
        if self._model.input.labels:
            feed[LABEL] = np.zeros(2, np.int64)
        beside, alone = (
            self._to_pixels(self._infer(run, {name: values[:count] for name, values in feed.items()}))[0] for count in (2, 1)
        )
        off = int(np.abs(beside.astype(np.int16) - alone).max())
        if off > _MOST_OFF:
            problem = f"an image depends on the others in its batch: alone it is up to {off} levels off"
            raise InferenceError(self.source, f"{problem}; export the generator in evaluation mode, quantised by fixed scales")

    def _infer(self, run: Run, inputs: Inputs) -> npt.NDArray[Any]:
        try:
            images = run(inputs)
        except GanportError:
            raise  # some of ours are ValueErrors, too
        except onnxruntime_errors() as error:
            raise InferenceError(
                self.source, f"onnxruntime says: {first_line(error)}; a smaller batch takes less memory"
            ) from error
        count = size_of(inputs) if inputs else self._model.batch
        if images.shape != (due := (count, *self._model.image.graph_shape)):
            raise InferenceError(self.source, f"it drew images of shape {images.shape} where {due} is promised")
        return images

    def _to_pixels(self, images: npt.NDArray[Any]) -> Pixels:
        if self._model.image.layout == "NCHW":
            images = images.transpose(0, 2, 3, 1)
        if images.dtype != np.uint8:
            if not np.isfinite(images).all():
                wrong = int((~np.isfinite(images)).sum())
                raise InferenceError(self.source, f"{wrong:,} of {images.size:,} values are no numbers (NaN), or infinite")
            images = to_uint8(images, self._model.image.range[0])
        return np.ascontiguousarray(images)


def _is_list(asked: object) -> TypeGuard[Sequence[Label] | npt.NDArray[Any]]:
    if isinstance(asked, np.ndarray):
        return asked.ndim > 0
    return isinstance(asked, Sequence) and not isinstance(asked, (str, bytes))


def _place(label: object, known: Sequence[str]) -> int:
    """Return the place of a class that is asked for by its name, or by its place. Raises LabelError."""
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, str) and label in known:
        return known.index(label)
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool) and 0 <= label < len(known):
        return int(label)
    raise LabelError(label, known)


def _split(seeds: Iterable[int], size: int) -> Iterator[Seeds | list[int]]:
    """Yield the seeds in parts of a size, asking for no more than are due."""
    if isinstance(seeds, np.ndarray) and seeds.ndim == 1:
        yield from (seeds[start : start + size] for start in range(0, len(seeds), size))
        return
    try:
        waiting = iter(seeds)
    except TypeError:
        raise SeedError(seeds, "is not a list of seeds") from None
    while part := list(itertools.islice(waiting, size)):
        yield part


def _model_in(folder: Path) -> str:
    """Return what to do about a folder that was named for a model."""
    for inside in (folder / "generator.onnx", folder / "1" / "model.onnx"):
        if inside.is_file():
            return f"the model in it is {inside}"
    return f"make one with: ganport export {shlex.quote(str(folder))}"


def _check_file(path: Path) -> tuple[int, int, int]:
    """Return what tells this file from one that takes its place."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelFormatError(path, "the file is empty")
            facts = os.fstat(file.fileno())
        str(path).encode()
    except UnicodeEncodeError:
        raise ModelNotFoundError(path, "onnxruntime opens names in UTF-8 only") from None
    except FileNotFoundError:
        others = f", or name one in the box: {', '.join(BUNDLED)}" if BUNDLED else ""
        raise ModelNotFoundError(path, remedy=f"make one with: ganport export{others}") from None
    except IsADirectoryError:
        raise ModelNotFoundError(path, "it is a folder", _model_in(path)) from None
    except OSError as error:
        raise ModelNotFoundError(path, system_reason(error)) from error
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _check_numbers(threads: int | None, batch_size: int | None) -> None:
    for name, value, most in (("threads", threads, _MOST_THREADS), ("batch_size", batch_size, _MOST_IMAGES)):
        if value is not None and not (isinstance(value, (int, np.integer)) and 1 <= value <= most):
            raise UsageError(f"{name} is {value!r}; it takes 1 to {most:,}.")


def _check_choices(**asked: tuple[str | None, tuple[str, ...]]) -> None:
    for name, (value, known) in asked.items():
        if value is not None and value not in known:
            raise UsageError(f"{name} is {value!r}; it takes {' or '.join(known)}.")


def _read_contract(
    session: Any, nodes: Sequence[Node], source: Path | bytes, layout: Layout | None, value_range: ValueRange | None
) -> Contract:
    """Return the contract, after holding it against the graph that it came with; a foreign file's graph is asked itself."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return describe(session, nodes, source, layout, value_range)
    if layout or value_range:
        raise UsageError("The file says itself how its images lie and what they range over; leave out layout and range.")
    contract = Contract.from_json(text)
    given, image = contract.input, contract.image
    inputs = session.get_inputs()
    if given.labels and given.kind != "fixed":
        _check_tensors(
            "input.labels", [tensor for tensor in inputs if tensor.name == LABEL], LABEL, "int64", contract.batch, ()
        )
        inputs = [tensor for tensor in inputs if tensor.name != LABEL]
    if given.kind == "fixed":
        _check_fixed(contract, inputs)
    elif given.kind == "seed":
        _check_tensors("input", inputs, given.name, "int64", contract.batch, ())
    else:
        _check_tensors("input", inputs, given.name, "float32", contract.batch, (given.dim,))
    _check_tensors("image", session.get_outputs(), image.name, image.dtype, contract.batch, image.graph_shape)
    return contract


def _check_fixed(contract: Contract, inputs: Any) -> None:
    if inputs:
        raise ContractError("input", f"the contract promises no input, the graph has {[tensor.name for tensor in inputs]}")
    if contract.batch != len(contract.input.seeds or ()):
        raise ContractError("input.seeds", f"one seed per image is due, batch is {contract.batch or 'dynamic'}")


def _check_tensors(field: str, tensors: Any, name: str, dtype: str, batch: int | None, shape: tuple[int, ...]) -> None:
    """Raise ContractError unless the graph has exactly the one tensor that the contract promises."""
    there = [(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in tensors]
    fits = (
        len(there) == 1
        and there[0][:2] == (name, _ORT_TYPES[dtype])
        and len(there[0][2]) == 1 + len(shape)
        and there[0][2][1:] == shape
        and (not isinstance(there[0][2][0], int) if batch is None else there[0][2][0] == batch)
    )
    if not fits:
        due = (name, _ORT_TYPES[dtype], ("batch" if batch is None else batch, *shape))
        raise ContractError(field, f"the contract promises {due}, the graph has {there}")
