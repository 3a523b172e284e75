"""The two sides of `scripts/bench/fine_tuning.py`, each measured in the process that calls it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
RATE_HZ, VOCAB_SIZE, TOKENS_PER_S, WARM_UP, SECONDS = 16_000, 100, 12, 2, 10.0


def durations(settings: dict[str, Any]) -> Any:
    """Seconds of each utterance."""
    import numpy as np

    rng = np.random.default_rng(0)
    spread = rng.lognormal(np.log(5.0), 0.6, size=10 * settings["utterances"])
    found = spread[(spread >= 1) & (spread <= 20)][: settings["utterances"]]
    return found * settings["scale"]


def wave_and_target(index: int, duration_s: float) -> tuple[Any, Any]:
    """Noise, and tokens of which CTC can make it."""
    import torch

    generator = torch.Generator().manual_seed(index)
    wave_T = 0.1 * torch.randn(int(duration_s * RATE_HZ), generator=generator)
    target_S = torch.randint(2, VOCAB_SIZE - 1, (max(1, int(duration_s * TOKENS_PER_S)),), generator=generator)
    return wave_T, target_S


class Clock:
    """Time and audio of the steps after the warm-up."""

    def __init__(self, device: Any) -> None:
        self.device, self.audio_s, self.padded_s = device, 0.0, 0.0

    def start(self) -> None:
        self._wait()
        self.wall_s, self.cpu_s = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        from mlsuperb.runtime.speed import peak_memory_gb

        self._wait()
        wall_s, cpu_s = time.perf_counter() - self.wall_s, time.process_time() - self.cpu_s
        return {
            "rate": self.audio_s / wall_s,
            "cpu_rate": self.audio_s / cpu_s,
            "wall_s": wall_s,
            "padded_s": self.padded_s,
            "padding": 1 - self.audio_s / self.padded_s,
            "peak_gb": peak_memory_gb(self.device),
        }

    def add(self, lengths_s: Any) -> None:
        self.audio_s += float(sum(lengths_s))
        self.padded_s += float(max(lengths_s) * len(lengths_s))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize()


class EndOfPassError(Exception):
    """Stops our loop before it would write checkpoints."""


def measure_ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our loop, in this process."""
    import numpy as np

    from mlsuperb.benchmark import build
    from mlsuperb.config.compose import compose
    from mlsuperb.data.batching import BucketedBatches
    from mlsuperb.runtime.device import choose_device, prepare_process
    from mlsuperb.training.trainable import compile_blocks
    from mlsuperb.types import Batch

    lengths_s, rng = durations(settings), np.random.default_rng(settings["repeat"])
    if settings["batches"] == "random":
        plan = np.array_split(rng.permutation(len(lengths_s)), -(-len(lengths_s) // settings["batch"]))
    else:
        max_batch_s = settings["batch"] * SECONDS * settings["scale"]
        plan = BucketedBatches(max_batch_s=max_batch_s).plan(lengths_s, rng=rng)
    config = compose([
        "data.root=.", "head=linear", "task=asr", f"adaptation={settings['adaptation']}", "trainer.trackers=[]",
        f"adaptation.gradient_checkpointing={str(settings['checkpointing']).lower()}",
        f"trainer.optimizer.fused={str(settings['fused']).lower()}", f"trainer.device={settings['device']}",
        f"trainer.precision={settings['precision']}", f"trainer.iterations_per_epoch={len(plan) + WARM_UP + 1}",
    ])  # fmt: skip
    model = build.assemble(config, make_upstream(settings), vocab_size=VOCAB_SIZE)
    if settings["compile"]:
        compile_blocks(model.blocks())
    clock, found = Clock(prepare_process(choose_device(settings["device"]))), {}

    def batches(_: int) -> Iterator[Batch]:
        for number, chosen in enumerate([*plan[:WARM_UP], *plan]):
            if number == WARM_UP:
                clock.start()
            if number >= WARM_UP:
                clock.add(lengths_s[chosen])
            yield make_batch(chosen, lengths_s)
        found.update(clock.stop())
        raise EndOfPassError

    with tempfile.TemporaryDirectory() as folder:
        try:
            trainer = build.instantiate(config["trainer"])
            trainer.fit(model, batches=batches, validate=lambda: {"valid_loss": 0.0}, folder=Path(folder))
        except EndOfPassError:
            pass
    return found | {"flops_per_s": flops_per_second(model, clock.device, lengths_s)}


def make_upstream(settings: dict[str, Any]) -> Any:
    """The upstream with random weights, cut to `--blocks`."""
    import real_models
    import torch

    from mlsuperb.upstreams.selfsupervised import SelfSupervised

    torch.manual_seed(0)
    model = real_models.make_model(settings["model"], blocks=settings["blocks"])
    normalise = real_models.REAL[settings["model"]][1]["feat_extract_norm"] == "layer"
    upstream = SelfSupervised(model, normalise=normalise)
    if settings["attention"] == "eager":
        upstream.model.set_attn_implementation("eager")
    return upstream


def make_batch(chosen: Any, lengths_s: Any) -> Any:
    """Our batch of some utterances."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from mlsuperb.types import Batch

    waves, targets = zip(*(wave_and_target(int(index), lengths_s[index]) for index in chosen), strict=True)
    return Batch(
        ids=tuple(map(str, chosen)),
        languages=("eng",) * len(chosen),
        wave_BT=pad_sequence(list(waves), batch_first=True),
        lengths_B=torch.tensor([len(wave_T) for wave_T in waves]),
        targets_BS=pad_sequence(list(targets), batch_first=True),
        target_lengths_B=torch.tensor([len(target_S) for target_S in targets]),
    )


def flops_per_second(model: Any, device: Any, lengths_s: Any) -> float | None:
    """Floating-point operations, forward and backward, for one second of audio; counted where there is a GPU."""
    if device.type != "cuda":
        return None
    from torch.utils.flop_counter import FlopCounterMode

    index = int(lengths_s.argsort()[len(lengths_s) // 2])
    with FlopCounterMode(display=False) as counter:
        model(make_batch([index], lengths_s).to(device)).loss.backward()
    return float(counter.get_total_flops() / lengths_s[index])


def measure_theirs(settings: dict[str, Any]) -> dict[str, Any]:
    """transformers' Trainer, in this process."""
    import numpy as np
    import torch
    import transformers
    from transformers.trainer_pt_utils import LengthGroupedSampler

    lengths_s, size = durations(settings), settings["batch"]
    device = torch.device("cuda" if settings["device"] != "cpu" and torch.cuda.is_available() else "cpu")
    clock = Clock(device)
    order = np.random.default_rng(settings["repeat"]).permutation(len(lengths_s)).tolist()
    if settings["batches"] == "grouped":
        order = list(LengthGroupedSampler(size, lengths=(lengths_s * RATE_HZ).astype(int).tolist()))
    order = order[: WARM_UP * size] + order

    class Watched(transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> list[int]:
            return order

    class Steps(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _: Any, state: Any, control: Any, **_others: Any) -> None:
            if state.global_step == WARM_UP:
                clock.start()
            if state.global_step >= WARM_UP:
                chosen = order[state.global_step * size : (state.global_step + 1) * size]
                clock.add(lengths_s[chosen])

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=size, max_steps=-(-len(order) // size), save_strategy="no", report_to=[],
            logging_strategy="no", disable_tqdm=True, use_cpu=device.type == "cpu", bf16=settings["precision"] == "bf16",
        )  # fmt: skip
        trainer = Watched(
            model=peer_model(settings),
            args=arguments,
            train_dataset=[(index, length_s) for index, length_s in enumerate(lengths_s)],
            data_collator=peer_collator(settings),
            callbacks=[Steps()],
        )
        trainer.train()
        return clock.stop() | {"flops_per_s": None}


def peer_collator(settings: dict[str, Any]) -> Callable[[list[Any]], dict[str, Any]]:
    """Padded waves and labels. An attention mask only where the published preprocessors have one: not for group-norm models."""
    import real_models
    import torch
    from torch.nn.utils.rnn import pad_sequence

    masked = real_models.REAL[settings["model"]][1]["feat_extract_norm"] == "layer"

    def collate(items: list[Any]) -> dict[str, Any]:
        waves, targets = zip(*(wave_and_target(*item) for item in items), strict=True)
        batch = {
            "input_values": pad_sequence(list(waves), batch_first=True),
            "labels": pad_sequence(list(targets), batch_first=True, padding_value=-100),
        }
        if masked:
            batch["attention_mask"] = pad_sequence(
                [torch.ones(len(wave_T)).long() for wave_T in waves], batch_first=True
            )
        return batch

    return collate


def peer_model(settings: dict[str, Any]) -> Any:
    """The same configuration with a CTC head."""
    import real_models
    import torch
    import transformers

    torch.manual_seed(0)
    family, sizes = real_models.REAL[settings["model"]]
    if settings["blocks"]:
        sizes = sizes | {"num_hidden_layers": settings["blocks"]}
    config = getattr(transformers, f"{family}Config")(
        **sizes, layerdrop=0.0, vocab_size=VOCAB_SIZE, pad_token_id=0, ctc_zero_infinity=True, ctc_loss_reduction="mean"
    )
    model = getattr(transformers, f"{family}ForCTC")(config)
    if settings["adaptation"] == "full":
        return model
    from peft import LoraConfig, get_peft_model

    model.freeze_feature_encoder()
    targets = ["q_proj", "k_proj", "v_proj", "out_proj"]
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules=targets, modules_to_save=["lm_head"]))
