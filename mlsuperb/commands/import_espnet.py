"""`mlsuperb import_espnet FOLDER`: turn a recogniser trained with ESPnet into a run, to transcribe and score with.

FOLDER holds ESPnet's config.yaml, *.pth and tokens, or is a model as ESPnet packs it for a hub (meta.yaml). Whatever in
its configuration changes what is computed and has no counterpart here is refused by name.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb import_espnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, help="folder of an ESPnet model (exp/asr_..., or as downloaded from a hub)"
    )
    parser.add_argument("--run", type=Path, help="folder to make (default: exp/imported-<name of FOLDER>-<hash>)")
    parser.add_argument(
        "--weights", help="which file, where there are several (default: the average, valid.*.ave*.pth)"
    )
    parser.add_argument(
        "--upstream", help="option of conf/upstream that the model's upstream is (default: by its name)"
    )
    parser.add_argument(
        "--upstream-checkpoint",
        help="folder, or id on the hub, with the upstream's config.json; its weights, too, where ESPnet saved none",
    )
    parser.add_argument(
        "--task",
        choices=("asr", "asr_lid", "lid"),
        help="default: as the tokens say; with asr_lid or lid, all tokens in brackets are languages",
    )
    parser.add_argument(
        "--normaliser", choices=("v1", "v1_mono", "raw"), help="of the references in the v1 score (default: v1)"
    )
    options = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from mlsuperb.benchmark.from_espnet import Wishes, import_espnet

    run = import_espnet(options.pop("folder"), Wishes(**options))
    sys.stdout.write(
        f"{run} is a run now. Transcribe: mlsuperb transcribe {run} FILES; score: mlsuperb evaluate {run} data=...\n"
    )
