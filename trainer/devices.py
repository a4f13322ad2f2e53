"""Import of TensorFlow without its log lines, and choice of the devices for training."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganport.runtime.display import first_line
from ganport.runtime.errors import MissingPackageError
from ganport.runtime.stderr import captured_stderr

from .errors import DeviceError, RecipeError

if TYPE_CHECKING:
    import tensorflow as tf

    from .recipe import Recipe

DeviceName = Literal["auto", "cpu", "gpu"]

_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}  # Linux' names of the CPU's instructions for bfloat16 products
_AMPERE = (8, 0)  # compute capability of the first GPUs that multiply bfloat16


def load_tensorflow(purpose: str = "training", extra: str = "train") -> None:
    """Import TensorFlow, and hide the dozen lines that its C++ code prints during the import.

    These lines call for no action by the user. They are printed only if the import fails for a reason other
    than a missing package.

    Args:
        purpose: Name of the feature that needs TensorFlow, for the error message.
        extra: Name of ganport's extra that installs TensorFlow.

    Raises:
        MissingPackageError: TensorFlow, or a package that TensorFlow needs, is not installed.
    """
    # Level 3 hides the errors in TensorFlow's log. At level 2, TensorFlow would print a harmless error when
    # its graph optimizer fails to fuse a convolution with LeakyReLU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.path.expanduser("~") == "~":  # noqa: PTH111 (Path.expanduser raises an error)
        # The user has no home folder. Keras would create a folder with the name ~ in the working folder for
        # its settings. Below a file, it creates none.
        os.environ.setdefault("KERAS_HOME", str(Path(os.devnull) / "keras"))
    if platform.machine().lower() in ("x86_64", "amd64"):
        # By itself, TensorFlow uses oneDNN only on CPUs with AVX512-VNNI or AMX. On a CPU with AVX2 alone,
        # oneDNN makes the convolutional recipes 1.7 to 2.0 times as fast. A user's own setting is kept.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    captured = io.StringIO()
    try:
        with captured_stderr() as captured:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # prints a line if it finds no GPU
            # TensorFlow's arithmetic optimizer is turned off, because it fails with "TmpVar already exists"
            # when it rewrites sums of gradients in a loop that contains a condition.
            tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "tensorflow", purpose, extra) from error
    except Exception:
        sys.stderr.write(captured.getvalue())
        raise


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that a run trains on.

    Attributes:
        description: Description for messages, such as "2 CPU devices".
        strategy: TensorFlow's strategy, which shares each batch among the devices.
        hosts: Number of processes in the cluster, including this process; 1 without a cluster.
        is_chief: Whether this process writes the run folder. All other processes of a cluster only compute.
    """

    description: str
    strategy: tf.distribute.Strategy
    hosts: int = 1
    is_chief: bool = True

    @property
    def count(self) -> int:
        """Number of devices that share each batch, on all hosts."""
        return int(self.strategy.num_replicas_in_sync)


