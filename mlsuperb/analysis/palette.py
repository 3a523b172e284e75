"""Colours for languages and other names that have no order."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito 2008, "Color universal design": eight colours that most colour-blind readers tell apart. Yellow comes last:
# it is faint on white.
EIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Tol 2021, "Colour schemes" (SRON/EPS/TN/09-002): the 23 colours of the discrete rainbow without the three lightest.
TWENTY = (
    *("#CAACCB", "#BA8DB4", "#AA6F9E", "#994F88", "#882E72", "#1965B0", "#437DBF", "#6195CF", "#7BAFDE", "#4EB265"),
    *("#90C987", "#CAE0AB", "#F7CB45", "#F4A736", "#EE8026", "#E65518", "#DC050C", "#A5170E", "#72190E", "#42150A"),
)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, always the same for the same names. After twenty they come again."""
    if len(names) <= len(EIGHT):
        return dict(zip(names, EIGHT, strict=False))
    num = min(len(names), len(TWENTY))
    spread = [TWENTY[(2 * index + 1) * len(TWENTY) // (2 * num)] for index in range(num)]  # as far apart as they can be
    ordered = [*spread[::2], *spread[1::2]]  # and none beside its neighbour in the legend
    return {name: ordered[index % num] for index, name in enumerate(names)}
