"""The same tensors are the same bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from mlsuperb.runtime.tensor_files import save_tensors


def test_the_bytes_follow_from_the_content(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
    metadata = {"format": "pt", "mlsuperb": '{"name": "\\u00fc ü \\"x\\"", "seed": 0}', "c": "", "d": "\n"}
    path, found = tmp_path / "x.safetensors", set()
    for _ in range(20):  # safetensors' own: one of 24 orders each time
        save_tensors(tensors, path, metadata=metadata)
        found.add(path.read_bytes())
    assert len(found) == 1
    with safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
