"""Who speaks, and how it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# Variants of espeak-ng 1.52 that sound like people: no robots, whispers, Klatt synthesisers or strong echoes. The
# speakers of dev and test are in no training set; their pitch and formants lie within the range of the others.
DEV_VARIANTS = ("f4", "m4", "Annie", "victor")
TEST_VARIANTS = ("f2", "linda", "f5", "m3", "m6", "robert")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A way of recording: one "dataset" of the built-in corpus.

    `low_hz` and `high_hz` bound the band, `level` is the speech's root mean square in steps of 16-bit audio,
    `noise` that of the hiss beside it, `variants` names the training speakers.
    """

    name: str
    low_hz: float
    high_hz: float
    level: int
    noise: int
    variants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A variant with habits: `rate_wpm` words a minute, `pitch` and `pitch_range` 0 to 99."""

    variant: str
    rate_wpm: int
    pitch: int
    pitch_range: int

    @property
    def name(self) -> str:
        return f"espeak-{self.variant}"


_CONDITIONS = (
    Condition(
        name="studio", low_hz=0.0, high_hz=7300.0, level=2400, noise=8,
        variants=("m1", "m5", "m7", "m8", "f1", "f3", "Mike", "Alex", "Andrea", "belinda", "steph", "shelby", "max",
                  "paul", "rob", "Diogo", "pedro", "Nguyen", "aunty", "quincy"),
    ),
    Condition(
        name="phone", low_hz=300.0, high_hz=3400.0, level=1600, noise=50,
        variants=("m1", "m2", "m7", "f1", "f3", "Denis", "Gene", "Mario", "Storm", "anika", "antonio", "boris",
                  "steph2", "sandro", "grandma", "michel"),
    ),
    Condition(
        name="room", low_hz=80.0, high_hz=6000.0, level=1000, noise=60,
        variants=("m5", "m8", "f1", "f3", "Alex", "Gene2", "Michael", "Henrique", "Marco", "steph3", "ed", "gustave",
                  "miguel", "travis", "Alicia", "grandpa"),
    ),
)  # fmt: skip


def conditions() -> dict[str, Condition]:
    """The built-in datasets by name."""
    return {condition.name: condition for condition in _CONDITIONS}


def variants(condition: Condition, split: str) -> tuple[str, ...]:
    """The speakers of a split: those of dev and test are the same in every condition, and in no training set."""
    return {"train": condition.variants, "dev": DEV_VARIANTS, "test": TEST_VARIANTS}[split]


def speaker(variant: str) -> Speaker:
    """The speaker with this variant: the same habits in every language and condition."""
    rng = Random(f"speaker {variant}")
    return Speaker(
        variant=variant,
        rate_wpm=int(rng.uniform(140, 185)),
        pitch=int(rng.uniform(38, 62)),
        pitch_range=int(rng.uniform(35, 65)),
    )
