"""TensorFlow, brought in quietly, and the devices that it is to use."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Literal

from ganport.runtime.errors import DeviceError, first_line
from ganport.runtime.stderr import captured_stderr

if TYPE_CHECKING:
    import tensorflow as tf

DeviceName = Literal["auto", "cpu", "gpu"]


def load_tensorflow() -> None:
    """Import TensorFlow for the first time, without the dozen lines that its C++ part prints on the way.

    They say nothing that a user could act on. Where the import fails for another reason than a missing package, they are
    printed after all.

    Raises:
        ModuleNotFoundError: TensorFlow, or a package that it needs, is not installed.
    """
    # At 2, an optimiser of graphs reports as an error that it leaves a loop as it is (convolution, then LeakyReLU).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with captured_stderr() as captured:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so when it finds none
            # It rewrites sums of gradients in a way that fails in a loop with a condition: "TmpVar already exists".
            tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    except ModuleNotFoundError:
        raise
    except Exception:
        sys.stderr.write(captured.getvalue())
        raise


@dataclasses.dataclass(frozen=True)
class Devices:
    """What a run works on.

    Attributes:
        description: for people, as in "2 CPU devices".
        strategy: TensorFlow's way to share each batch among them.
        hosts: how many processes of a cluster work together, this one included.
        is_chief: whether this process is the one that writes; all others of a cluster only compute.
    """

    description: str
    strategy: tf.distribute.Strategy
    hosts: int = 1
    is_chief: bool = True

    @property
    def count(self) -> int:
        """How many devices share each batch, on all hosts."""
        return int(self.strategy.num_replicas_in_sync)


def choose_devices(device: DeviceName = "auto", count: int = 1) -> Devices:
    """Return the devices that were asked for; to be called before TensorFlow computes anything.

    Where the environment has TF_CONFIG with a cluster of several workers, this process is one of them.

    Args:
        device: "auto" is the GPU where TensorFlow finds one, else the CPU.
        count: devices of this host that share each batch. A CPU is split into so many.

    Raises:
        DeviceError: there are not so many, or the cluster can't be joined.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    kind = ("gpu" if gpus else "cpu") if device == "auto" else device
    if kind == "gpu" and len(gpus) < count:
        raise DeviceError(kind, f"TensorFlow {tf.__version__} finds {len(gpus)} of {count}", _gpu_remedy(tf))
    try:
        _configure(tf, kind, count)
    except RuntimeError as error:  # TensorFlow has begun to compute
        raise DeviceError(kind, first_line(error), "choose the device before anything else is done with TensorFlow") from error
    names = [f"{kind.upper()}:{index}" for index in range(count)]
    workers = _workers()
    if workers > 1:
        return _join_cluster(tf, kind, count, workers)
    if count > 1:
        return Devices(f"{count} {kind.upper()} devices", tf.distribute.MirroredStrategy(names))
    return Devices(kind.upper(), tf.distribute.get_strategy())


def _configure(tf: object, kind: str, count: int) -> None:
    config = tf.config  # type: ignore[attr-defined]
    gpus = config.list_physical_devices("GPU")
    if kind == "cpu":
        config.set_visible_devices([], "GPU")
        if count > 1:
            (cpu,) = config.list_physical_devices("CPU")
            config.set_logical_device_configuration(cpu, [config.LogicalDeviceConfiguration()] * count)
        return
    config.set_visible_devices(gpus[:count], "GPU")
    for gpu in gpus[:count]:
        config.experimental.set_memory_growth(gpu, True)  # by default TensorFlow takes all of a GPU's memory


def _workers() -> int:
    """Return how many workers TF_CONFIG names; 1 where it is not set. Raises DeviceError."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 1
    try:
        return max(1, len(json.loads(text).get("cluster", {}).get("worker", [])))
    except (ValueError, AttributeError, TypeError) as error:
        raise DeviceError(
            "cluster", f"TF_CONFIG is no JSON of a cluster ({first_line(error)})", "see docs/training.md"
        ) from error


def _join_cluster(tf: object, kind: str, count: int, workers: int) -> Devices:
    distribute = tf.distribute  # type: ignore[attr-defined]
    try:
        strategy = distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:  # type: ignore[attr-defined]
        raise DeviceError("cluster", first_line(error), "see TF_CONFIG in docs/training.md") from error
    return Devices(
        description=f"{workers} hosts with {count} {kind.upper()} each",
        strategy=strategy,
        hosts=workers,
        is_chief=strategy.cluster_resolver.task_id == 0,
    )


def _gpu_remedy(tf: object) -> str:
    built = tf.sysconfig.get_build_info().get("is_cuda_build", False)  # type: ignore[attr-defined]
    if not built:
        return "this TensorFlow is built for the CPU only; run: pip install 'ganport[train-gpu]'"
    return "check the driver with nvidia-smi, and that 'ganport[train-gpu]' is installed; or train with --device cpu"
