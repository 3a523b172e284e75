"""What kept features depend on."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mlsuperb
from mlsuperb.cache.identity import BLOCK, _code_digest, fingerprint, upstream_identity
from mlsuperb.upstreams.random_hubert import RandomHubert

OWN_UPSTREAM = """
from mlsuperb.upstreams.random_hubert import RandomHubert
from {package}.part import Scaled


class Mine(RandomHubert):
    def __init__(self):
        super().__init__(num_blocks=1, hidden_size=32, conv_channels=16)
        self.part = Scaled()
"""
PART = """
import torch


class Scaled(torch.nn.Module):
    \"\"\"Times a number.\"\"\"

    def forward(self, x):
        return {factor} * x
"""


def weights(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    return iter(model.state_dict().items())


def test_the_fingerprint_knows_every_weight() -> None:
    one = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16, seed=0)
    same = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16, seed=0)
    other = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16, seed=1)
    assert fingerprint(weights(one)) == fingerprint(weights(same)) != fingerprint(weights(other))
    with torch.no_grad():
        next(same.model.encoder.layers[0].parameters())[0] += 1e-6
    assert fingerprint(weights(one)) != fingerprint(weights(same))


def test_the_key_is_of_what_computes_and_of_nothing_else(tmp_path: Path) -> None:
    package = Path(mlsuperb.__file__).parent
    for room in ("upstreams", "layers"):
        shutil.copytree(package / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    known, path = _code_digest(package), tmp_path / "upstreams" / "fbank.py"
    assert _code_digest(tmp_path) == known
    text = path.read_text(encoding="utf-8")
    assert text.count('"""') >= 4
    for harmless in (
        f"# a comment\n{text}",
        re.sub(r'"""([A-Z])', r'"""Otherwise: \1', text),
        text.replace("\n\n", "\n\n\n").replace(" = ", "  =  "),
    ):
        assert harmless != text
        path.write_text(harmless, encoding="utf-8")
        assert _code_digest(tmp_path) == known
    path.write_text(f"{text}\nNUM = 1\n", encoding="utf-8")
    assert _code_digest(tmp_path) != known
    path.write_text(text.replace("True", "False"), encoding="utf-8")
    assert "True" in text
    assert _code_digest(tmp_path) != known
    path.write_text(text, encoding="utf-8")
    (tmp_path / "layers" / "new.py").write_text("")
    assert _code_digest(tmp_path) != known


def test_the_fingerprint_knows_the_order_of_values() -> None:
    square = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
    long = torch.arange(2 * BLOCK, dtype=torch.int64)
    for one, other in ((square, square.T), (square, square.flip(0)), (long, long.roll(BLOCK)), (long, long.roll(1))):
        assert fingerprint([("w", one)]) != fingerprint([("w", other)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.bool])
def test_every_type_has_a_fingerprint(dtype: torch.dtype) -> None:
    zero, one = torch.zeros(5, dtype=dtype), torch.zeros(5, dtype=dtype)
    one[4] = 1
    assert fingerprint([("w", zero)]) == fingerprint([("w", zero.clone())]) != fingerprint([("w", one)])


@pytest.mark.parametrize("changed", ["mine.py", "part.py"])
def test_code_outside_the_package_counts(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own upstream: its file, and that of a module in it."""
    package = f"own_upstream_{changed.partition('.')[0]}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "mine.py").write_text(OWN_UPSTREAM.format(package=package))
    (folder / "part.py").write_text(PART.format(factor=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    upstream = importlib.import_module(f"{package}.mine").Mine()
    known = upstream_identity(upstream, {})
    text = (folder / changed).read_text()
    (folder / changed).write_text(f"# a comment\n{text}")
    assert upstream_identity(upstream, {}) == known
    (folder / changed).write_text(f"{text}\nNUM = 1\n")
    assert upstream_identity(upstream, {}) != known
