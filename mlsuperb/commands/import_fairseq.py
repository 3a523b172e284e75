"""`mlsuperb import_fairseq FILE DIR`: turn a HuBERT pre-trained with fairseq into a checkpoint in transformers' layout.

FILE is a checkpoint of fairseq (checkpoint_best.pt, hubert_base_ls960.pt). It is read without fairseq, and nothing that is
in it is run. DIR can be used as upstream.checkpoint, and keeps the prediction head for further pre-training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb import_fairseq", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="checkpoint of fairseq, e.g. checkpoint_best.pt")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make")
    options = parser.parse_args(arguments)
    from mlsuperb.pretraining.fairseq import import_fairseq

    done = import_fairseq(options.file, options.folder)
    trained = "" if done.updates is None else f" after {done.updates:,} updates"
    head = "with its prediction head" if done.no_head is None else f"without its prediction head ({done.no_head})"
    sys.stdout.write(
        f"{done.folder} holds the HuBERT of {options.file}{trained}, {head}; loaded again, all its layers are the same. Use it: "
        f"mlsuperb run upstream=hf upstream.checkpoint={done.folder.resolve()} ...\n"
    )
