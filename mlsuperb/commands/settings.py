"""What commands make of the settings on their line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlsuperb.config.options import refuse_unknown

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus


def configured(overrides: Sequence[str], *groups: str) -> tuple[dict[str, Any], Corpus]:
    """The configuration, of which `groups` are checked, and its corpus.

    Raises:
        ValueError: a setting is unknown or wrong.
    """
    refuse_unknown(overrides)  # before the packages are loaded that take a second
    from mlsuperb.benchmark.build import build_corpus
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose

    config = compose(overrides)
    check(config, groups)
    return config, build_corpus(config)
