"""The device that a job trains on. A GPU that torch does not see is an error: training on the CPU would be paid as a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import torch

# SageMaker's instance types with NVIDIA GPUs are ml.g* and ml.p*.
_GPU_TYPES = ("ml.g", "ml.p")


class DeviceError(RuntimeError):
    """The instance has a GPU that torch cannot use. The message says what to change."""


def choose_device(dev: Path = Path("/dev")) -> torch.device:
    """Return the GPU, or the CPU of a machine that has none.

    SageMaker names the instance type in SM_CURRENT_INSTANCE_TYPE. Elsewhere the driver's files in `dev` count, unless
    CUDA_VISIBLE_DEVICES hides the GPU on purpose.

    Raises:
        DeviceError: the machine has a GPU, and torch sees none.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    instance_type = os.environ.get("SM_CURRENT_INSTANCE_TYPE", "")
    if instance_type.startswith("ml."):
        has_gpu, machine = instance_type.startswith(_GPU_TYPES), instance_type
    else:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        devices = sorted(path.name for path in dev.glob("nvidia[0-9]*"))
        has_gpu, machine = bool(devices) and not hidden, f"this machine ({', '.join(devices)})"
    if has_gpu:
        raise DeviceError(
            f"{machine} has a GPU, but torch {torch.__version__} (CUDA {torch.version.cuda}) sees none: the driver is older "
            "than that CUDA, or torch was built for the CPU. On SageMaker choose a training image with an older CUDA in "
            "deploy/training_images.json, or a CPU type as training_instance_type in deploy/stages.toml, then make deploy. "
            "Elsewhere install a torch with CUDA, or set CUDA_VISIBLE_DEVICES='' to train on the CPU."
        )
    return torch.device("cpu")
