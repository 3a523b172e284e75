"""A GPU that is not there, for machines without one: its tensors say that they lie on it, and hold their values on the host.

    with AbsentGPU() as gpu:
        features = on_gpu(upstream)(wave_BT.to("cuda"), lengths_B.to("cuda"))
    gpu.reads                       # where the host would have waited for it
    on_host(features.layers[0])     # the values

As on a real one, tensors of two devices do not meet, but for those of one value; NumPy does not read them; a generator of the
host's does not fill them. There is no backward pass: autograd asks for the driver.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import mlsuperb

GPU = torch.device("cuda", 0)
PACKAGE = Path(mlsuperb.__file__).parent
READS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}  # of values: item(), nonzero() and their like
READ_LENGTHS = torch.ops.aten._ctc_loss.Tensor
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
BOTH = (*COPIES, torch.ops.aten._pack_padded_sequence.default)  # takes its lengths on the host
MASKED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)  # by a mask
# What torch asks before it takes a kernel of its own for the device: no, the formula
FUSED = {
    torch.ops.aten._fused_sdp_choice.default: 0,
    torch.ops.aten._use_cudnn_ctc_loss.Tensor: False,
    torch.ops.aten._use_miopen_ctc_loss.Tensor: False,
}
Model = TypeVar("Model", bound=nn.Module)


class OnGPU(Tensor):
    """A tensor on the GPU that is not there; `held` has its values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Self:
        like = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        found = Tensor._make_wrapper_subclass(cls, held.shape, **like, device=GPU)
        found.held = held
        return found

    def tolist(self) -> Any:
        """torch has none for subclasses."""
        AbsentGPU.entered[-1].remember_read()
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """In another thread, where the mode is not on."""
        return AbsentGPU.entered[-1].__torch_dispatch__(func, types, args, kwargs)


class AbsentGPU(TorchDispatchMode):
    """Inside, "cuda" is a device.

    Attributes:
        reads: how often the host waited for a value, for a shape that depends on one, or, in the package, for a copy from the
            host that is not `non_blocking`: by file of the package and function.
    """

    entered: ClassVar[list[AbsentGPU]] = []
    _mode_key = torch._C._TorchDispatchModeKey.FAKE  # torch then asks for no driver

    def __init__(self) -> None:
        super().__init__()
        torch._C._ensureCUDADeviceGuardSet()
        self.reads: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._lifts_host = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") is a copy to it
        self.entered.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._lifts_host)
        super().__exit__(*error)
        self.entered.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func in FUSED:
            return FUSED[func]
        kwargs = kwargs or {}
        goes_there = _goes_there(func, args, kwargs)
        _refuse_two_devices(func, args, kwargs, goes_there=goes_there)
        if _waits(func, args, goes_there=goes_there):
            self.remember_read()
        if _copies_and_waits(func, args, kwargs, goes_there=goes_there):
            self.remember_read(elsewhere=False)  # a test brings its tensors as it likes
        found = _on_the_host(func, *tree_map(_held, (args, kwargs)))
        if not goes_there:
            return found
        if torch.Tag.inplace_view in func.tags:  # its shape here changes with that of what it holds
            with no_dispatch():
                func(*args, **kwargs)
        same = {id(one.held): one for one in tree_leaves((args, kwargs)) if isinstance(one, OnGPU)}
        return tree_map(lambda one: same.get(id(one), one if not isinstance(one, Tensor) else OnGPU(one)), found)

    def remember_read(self, *, elsewhere: bool = True) -> None:
        """The innermost function of the package that is running has waited; `elsewhere`: or none of it."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
            if file.is_relative_to(PACKAGE) and not name.startswith("<"):  # comprehensions
                break
            frame = frame.f_back
        if frame is not None or elsewhere:
            self.reads[f"{file.relative_to(PACKAGE)}: {name}" if frame is not None else "elsewhere"] += 1


def on_gpu(model: Model) -> Model:
    """A model, changed in place: its parameters and buffers are put there."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = OnGPU(tensor.detach())  # type: ignore[assignment]
    return model


def on_host(tensor: Tensor) -> Tensor:
    """The values of a tensor that is there, without waiting."""
    assert isinstance(tensor, OnGPU), f"{tensor.device} instead of {GPU}"
    return tensor.held


def _held(one: Any) -> Any:
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.held if isinstance(one, OnGPU) else one


def _goes_there(func: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether what comes out lies on the GPU."""
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device).type == "cuda"
    if func in COPIES:
        return isinstance(args[0], OnGPU)
    return any(isinstance(one, OnGPU) for one in tree_leaves((args, kwargs)))


def _refuse_two_devices(func: Any, args: Any, kwargs: Mapping[str, Any], *, goes_there: bool) -> None:
    inputs = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    host = [one for one in inputs if not isinstance(one, OnGPU) and one.ndim]
    if func not in BOTH and host and any(isinstance(one, OnGPU) for one in inputs):
        raise RuntimeError(f"{func}: tensors of two devices, on the host {[tuple(one.shape) for one in host]}")
    generator = kwargs.get("generator")
    if goes_there and generator is not None and generator.device.type != "cuda":
        raise RuntimeError(f"{func}: a generator of the host fills a tensor of the GPU")


def _waits(func: Any, args: Any, *, goes_there: bool) -> bool:
    if func in COPIES:
        return not goes_there and any(isinstance(one, OnGPU) for one in args)
    if func in MASKED:  # one value fills what a mask says without its shape
        masks = any(isinstance(one, OnGPU) and one.dtype == torch.bool for one in tree_leaves(args[1]))
        return masks and (func is MASKED[0] or args[2].numel() > 1)
    there = any(isinstance(one, OnGPU) for one in tree_leaves(args))
    return there and bool(func is READ_LENGTHS or READS.intersection(func.tags))


def _copies_and_waits(func: Any, args: Any, kwargs: Mapping[str, Any], *, goes_there: bool) -> bool:
    """Whether values of the host are copied there, and the host waits until all that came before is done."""
    if func not in COPIES or not goes_there:
        return False
    source, non_blocking = (
        (args[0], kwargs.get("non_blocking")) if func is COPIES[0] else (args[1], args[2:] == (True,))
    )
    return not isinstance(source, OnGPU) and not non_blocking


def _on_the_host(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.aten.cudnn_batch_norm.default:
        return (*torch.ops.aten.native_batch_norm(*args), torch.empty(0))
    return func(*args, **kwargs)
