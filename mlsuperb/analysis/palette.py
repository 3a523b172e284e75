"""Colours for languages and other names that have no order."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito 2008, "Color universal design": eight colours that most colour-blind readers tell apart. Yellow comes last:
# it is faint on white.
EIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Tol 2021, "Colour schemes" (SRON/EPS/TN/09-002 3.2), figure 19: of the discrete rainbow, every other colour first, so that
# names that follow each other are not neighbours.
TWENTY = (
    *("#882E72", "#5289C7", "#4EB265", "#F4A736", "#DC050C", "#AE76A3", "#7BAFDE", "#90C987", "#E8601C", "#72190E"),
    *("#1965B0", "#CAACCB", "#6195CF", "#CAE0AB", "#F6C141", "#A5170E", "#437DBF", "#F1932D", "#994F88", "#42150A"),
)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, always the same for the same names. After twenty they come again."""
    palette = EIGHT if len(names) <= len(EIGHT) else TWENTY
    return {name: palette[index % len(palette)] for index, name in enumerate(names)}
