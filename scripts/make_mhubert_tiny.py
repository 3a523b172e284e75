"""Put the model of a pre-training run into `models/`, its weights in fp16: how `models/mhubert_tiny` was made.

    python scripts/make_mhubert_tiny.py exp/mhubert_tiny-iteration3-... models/mhubert_tiny

config.json says float32, so that whoever loads it computes in fp32. The model card gains the section on licences of
docs/mhubert_tiny.md. Prints the size, and how far the layers move by the rounding.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mlsuperb.runtime.files import whole_folder
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ
from mlsuperb.upstreams.bundled import revision_of
from mlsuperb.upstreams.huggingface import RUN_FOLDER, HuggingFace

WEIGHTS, CARD = "model.safetensors", "README.md"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "mhubert_tiny.md"
LICENCES = re.compile(r"## (The speech and its licences\n.*?)(?=\n##|\Z)", re.DOTALL)


def layers(folder: Path) -> tuple[torch.Tensor, ...]:
    """Of a second of noise, always the same."""
    wave_BT = 0.1 * torch.randn(1, SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return tuple(HuggingFace(checkpoint=str(folder)).eval()(wave_BT, torch.tensor([SAMPLE_RATE_HZ])).layers)


def complete_card(folder: Path, run_id: str, name: str) -> None:
    """The card of the run under the model's name, with the licences of what it was trained on."""
    path = folder / CARD
    card = path.read_text(encoding="utf-8").replace(f"model_name: {run_id}", f"model_name: {name}")
    card = card.replace(f"# {run_id}", f"# {name}\n\nMade by the run `{run_id}`.")
    licences = LICENCES.search(DOCUMENT.read_text(encoding="utf-8"))[1]
    path.write_text(f"{card.rstrip()}\n\n## {licences.rstrip()}\n", encoding="utf-8")


def main() -> int:
    """Copy, round, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    source = options.run / RUN_FOLDER
    with whole_folder(options.folder) as unfinished:
        shutil.copytree(source, unfinished, dirs_exist_ok=True)
        tensors = {name: one.half() for name, one in load_file(source / WEIGHTS).items()}
        save_file(tensors, unfinished / WEIGHTS, metadata={"format": "pt"})
        path = unfinished / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(config | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        complete_card(unfinished, options.run.name, options.folder.name)
    moved = max(
        float((one - other).abs().max() / one.abs().max())
        for one, other in zip(layers(source), layers(options.folder), strict=True)
    )
    size_mb = sum(one.stat().st_size for one in options.folder.iterdir()) / 1e6
    print(f"{options.folder}: {size_mb:.1f} MB, layers differ by {moved:.1e} of their largest value at most")
    print(f"conf/upstream/{options.folder.name}.yaml: revision: {revision_of(options.folder)!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
