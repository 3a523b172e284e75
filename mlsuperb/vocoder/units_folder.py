"""Units of utterances on disk, as `mlsuperb units extract` writes them.

<folder>/about.json      codebook (sha256), rate_hz, num_units, features
<folder>/units.jsonl     one object for each utterance: id, language, dataset, split, speaker, units (no repetitions), durations
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

ABOUT_FILE, UNITS_FILE = "about.json", "units.jsonl"


class UnitsAbout(BaseModel):
    """What the units of a folder are."""

    codebook: str
    rate_hz: PositiveFloat
    num_units: PositiveInt
    features: dict[str, Any] = Field(default_factory=dict)


class UnitUtterance(BaseModel):
    """The units of an utterance without repetitions, and the frames of each."""

    id: str
    language: str
    dataset: str
    split: str
    speaker: str | None = None
    units: list[NonNegativeInt]
    durations: list[PositiveInt]


def read_units(folder: Path) -> tuple[UnitsAbout, list[UnitUtterance]]:
    """What a folder holds.

    Raises:
        ValueError: it is no such folder, or a line of it is damaged.
    """
    for name in (ABOUT_FILE, UNITS_FILE):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no units ({name} is missing). Give a folder that mlsuperb units extract wrote"
            )
    place = str(folder / ABOUT_FILE)
    try:
        about = UnitsAbout.model_validate_json((folder / ABOUT_FILE).read_bytes())
        found = []
        with (folder / UNITS_FILE).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                place = f"line {number} of {folder / UNITS_FILE}"
                found.append(UnitUtterance.model_validate_json(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"{place} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg'].lower()}). Write the folder anew with "
            "mlsuperb units extract"
        ) from error
    for one in found:
        if not one.units or len(one.units) != len(one.durations) or max(one.units) >= about.num_units:
            raise ValueError(
                f"{folder / UNITS_FILE}: {one.id} has {len(one.units)} units and {len(one.durations)} durations, the largest "
                f"unit being {max(one.units, default=None)}; there must be as many of both, one at least, and units from 0 to "
                f"{about.num_units - 1}. Write the folder anew with mlsuperb units extract"
            )
    return about, found
