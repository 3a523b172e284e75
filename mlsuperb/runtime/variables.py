"""Environment variables of other libraries: those that have no effect on a run, and those that are recorded."""

from __future__ import annotations

import logging
import os
import re

from mlsuperb.runtime import ranks

log = logging.getLogger(__name__)

_ACCELERATE = "ACCELERATE_"
_HARMLESS = ("ACCELERATE_CPU_AFFINITY", "ACCELERATE_DEBUG_MODE", "ACCELERATE_DEBUG_RDV_FILE")
_NOTHING = ("", "no", "none", "false", "0", "default")  # what `accelerate launch` sets where nothing was asked for
# What can change numbers and that this process cannot take back: libraries read it when they are loaded, or at any time.
_RECORDED = re.compile(
    r"(NVIDIA_TF32_OVERRIDE|(TORCH|PYTORCH|ATEN|CUBLAS|CUBLASLT|CUDNN|CUDA|NCCL|MKL|OMP|OPENBLAS|BLIS|ONEDNN|DNNL|KMP|GOMP|XLA"
    r"|ACCELERATE|FSDP|BNB|TRITON)_\w+|TORCHDYNAMO_\w+|TORCHINDUCTOR_\w+|PYTHONHASHSEED)"
)
_PLACES = re.compile(r".*(_HOME|_DIR|_PATH|_CACHE|_FILE|_ADDR|_IFNAME|_ROOT|_PREFIX)")  # machines' own, and no numbers


def take_out_accelerates() -> None:
    """Take accelerate's settings out of the environment of this process: its `Accelerator` obeys them beside what it is told, so
    that they would train another model (`ACCELERATE_GRADIENT_ACCUMULATION_STEPS`, `ACCELERATE_DYNAMO_BACKEND`) under the same
    name. What a run is stands in its configuration alone. A warning names what has asked for something.

    With them goes a launcher's LOCAL_RANK where it started one process: by it an `Accelerator` makes a group of its own, and
    moves the model to GPU 0, whichever the run has taken."""
    if ranks.launched() == 1:
        os.environ.pop("LOCAL_RANK", None)
    names = sorted(name for name in os.environ if name.startswith(_ACCELERATE) and name not in _HARMLESS)
    given = {name: os.environ.pop(name) for name in names}
    asked = [
        f"{name}={value}"
        for name, value in given.items()
        if value.lower() not in _NOTHING and (name, value) != ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    ]
    if asked:
        log.warning(
            "%s in the environment has no effect here: give settings of the run instead, such as trainer.accumulate, "
            "trainer.precision, trainer.compile, trainer.parallel or trainer.device", ", ".join(asked),
        )  # fmt: skip


def recorded() -> dict[str, str]:
    """Variables of this process that can change numbers, for the record of a run; no places, no secrets."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _RECORDED.fullmatch(name) and not _PLACES.fullmatch(name)
    }
