"""The two sides of `scripts/bench/fine_tuning.py`, each measured in the process that calls it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.trainer_pt_utils import LengthGroupedSampler

from mlsuperb.config.build import instantiate
from mlsuperb.data.batching import BucketedBatches
from mlsuperb.types import Batch
from mlsuperb.upstreams.selfsupervised import SelfSupervised
from scripts import real_models
from scripts.bench import ours
from scripts.bench.harness import Figures, clocks, peak_gb, set_up

VOCAB_SIZE, TOKENS_PER_S, WARM_UP, SECONDS = 100, 12, 2, 10.0


def durations(settings: argparse.Namespace) -> np.ndarray:
    """Seconds of each utterance."""
    rng = np.random.default_rng(0)
    spread = rng.lognormal(np.log(5.0), 0.6, size=10 * settings.utterances)
    found = spread[(spread >= 1) & (spread <= 20)][: settings.utterances]
    return found * settings.scale


def wave_and_target(index: int, duration_s: float) -> tuple[Tensor, Tensor]:
    """Noise, and tokens that CTC can align with it."""
    generator = torch.Generator().manual_seed(index)
    wave_T = 0.1 * torch.randn(int(duration_s * ours.RATE_HZ), generator=generator)
    target_S = torch.randint(2, VOCAB_SIZE - 1, (max(1, int(duration_s * TOKENS_PER_S)),), generator=generator)
    return wave_T, target_S


class Clock:
    """Time and audio of the steps after the warm-up, and what that takes with all that is done once."""

    def __init__(self, device: Any) -> None:
        self.device, self.audio_s, self.padded_s, self.made = device, 0.0, 0.0, clocks(device)

    def start(self) -> None:
        self.begin = clocks(self.device)

    def stop(self) -> Figures:
        wall_s, cpu_s = (end - begin for begin, end in zip(self.begin, clocks(self.device), strict=True))
        rates = {
            "rate": self.audio_s / wall_s,
            "cpu_rate": self.audio_s / cpu_s,
            "warm_up_s": self.begin[0] - self.made[0],
        }
        return rates | {"padding": 1 - self.audio_s / self.padded_s, "peak_gb": peak_gb(self.device)}

    def add(self, lengths_s: Any) -> None:
        self.audio_s += float(sum(lengths_s))
        self.padded_s += float(max(lengths_s) * len(lengths_s))


class EndOfPassError(Exception):
    """Stops our loop before it would write checkpoints."""


def measure_ours(settings: argparse.Namespace) -> Figures:
    """Our loop."""
    device, lengths_s, rng = set_up(settings), durations(settings), np.random.default_rng(settings.round)
    if settings.batches == "random":
        plan = np.array_split(rng.permutation(len(lengths_s)), -(-len(lengths_s) // settings.batch))
    else:
        plan = BucketedBatches(max_batch_s=settings.batch * SECONDS * settings.scale).plan(lengths_s, rng=rng)
    model, config = ours.model_around(
        our_upstream(settings), "head=linear", "task=asr", f"adaptation={settings.adaptation}", "trainer.trackers=[]",
        f"adaptation.gradient_checkpointing={str(settings.checkpointing).lower()}",
        f"trainer.optimizer.fused={str(settings.fused).lower()}", f"trainer.device={settings.device}",
        f"trainer.precision={settings.precision}", f"trainer.iterations_per_epoch={len(plan) + WARM_UP + 1}",
        vocab_size=VOCAB_SIZE,
    )  # fmt: skip
    if settings.compile:
        from mlsuperb.training.trainable import compile_blocks

        torch._inductor.config.force_disable_caches = settings.compile == "anew"
        compile_blocks(model.blocks())
    clock, found = Clock(device), {}

    def batches(_: int) -> Iterator[Batch]:
        for number, chosen in enumerate([*islice(plan, WARM_UP), *plan]):
            if number == WARM_UP:
                clock.start()
            if number >= WARM_UP:
                clock.add(lengths_s[chosen])
            yield our_batch(chosen, lengths_s)
        found.update(clock.stop())
        raise EndOfPassError

    with tempfile.TemporaryDirectory() as folder:
        try:
            trainer = instantiate(config["trainer"])
            trainer.fit(model, batches=batches, validate=lambda: {"valid_loss": 0.0}, folder=Path(folder))
        except EndOfPassError:
            pass
    return found | {"flops_per_s": flops_per_second(model, device, lengths_s)}


def our_upstream(settings: argparse.Namespace) -> SelfSupervised:
    """The upstream with random weights, cut to `--blocks`."""
    torch.manual_seed(0)
    model = real_models.make_model(settings.model, blocks=settings.blocks)
    upstream = SelfSupervised(model, normalise=real_models.normalised(settings.model))
    if settings.attention == "eager":
        upstream.model.set_attn_implementation("eager")
    return upstream


def our_batch(chosen: Any, lengths_s: np.ndarray) -> Batch:
    """Our batch of some utterances."""
    return ours.batch_of(*zip(*(wave_and_target(int(index), lengths_s[index]) for index in chosen), strict=True))


def flops_per_second(model: Any, device: Any, lengths_s: np.ndarray) -> float | None:
    """Floating-point operations, forward and backward, for one second of audio; counted where there is a GPU."""
    if device.type != "cuda":
        return None
    from torch.utils.flop_counter import FlopCounterMode

    index = int(lengths_s.argsort()[len(lengths_s) // 2])
    with FlopCounterMode(display=False) as counter:
        model(our_batch([index], lengths_s).to(device)).loss.backward()
    return float(counter.get_total_flops() / lengths_s[index])


def measure_theirs(settings: argparse.Namespace) -> Figures:
    """transformers' Trainer."""
    device, lengths_s, size = set_up(settings, as_it_comes=True), durations(settings), settings.batch
    clock = Clock(device)
    order = np.random.default_rng(settings.round).permutation(len(lengths_s)).tolist()
    if settings.batches == "grouped":
        order = list(LengthGroupedSampler(size, lengths=(lengths_s * ours.RATE_HZ).astype(int).tolist()))
    order = order[: WARM_UP * size] + order

    class Watched(transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> list[int]:
            return order

    class Steps(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _: Any, state: Any, control: Any, **_others: Any) -> None:
            if state.global_step == WARM_UP:
                clock.start()
            if state.global_step >= WARM_UP:
                clock.add(lengths_s[order[state.global_step * size : (state.global_step + 1) * size]])

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=size, max_steps=-(-len(order) // size), save_strategy="no", report_to=[],
            logging_strategy="no", disable_tqdm=True, use_cpu=device.type == "cpu", bf16=settings.precision == "bf16",
        )  # fmt: skip
        Watched(
            model=their_model(settings),
            args=arguments,
            train_dataset=list(enumerate(lengths_s)),
            data_collator=lambda items: their_batch(items, masked=real_models.normalised(settings.model)),
            callbacks=[Steps()],
        ).train()
        return clock.stop() | {"flops_per_s": None}


def their_batch(items: list[Any], *, masked: bool) -> dict[str, Tensor]:
    """Padded waves and labels. An attention mask only where the published preprocessors have one: not for group-norm models."""
    waves, targets = zip(*(wave_and_target(*item) for item in items), strict=True)
    batch = {
        "input_values": pad_sequence(list(waves), batch_first=True),
        "labels": pad_sequence(list(targets), batch_first=True, padding_value=-100),
    }
    if masked:
        batch["attention_mask"] = pad_sequence([torch.ones(len(wave_T)).long() for wave_T in waves], batch_first=True)
    return batch


def their_model(settings: argparse.Namespace) -> Any:
    """The same configuration with a CTC head."""
    torch.manual_seed(0)
    model = real_models.make_model(
        settings.model, kind="ForCTC", blocks=settings.blocks, layerdrop=0.0, vocab_size=VOCAB_SIZE, pad_token_id=0,
        ctc_zero_infinity=True, ctc_loss_reduction="mean",
    )  # fmt: skip
    if settings.adaptation == "full":
        return model
    from peft import LoraConfig, get_peft_model

    model.freeze_feature_encoder()
    targets = ["q_proj", "k_proj", "v_proj", "out_proj"]
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules=targets, modules_to_save=["lm_head"]))
