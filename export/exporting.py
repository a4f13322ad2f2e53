"""The function `ganport.export`: all steps of an export, from the arguments of the user to the file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args

from ganport.runtime import Contract
from ganport.runtime.contract import Distribution, InputKind, Layout, Precision
from ganport.runtime.description import Description, ValueRange
from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.files import expand_home
from ganport.trainer.recipe import TITLE_RULE, is_title
from ganport.trainer.run_folder import RunFolder

from .card import card_files, write_card
from .errors import GeneratorError
from .options import FileFormat, Options, Output, check_choice, options_for, read_seeds
from .packages import load_packages
from .paths import (
    LoadingOptions,
    check_ending,
    check_is_other,
    check_path,
    check_replaceable,
    default_path,
    find_source,
    is_onnx,
    model_file,
)
from .targets import TargetName

if TYPE_CHECKING:
    import keras

    from ganport.trainer.run import Run

    from .c_source.source_files import SourceFacts
    from .costs import Cost
    from .paths import Found
    from .sources import Source
    from .verified import Verified


@dataclasses.dataclass(frozen=True)
class Exported:
    """The result of an export: the written file, and what is known about it.

    Attributes:
        path: The file, or the folder of a Triton model.
        contract: The contract in the file.
        size: Size in bytes of the file, or of the folder of a Triton model.
        card: Paths of the model card and of its preview; empty if no card was written.
        verified: The verified graph that was written.
        c_source: Sizes of the C code, and the result of its self-test; None for the other formats.
    """

    path: Path
    contract: Contract
    size: int
    card: tuple[Path, ...]
    verified: Verified = dataclasses.field(repr=False)
    c_source: SourceFacts | None = None

    def measure_costs(self) -> list[tuple[str, Cost]]:
        """Return pairs of a precision and the cost of the graph in this precision, on this machine's CPU.

        The first pair is for float32. The second pair is for the precision of the file; it is missing if the
        file is in float32.
        """
        from .costs import measure_costs

        models = {"float32": self.verified.float32, self.contract.precision: self.verified.model}
        costs = measure_costs(list(models.values()), distribution=self.verified.source.distribution)
        return list(zip(models, costs, strict=True))

    def measure_rewrites(self) -> list[tuple[str, Cost]]:
        """Return the cost of the float32 graph before the rewrites, and after each rewrite that changes it.

        The result is a list of pairs: the name of a rewrite, and the cost after this rewrite. In the first
        pair, the cost is that of the graph before the rewrites, and the name is "as tf2onnx converts it".
        """
        from .costs import measure_rewrites

        return measure_rewrites(self.verified.plain, distribution=self.verified.source.distribution)


def export(
    source: Run | str | os.PathLike[str] | keras.Model | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    step: int | None = None,
    best: bool = False,
    value_range: ValueRange | None = None,
    clip: bool = False,
    source_layout: Layout | None = None,
    image_size: tuple[int, int, int] | None = None,
    labels: int | Sequence[str] | None = None,
    labels_at: int | None = None,
    latents: Distribution | None = None,
    input_values: Mapping[str, float] | None = None,
    output_name: str | None = None,
    trust: bool = False,
    custom_objects: str | os.PathLike[str] | None = None,
    network: str | os.PathLike[str] | None = None,
    signature: str | None = None,
    layer: str | None = None,
    input_kind: InputKind = "latent",
    seeds: str | Iterable[int] = (),
    output: Output | None = None,
    layout: Layout | None = None,
    precision: Precision = "float32",
    allow_loss: bool = False,
    batch: int | None = None,
    opset: int | None = None,
    file_format: FileFormat = "onnx",
    target: TargetName | None = None,
    title: str | None = None,
    card: bool = False,
    overwrite: bool = False,
) -> Contract:
    """Write a generator as one file that generates the images of the original, and return its contract.

    The file is verified before it is written: its images are compared with those of the original generator.

    Args:
        source: A run or its folder, a .keras or .h5 file, a SavedModel folder, an .onnx file, the name of a
            pretrained generator, weights with a `network`, or a Keras model in memory. None stands for the
            newest run under runs/ that has a checkpoint, or for the newest run if no run has a checkpoint.
        path: The file to write, or the folder of a Triton model. The default is generator.onnx in the folder
            of a run, or a file beside `source`, or a file in the current folder for a pretrained generator. A
            Keras model in memory has no default.
        step: Step of the checkpoint of a run. By default it is the checkpoint with the smallest Fréchet
            distance, or the newest one if this distance was not measured during the training.
        best: Export the best checkpoint of a run also if the Fréchet distance was not measured: then the one
            with the smallest pixel distance, which compares colours and coarse shapes only.
        value_range: Range of a third-party model's images: "tanh" for -1 to 1, "sigmoid" for 0 to 1, or the
            values of black and white, such as (0, 255). It is needed if the last operations of the model do
            not decide the range.
        clip: Clip values outside of the range. By default they are an error.
        source_layout: Layout of a third-party model's images, if their shape fits both layouts.
        image_size: Height, width and channels of a third-party model's images, if they are rows of pixels.
        labels: Number of labels of a third-party model, or their names.
        labels_at: Index at which a label's one-hot code begins among the latents of a third-party model. By
            default it follows the latents.
        latents: Distribution of a third-party model's latents: "normal", "uniform" for -1 to 1, or
            "uniform01" for 0 to 1.
        input_values: Dict from the name of an input of a third-party model to its constant value.
        output_name: Name of the output of a third-party model that holds the images.
        trust: Run the code that a Keras file contains (Lambda layers), and `custom_objects`. This code can do
            whatever a Python script can do.
        custom_objects: Python file with the classes and functions that a Keras file uses.
        network: Python file with a function `build_generator`, or JSON file of a Keras architecture, for a
            file that holds only weights. The Python file is run.
        signature: Name of the signature of a SavedModel that generates images.
        layer: Name of the generator inside of a Keras model that contains it, such as a whole GAN.
        input_kind: "latent" for latents, "seed" for seeds, or "fixed" for no input: the file then generates
            the images of `seeds`.
        seeds: Seeds of a "fixed" file, given as a text such as "0-63" or as whole numbers.
        output: "uint8" for pixels in [0, 255], "float" for float32 in [-1, 1]. The default is "uint8", or
            what the target needs.
        layout: "NHWC" for channels last, "NCHW" for channels first. The default is "NHWC", or what the target
            needs.
        precision: "float32"; "float16" for weights that are stored in float16, and arithmetic in float32, on
            any device; "float16-arithmetic" for weights and arithmetic in float16, which is faster on some
            GPUs; "int8" for weights and arithmetic in 8 bits.
        allow_loss: Write a file in float16 or int8 even if its images differ too much from the original's.
        batch: Number of images per call, for programs that need a fixed number. By default each call may
            have any number; most targets get one image per call.
        opset: Version of the ONNX standard operators. The default is 18, or the newest that the target reads.
        file_format: "onnx"; "ort" for small builds of onnxruntime; "triton" for a folder of a Triton model
            repository; "c" for C source without any library, a header and a contract in JSON.
        target: Runtime that reads less of ONNX than onnxruntime does: "portable" for the smallest set that
            every runtime reads, "unity", "webgpu", "ncnn", "coreml" or "tensorrt". The description of the
            file also lies beside it, in NAME.json, with the rule from seeds to latents.
        title: Name of the model in the contract, which cards and pages show. By default it is the title of
            the run, or else the name of the recipe or of the file.
        card: Write a model card, README.md and preview.png, beside the file.
        overwrite: Replace existing files, after the new file is verified.

    Returns:
        The contract in the file.

    Raises:
        UsageError: The value of an argument is not allowed, or two arguments contradict each other.
        SeedError: `seeds` contains a value that is not a seed, or too many seeds.
        SourceNotFoundError: There is no such file or folder.
        RunNotFoundError: The folder is not a run, or there is no run under runs/.
        CheckpointError: The run has no checkpoint that can be used.
        GeneratorError: The model is not a generator, or an operation of it has no counterpart in ONNX.
        PrecisionError: The weights can't be stored in this precision.
        TargetError: The graph has something that the target does not read. Nothing was written.
        VerificationError: The graph does not generate the images of the original. Nothing was written.
        OutputError: The file can't be written, or it exists and `overwrite` is false.
        MissingPackageError: A package of the extra `export` is not installed.
        KerasBackendError: Keras uses a backend other than TensorFlow.
    """
    return export_file(
        source,
        path,
        step=step,
        best=best,
        value_range=value_range,
        clip=clip,
        source_layout=source_layout,
        image_size=image_size,
        labels=labels,
        labels_at=labels_at,
        latents=latents,
        input_values=input_values,
        output_name=output_name,
        trust=trust,
        custom_objects=custom_objects,
        network=network,
        signature=signature,
        layer=layer,
        input_kind=input_kind,
        seeds=seeds,
        output=output,
        layout=layout,
        precision=precision,
        allow_loss=allow_loss,
        batch=batch,
        opset=opset,
        file_format=file_format,
        target=target,
        title=title,
        card=card,
        overwrite=overwrite,
    ).contract


class SourceDescription(TypedDict, total=False):
    """The arguments of `export` that describe a third-party generator."""

    value_range: ValueRange | None
    clip: bool
    source_layout: Layout | None
    image_size: tuple[int, int, int] | None
    labels: int | Sequence[str] | None
    labels_at: int | None
    latents: Distribution | None
    input_values: Mapping[str, float] | None
    output_name: str | None


class ExportArguments(SourceDescription, total=False):
    """The keyword arguments of `export`, which describes each of them."""

    step: int | None
    best: bool
    trust: bool
    custom_objects: str | os.PathLike[str] | None
    network: str | os.PathLike[str] | None
    signature: str | None
    layer: str | None
    input_kind: InputKind
    seeds: str | Iterable[int]
    output: Output | None
    layout: Layout | None
    precision: Precision
    allow_loss: bool
    batch: int | None
    opset: int | None
    file_format: FileFormat
    target: TargetName | None
    title: str | None
    card: bool
    overwrite: bool


_DESCRIPTION = ("value_range", "clip", "image_size", "labels", "labels_at", "latents", "output_name")
_LOADING = ("custom_objects", "network", "signature", "layer")
_OPTIONS = ("input_kind", "output", "layout", "precision", "allow_loss", "batch", "opset", "target")


def export_file(
    source: Run | str | os.PathLike[str] | keras.Model | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[str], object] = lambda line: None,
    **arguments: Unpack[ExportArguments],
) -> Exported:
    """Do what `export` does, and return the contract together with the path, the size and the graph.

    Args:
        source: As for `export`.
        path: As for `export`.
        note: Function that is called with a line of text about each choice that the arguments leave open,
            such as the newest run or the step of the checkpoint.
        progress: Function that is called with a line of text when a step begins.
        **arguments: The other arguments of `export`. The errors are the same, too.
    """
    # Everything that can be checked without TensorFlow comes first, since loading TensorFlow takes seconds.
    given: dict[str, Any] = dict(arguments)
    file_format, overwrite = given.get("file_format", "onnx"), given.get("overwrite", False)
    best, has_card, title = given.get("best", False), given.get("card", False), given.get("title")
    options = options_for(seeds=read_seeds(given.get("seeds", ())), **_chosen(given, _OPTIONS))
    description, loading = _read_description(given), _read_loading(given)
    check_choice("file_format", file_format, get_args(FileFormat))
    _check_title(title)
    check_ending(path, file_format)
    found = find_source(source, note)
    _check_source_options(found, given)
    checkpoint = _choose_checkpoint(found, best, given.get("step")) if isinstance(found, RunFolder) else None
    target = default_path(found, file_format) if path is None else Path(path)
    check_is_other(target, found)
    check_path(target, options, file_format, overwrite=overwrite)
    folder = target if file_format == "triton" else target.parent
    if file_format == "c" and has_card:
        raise UsageError(
            "`card=True` is for files that the runtime opens; with `file_format='c'` leave it out."
        )
    for file in card_files(folder) if has_card else ():
        check_replaceable(file, overwrite)

    needs_tensorflow = not (isinstance(found, Path) and is_onnx(found))
    progress("loading TensorFlow" if needs_tensorflow else "reading the file")
    load_packages(tensorflow=needs_tensorflow)
    from .sources import load_source
    from .verified import convert_and_verify
    from .writing import write_model

    loaded = load_source(
        found, step=checkpoint, description=description, loading=loading, opset=options.opset
    )
    if title:
        loaded = dataclasses.replace(loaded, name=title)
    if isinstance(found, RunFolder) and given.get("step") is None:
        _note_checkpoint(found, loaded, best, note)
    _note_description(loaded, note)
    if options.batch is None and loaded.fixed_batch is not None and options.input_kind != "fixed":
        note(f"batch: {loaded.fixed_batch}, because the graph works with this number of images only")
        options = dataclasses.replace(options, batch=loaded.fixed_batch)
    if file_format == "c":
        return _export_source(loaded, target, options, progress)
    verified = convert_and_verify(loaded, options, progress=progress)
    with _naming_the_path():
        contract = write_model(verified, target, file_format, overwrite=overwrite)
        size = _size(target)
        card_paths = write_card(model_file(target, file_format), folder) if has_card else ()
    return Exported(target, contract, size, card_paths, verified)


def _export_source(
    source: Source, path: Path, options: Options, progress: Callable[[str], object]
) -> Exported:
    """Write a generator as C source."""
    from .c_source.source_files import prepare_source, write_source
    from .verified import convert_and_verify

    if options.batch not in (None, 1):
        raise GeneratorError(
            source.name,
            f"it works with {options.batch} images at a time only, and the C code makes one image at a time.",
        )
    verified = convert_and_verify(source, options, prepare_source=prepare_source, progress=progress)
    with _naming_the_path():
        contract, facts = write_source(verified, path, progress=progress)
    return Exported(path, contract, _size(path), (), verified, facts)


def _check_title(title: str | None) -> None:
    if title is not None and not is_title(title):
        raise UsageError(f"`title` is {title!r}; it must be {TITLE_RULE}.")


def _chosen(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: arguments[name] for name in names if name in arguments}


def _read_description(arguments: Mapping[str, Any]) -> Description:
    values = arguments.get("input_values")
    return Description(
        layout=arguments.get("source_layout"),
        layout_argument="source_layout",
        input_values={} if values is None else values,
        **_chosen(arguments, _DESCRIPTION),
    )


def _read_loading(arguments: Mapping[str, Any]) -> LoadingOptions:
    chosen = _chosen(arguments, _LOADING)
    for name in ("custom_objects", "network"):
        if chosen.get(name) is not None:
            chosen[name] = expand_home(chosen[name])
    return LoadingOptions(trust=arguments.get("trust", False), **chosen)


def export_generator(
    source: Source, path: Path, options: Options | None = None, *, overwrite: bool = False
) -> Contract:
    """Write a generator that is already loaded as one verified .onnx file, and return its contract.

    Args:
        source: The generator, and what is known about it.
        path: The file to write.
        options: Options of the file; None for the defaults.
        overwrite: Replace an existing file, after the new file is verified.

    Raises:
        GeneratorError: An operation of the model has no counterpart in ONNX.
        PrecisionError: The weights can't be stored in this precision.
        VerificationError: The graph does not generate the images of the original. Nothing was written.
        OutputError: The file can't be written, or it exists and `overwrite` is false.
    """
    chosen = options or Options()
    check_path(path, chosen, overwrite=overwrite)
    load_packages()
    from .verified import convert_and_verify
    from .writing import write_model

    return write_model(convert_and_verify(source, chosen), path, overwrite=overwrite)


def _choose_checkpoint(run: RunFolder, best: bool, step: int | None) -> int:
    """Return the step of the checkpoint of a run that is exported. Raises RunError."""
    run.read_recipe()  # raises RunNotFoundError
    if step is not None:
        run.check_step(step)
        return step
    return run.best_step() if best else run.step_to_export()


def _check_source_options(source: Found, arguments: Mapping[str, Any]) -> None:
    """Raise UsageError if an option does not apply to the kind of source."""
    if isinstance(source, RunFolder):
        for name in ("source_layout", "input_values", *_DESCRIPTION, *_LOADING):
            if arguments.get(name) not in (None, False, {}):
                raise UsageError(
                    f"{source.path} is a run, which states what `{name}` says; leave `{name}` out."
                )
        if arguments.get("best") and arguments.get("step") is not None:
            raise UsageError("`best=True` and `step` both choose a checkpoint; give one of them.")
        return
    what = f"{source} is not a run" if isinstance(source, Path) else "a Keras model is not a run"
    for name, given in (("best", arguments.get("best")), ("step", arguments.get("step") is not None)):
        if given:
            option = "`best=True`" if name == "best" else "`step`"
            raise UsageError(f"{option} chooses a checkpoint of a run, and {what}; leave `{name}` out.")


def _note_description(source: Source, note: Callable[[str], None]) -> None:
    """Call `note` with a doubt about a third-party generator, if there is one."""
    doubt = getattr(source.generator, "note", "")
    if doubt:
        note(f"note: {doubt}")


def _note_checkpoint(run: RunFolder, source: Source, best: bool, note: Callable[[str], None]) -> None:
    """Call `note` with the checkpoint that was chosen, unless it is the last one of a complete run."""
    step, metrics, newest = source.training["steps"], source.training["metrics"], run.newest_step()
    text = f"checkpoint: step {step:,}"
    remedy = "" if step == newest else f"; `step={newest}` exports the newest"
    if "frechet" in metrics and step == run.step_to_export():
        distance = f"{metrics['frechet']:.3f}"
        note(f"{text}, with the smallest Fréchet distance to training images, {distance}{remedy}")
    elif best and "distance" in metrics:
        reason = "Fréchet distances were not measured during the training"
        note(f"{text}, with the smallest pixel distance, {metrics['distance']:.3f}; {reason}{remedy}")
    elif best:
        note(f"{text}, the newest; no distance was measured")
    elif step < source.recipe["steps"]:
        note(f"{text} of {source.recipe['steps']:,}")


@contextlib.contextmanager
def _naming_the_path() -> Iterator[None]:
    """Replace an OutputError from the `with` block by a new OutputError that names the argument `path`.

    The functions of the runtime that write files have an argument `out`, and their messages name `out`. Users
    of `export` know this argument as `path`.
    """
    try:
        yield
    except OutputError as error:
        raise OutputError(error.path, error.problem, "choose another `path`.") from error


def _size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