def choose_devices(device: DeviceName = "auto", count: int = 1) -> Devices:
    """Return the requested devices.

    This function must be called before TensorFlow computes anything. If the environment variable TF_CONFIG
    describes a cluster of several workers, this process joins the cluster.

    Args:
        device: Kind of the devices. "auto" is the GPU if TensorFlow finds a GPU, else the CPU.
        count: Number of devices of this host that share each batch. A CPU is split into this number of
            logical devices.

    Raises:
        DeviceError: There are fewer devices than requested, TensorFlow has already begun to compute, or this
            process fails to join the cluster.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    kind: str = device
    if device == "auto":
        kind = "gpu" if gpus else "cpu"
    if kind == "gpu" and len(gpus) < count:
        raise DeviceError(
            kind, f"TensorFlow {tf.__version__} finds {len(gpus)} of {count} requested GPUs", _gpu_remedy(tf)
        )
    try:
        _configure(tf, kind, count)
    except RuntimeError as error:  # raised if TensorFlow has already begun to compute
        remedy = "choose the device before anything else is done with TensorFlow"
        raise DeviceError(kind, first_line(error), remedy) from error
    workers = count_workers()
    if workers > 1:
        return _join_cluster(tf, kind, count, workers)
    if count > 1:
        names = [f"{kind.upper()}:{index}" for index in range(count)]
        return Devices(f"{count} {kind.upper()} devices", tf.distribute.MirroredStrategy(names))
    return Devices(kind.upper(), tf.distribute.get_strategy())


def has_fast_bfloat16(recipe: Recipe) -> bool:
    """Return whether the chosen devices train a recipe faster in bfloat16 than in float32.

    GPUs do so from Ampere on. CPUs do so if they have instructions for products in bfloat16, and if XLA does
    not compile the recipe: XLA multiplies in bfloat16 more slowly than in float32. On two cores with AMX,
    `digits` is 1.3 times as fast, and `mnist-dense`, which XLA compiles, 0.87 times.

    This function must be called after `choose_devices`.
    """
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = (tf.config.experimental.get_device_details(gpu) for gpu in gpus)
        return all(each.get("compute_capability", (0, 0)) >= _AMPERE for each in details)
    return not recipe.jit and not _BFLOAT16_FLAGS.isdisjoint(_cpu_flags())


def _cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the CPU by Linux' names; an empty set on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def check_sharing(recipe: Recipe, devices: Devices) -> None:
    """Raise RecipeError if the devices can't share the batches of a recipe."""
    if recipe.batch_size % devices.count:
        raise RecipeError(
            f"{devices.description} can't share a batch of {recipe.batch_size} images equally; choose a "
            f"multiple of {devices.count} as `batch_size`."
        )
    if devices.count > 1 and recipe.schedule == "alternating":
        raise RecipeError(
            f"The schedule {recipe.schedule!r} works on one device only, because TensorFlow does not support "
            "conditional updates on several devices; train on one device, or choose another schedule."
        )


def _configure(tf: Any, kind: str, count: int) -> None:
    config = tf.config
    gpus = config.list_physical_devices("GPU")
    if kind == "cpu":
        config.set_visible_devices([], "GPU")
        if count > 1:
            (cpu,) = config.list_physical_devices("CPU")
            config.set_logical_device_configuration(cpu, [config.LogicalDeviceConfiguration()] * count)
        return
    config.set_visible_devices(gpus[:count], "GPU")
    for gpu in gpus[:count]:
        # By default TensorFlow reserves all memory of a GPU; with memory growth it reserves what it needs. If
        # this process has already used the GPU, the setting can't be changed, and TensorFlow raises
        # RuntimeError.
        with contextlib.suppress(RuntimeError):
            config.experimental.set_memory_growth(gpu, True)


def count_workers() -> int:
    """Return the number of workers in the environment variable TF_CONFIG; 1 if the variable is not set.

    Raises:
        DeviceError: The variable does not describe a cluster.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 1
    try:
        return max(1, len(json.loads(text).get("cluster", {}).get("worker", [])))
    except (ValueError, AttributeError, TypeError) as error:
        problem = f"TF_CONFIG is not the JSON document of a cluster ({first_line(error)})"
        raise DeviceError("cluster", problem, "see docs/training.md") from error


def _join_cluster(tf: Any, kind: str, count: int, workers: int) -> Devices:
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise DeviceError("cluster", first_line(error), "see TF_CONFIG in docs/training.md") from error
    return Devices(
        description=f"{workers} hosts with {count} {kind.upper()} each",
        strategy=strategy,
        hosts=workers,
        is_chief=strategy.cluster_resolver.task_id == 0,
    )


def _gpu_remedy(tf: Any) -> str:
    if not tf.sysconfig.get_build_info().get("is_cuda_build", False):
        return "this TensorFlow is built for the CPU only; run: pip install 'ganport[train-gpu]'"
    return (
        "check the driver with nvidia-smi and the installation of 'ganport[train-gpu]', or use `device='cpu'`"
    )
