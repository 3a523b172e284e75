"""Unit vocoders on one core: seconds of speech per second of synthesis, seconds of a training update.

    python scripts/bench/vocoder.py --threads 1 [--seconds 10] [--updates 2]

Units and recordings are random: neither changes what there is to compute. An update is a turn of the discriminators and one of
the generator on a batch of segments, as published (16 of 8,960 samples) or as loading=segments_tiny has it.
Processor seconds stand beside the clock's, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, machine, save, seconds, set_up

SIZES = {"unit_hifigan": ("segments", "vocoder"), "unit_hifigan_tiny": ("segments_tiny", "vocoder_tiny")}
NUM_UNITS = 1000


def measure(settings: argparse.Namespace) -> Figures:
    """Speed of one size."""
    import torch

    from mlsuperb.config.build import instantiate
    from mlsuperb.config.compose import compose
    from mlsuperb.vocoder.generator import UnitVocoder
    from mlsuperb.vocoder.model import VocoderModel

    device = set_up(settings)
    loading_name, trainer_name = SIZES[settings.size]
    config = compose(["job=vocoder", f"vocoder={settings.size}", f"loading={loading_name}", f"trainer={trainer_name}",
                      "targets.run=none"])  # fmt: skip
    given, loading = instantiate(config["vocoder"]), instantiate(config["loading"])
    shape = given.shape(num_units=NUM_UNITS, rate_hz=50, num_speakers=0, num_languages=0)
    vocoder, nobody_B = UnitVocoder(shape).to(device).eval(), torch.zeros(1, dtype=torch.long, device=device)
    units_BF = torch.randint(NUM_UNITS, (1, round(settings.seconds * 50)), device=device)
    with torch.inference_mode():
        _, speech = (
            seconds(lambda: vocoder(units_BF, speaker_B=nobody_B, language_B=nobody_B), device=device) for _ in range(2)
        )
    num_vocoder = sum(one.numel() for one in vocoder.parameters())
    model = VocoderModel(vocoder, settings=given).to(device).train()
    batch = _batch(loading.train.max_batch_size, loading.crops.num_units).to(device)
    optimizer = instantiate(config["trainer"]["optimizer"])
    turns = {
        turn: (dict(model.trained(turn)), optimizer([one for _, one in model.trained(turn)])) for turn in model.turns
    }
    _update(model, turns, batch)  # Adam takes its memory
    update = seconds(lambda: _update(model, turns, batch), times=settings.updates, device=device)
    return {
        "vocoder": num_vocoder, "discriminators": sum(one.numel() for one in model.discriminator.parameters()),
        "segments": len(batch.ids), "speech": [settings.seconds / one for one in speech], "update": update,
        "machine": machine(device),
    }  # fmt: skip


def _batch(num: int, num_units: int) -> Any:
    import torch

    from mlsuperb.vocoder.dataset import UnitBatch

    units_BF, zero_B = torch.randint(NUM_UNITS, (num, num_units)), torch.zeros(num, dtype=torch.long)
    return UnitBatch(
        ids=("u",) * num, languages=("eng",) * num, wave_BT=0.1 * torch.randn(num, num_units * 320),
        lengths_B=zero_B + num_units * 320, targets_BS=units_BF, target_lengths_B=zero_B + num_units, speaker_B=zero_B,
        language_B=zero_B, runs_BS=units_BF, run_lengths_B=zero_B + num_units, run_frames_BS=torch.ones_like(units_BF),
    )  # fmt: skip


def _update(model: Any, turns: Any, batch: Any) -> None:
    """What the loop computes: each turn with the others' parameters held."""
    for turn, (_, optimizer) in turns.items():
        others = [one for other, (mine, _) in turns.items() if other != turn for one in mine.values()]
        for one in others:
            one.requires_grad_(False)
        model(batch, turn).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        for one in others:
            one.requires_grad_(True)


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=1, device="cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech (default: 10)")
    parser.add_argument("--updates", type=int, default=2, help="that are measured (default: 2)")
    options = parser.parse_args()
    sides = {name: (measure, argparse.Namespace(**vars(options), size=name)) for name in SIZES}
    found = in_turns(sides, rounds=options.rounds)
    print(f"{options.seconds:g} s of speech, {NUM_UNITS} units; {found['unit_hifigan']['machine']}\n")
    columns = ("parameters", "of discriminators", "speech s/s", "segments", "s/update", "processor s/update")
    table = Table("vocoder", *columns)
    for name, one in found.items():
        numbers = (f"{one[part] / 1e6:.2f} M" for part in ("vocoder", "discriminators"))
        # speech by the processor's clock: the machine may be shared
        table.row(
            name, *numbers, f"{one['speech'][1]:.1f}", one["segments"], *(f"{taken:.2f}" for taken in one["update"])
        )
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
