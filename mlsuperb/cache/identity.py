"""What kept features depend on: change any of it, and they are computed anew."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mlsuperb
from mlsuperb.upstreams.base import Upstream

TORCH = torch.__version__.partition("+")[0]  # the same release for another device is the same
BLOCK = 2**18  # values that are added up at a time
_BY_VERSION = {"mlsuperb", "torch", "transformers", "builtins"}  # packages whose code is known by other means


def upstream_identity(upstream: Upstream, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that the features of an upstream depend on: its class, settings and checkpoint, the weights that it really has, the
    code that runs it, torch's included. Of other packages the files of the classes count that the upstream or a module in it
    is of; what those files import does not."""
    return {
        "class": f"{type(upstream).__module__}.{type(upstream).__qualname__}",
        "settings": {key: value for key, value in settings.items() if key not in ("name", "card")},
        "loaded": upstream.record(),
        "weights": fingerprint(upstream.state_dict().items()),
        "code": {
            "mlsuperb": _code_digest(),
            "transformers": importlib.metadata.version("transformers"),
            "torch": TORCH,
            **_foreign_digests(upstream),
        },
    }


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Changes with the name, shape or type of a tensor, with any value, and with the order of the values; the same on every
    device. Values are added up as whole numbers, each times the odd number of its place: a sum does not depend on the order
    in which a device adds, and comes at its full speed."""
    digest = hashlib.sha256()
    places: dict[torch.device, Tensor] = {}
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        raw = tensor.detach().contiguous().view(-1)
        whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[raw.element_size()]
        if raw.device not in places:
            places[raw.device] = torch.arange(1, 2 * BLOCK, 2, dtype=torch.int32, device=raw.device)
        for block in raw.view(whole).split(BLOCK):
            total = (block * places[raw.device][: len(block)]).sum(dtype=torch.int64)
            digest.update(f"{int(total)}\n".encode())
    return digest.hexdigest()


def _foreign_digests(upstream: Upstream) -> dict[str, str]:
    """Of the source files of classes that are neither ours nor of a package whose version is known: one's own upstream."""
    kinds = {kind for module in upstream.modules() for kind in type(module).__mro__}
    names = {kind.__module__ for kind in kinds if kind.__module__.partition(".")[0] not in _BY_VERSION}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in sorted(names)}
    return {name: _digest([Path(file)]) for name, file in files.items() if file and file.endswith(".py")}


def _code_digest(package: Path = Path(mlsuperb.__file__).parent) -> str:
    """Of the rooms that features are computed in: changed code is another cache, in a checkout too, whose version stays."""
    return _digest(sorted(path for room in ("upstreams", "layers") for path in (package / room).glob("*.py")))


def _digest(files: Iterable[Path]) -> str:
    """Of source files, but for what computes nothing (comments, docstrings, layout)."""
    trees = [(path.name, _without_docstrings(ast.parse(path.read_bytes()))) for path in files]
    return hashlib.sha256("\n".join(f"{name} {ast.dump(tree)}" for name, tree in trees).encode()).hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[1 if ast.get_docstring(node) else 0 :]
    return tree
