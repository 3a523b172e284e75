"""Compare mlsuperb with ESPnet, each part by a module of `scripts/parity/`. Exits with 1 if anything differs.

ESPnet pins old packages, so it lives in an environment of its own that borrows this project's (`make parity` does it, for both
releases):

    python -m venv .venv-espnet
    .venv/bin/python -c 'import site; print(*site.getsitepackages(), sep="\\n")' > \\
        "$(.venv-espnet/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlsuperb.pth"
    .venv-espnet/bin/pip install --no-deps espnet==202511 espnet_tts_frontend s3prl==0.4.18
    .venv-espnet/bin/pip install sentencepiece typeguard humanfriendly torch_complex einops configargparse h5py \\
        kaldiio editdistance librosa
    .venv-espnet/bin/python scripts/parity_espnet.py

202611 asks for Python 3.12 (`--ignore-requires-python`) and omniio. It moved `espnet.nets` to `espnet2.legacy.nets`, which
`scripts/parity/versions.py` knows; what is compared runs on 3.11 without any other change.

All parts but one compare unpadded input, since up to 202511 ESPnet's results depend on what else is in a batch; ours do not. The
part `padding` compares padded batches, with 202611. Where the two differ by design, both numbers are printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.parity.decoding import decoding_checks
from scripts.parity.decoding_joint import joint_checks
from scripts.parity.heads import batch_checks, head_checks
from scripts.parity.hierarchical import hierarchical_checks
from scripts.parity.imports import import_checks
from scripts.parity.learning import learning_checks
from scripts.parity.owsm import fbank_checks, owsm_checks
from scripts.parity.padding import padding_checks
from scripts.parity.report import Check, report
from scripts.parity.settings import settings_checks
from scripts.parity.xeus import xeus_checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-posteriors", type=int, default=200, help="posterior matrices to decode (default 200)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for both sides (default 1)")
    parser.add_argument(
        "--data-root", type=Path, help="a tree of speech in the ML-SUPERB layout to learn from (default: noise)"
    )
    parser.add_argument("--parts", nargs="+", help="compare these parts only")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Check]]] = {
        "heads": head_checks,
        "batches": batch_checks,
        "hierarchical": hierarchical_checks,
        "padding": padding_checks,
        "fbank": fbank_checks,
        "owsm": owsm_checks,
        "xeus": xeus_checks,
        "decoding": partial(decoding_checks, arguments.num_posteriors),
        "settings": settings_checks,
        "imports": import_checks,
        "decoding_joint": joint_checks,
        "learning": partial(learning_checks, arguments.data_root),
    }
    if unknown := [name for name in arguments.parts or [] if name not in parts]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(parts)}")
    torch.set_num_threads(arguments.threads)
    for name in ("espnet", "espnet2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.manual_seed(0)
    return 1 if report({name: parts[name] for name in arguments.parts or parts}) else 0


if __name__ == "__main__":
    sys.exit(main())
