"""`mlsuperb largest_batch OVERRIDES`: how many seconds of audio a batch of `mlsuperb run OVERRIDES` may hold.

Trains the real model on the longest utterances of the corpus, in batches of growing size, and measures time and memory. Stops
before the memory is full, of which a tenth stays free, or where larger batches are no faster, and prints the setting to use.
Nothing is kept. Features that a run would take from the cache during training are computed here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from mlsuperb.commands.settings import add_config_dir
from mlsuperb.config.options import refuse_unknown


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb largest_batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="+", metavar="OVERRIDE", help="as for mlsuperb.run")
    add_config_dir(parser)
    options = parser.parse_intermixed_args(arguments)
    refuse_unknown(options.overrides, config_dirs=options.config_dir)
    from mlsuperb.benchmark.largest_batch import largest_batch
    from mlsuperb.config.compose import compose

    config = compose(options.overrides, config_dirs=options.config_dir)
    largest_batch(config, show=partial(print, flush=True))
