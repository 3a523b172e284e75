"""Finished runs made by hand: many languages and scripts, audio, a history, layer weights; no training."""

from __future__ import annotations

import random
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finished_runs import built, write_built

from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.types import Hypothesis

SENTENCES = {
    "ara": "السلام عليكم ورحمة الله وبركاته",
    "deu": "GRÜSS GOTT AUS DEM SÜDEN",
    "eng": "THE NORTH WIND AND THE SUN",
    "fas": "باد شمال و خورشید با هم",
    "heb": "רוח הצפון והשמש התווכחו",
    "hin": "उत्तरी हवा और सूरज में बहस",
    "jpn": "北風と太陽がけんかをしていました",
    "tam": "வடக்குக் காற்றும் சூரியனும்",
    "tha": "ลมเหนือกับพระอาทิตย์",
    "vie": "GIÓ BẮC VÀ MẶT TRỜI TRANH CÃI",
    "yor": "Ẹ̀FÚÙFÙ ÀRÍWÁ ÀTI ÒÒRÙN",
    "nan": "PAK-HONG KAP JI̍T-THÂU",
}
MORE = ("ast", "bel", "cat", "ces", "cym", "ell", "est", "fin", "fra", "glg", "hau", "hun", "ibo", "ind", "isl", "ita")
RESERVED = ("bos", "dan")
DATASETS = ("commonvoice", "fleurs")


def make_run(
    folder: Path,
    *,
    languages: Sequence[str] = (*SENTENCES, *MORE, *RESERVED),
    per_language: int = 4,
    noise: float = 0.2,
    lid_noise: float = 0.15,
    task: str = "asr_lid",
    seed: int = 0,
    audio: bool = True,
    changes: dict[str, Any] | None = None,
    setting: str = "frozen",
    same_data: str = "a",
) -> Path:
    """Write a run into `folder`. `noise`: share of characters that come out wrong; languages further down the list fare
    worse. `changes`: keys of the result that are set to something else. `same_data`: results compare where it is equal."""
    generator = random.Random(seed)
    folder.mkdir(parents=True)
    hypotheses = []
    for place, language in enumerate(languages):
        rate = noise * (0.3 + 1.7 * place / len(languages))
        for number in range(per_language):
            dataset = DATASETS[number % 2 if place % 3 == 0 else 0]
            name = f"{dataset}_{language}_{number:06d}"
            path = folder.parent / "audio" / f"{name}.wav"
            if audio and not path.is_file():
                _write_wave(path, seed=place * 100 + number)
            text = _text(language, place * 100 + number)
            named = language if generator.random() > lid_noise else generator.choice(list(languages))
            spoken = _worse(text.upper(), rate + 0.3 * (dataset == "fleurs") * noise, generator)
            output = {"asr": spoken, "lid": f"[{named}]", "asr_lid": f"[{named}] {spoken}"}[task]
            hypotheses.append(
                Hypothesis(
                    id=name,
                    dataset=dataset,
                    language=language,
                    split="test",
                    audio=str(path),
                    start_s=0.0,
                    duration_s=_duration_s(place * 100 + number),
                    reference=text,
                    hypothesis=output,
                    predicted_language=None if task == "asr" else named,
                )
            )
    write_hypotheses(folder / "hypotheses.jsonl", hypotheses)
    characters = sorted({c for one in hypotheses[: len(hypotheses) * 9 // 10] for c in one.reference.upper()} - {" "})
    tokens = ["<blank>", "<unk>", "<space>", *characters, "<sos/eos>"]
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    result = _result(hypotheses, task=task, seed=seed, setting=setting, same_data=same_data)
    result["config"] |= {"data": {"name": "fake", "root": str(folder.parent / "audio")}}
    write_built(folder, result | (changes or {}))
    return folder


def _text(language: str, number: int) -> str:
    sentence = SENTENCES.get(language)
    if sentence is None:
        generator = random.Random(number)
        return " ".join("".join(generator.choices("AEIOUKLMNRST", k=generator.randint(2, 8))) for _ in range(4))
    words = sentence.split()
    return " ".join(words[number % max(1, len(words) - 1) :] + words[: number % 3]) if len(words) > 1 else sentence


def _worse(text: str, rate: float, generator: random.Random) -> str:
    out = []
    for character in text:
        chance = generator.random()
        if chance < rate / 3:
            continue
        out.append(generator.choice(text) if chance < 2 * rate / 3 else character)
        if chance > 1 - rate / 3:
            out.append(generator.choice(text))
    return "".join(out).strip()


def _duration_s(number: int) -> float:
    return 0.6 + (number * 37 % 100) / 50


def _write_wave(path: Path, *, seed: int) -> None:
    """A tone that comes and goes, in noise."""
    generator = np.random.default_rng(seed)
    time_T = np.arange(round(16000 * _duration_s(seed))) / 16000
    tone_T = np.sin(2 * np.pi * (200 + 40 * (seed % 30)) * time_T) * (np.sin(2 * np.pi * 2 * time_T) > -0.3)
    level = 10.0 ** -(1 + seed % 3)
    samples_T = (9000 * (tone_T + level * generator.standard_normal(len(time_T)))).clip(-32768, 32767).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples_T.tobytes())


def _result(hypotheses: Sequence[Hypothesis], *, task: str, seed: int, setting: str, same_data: str) -> dict[str, Any]:
    history = [
        {
            "epoch": epoch,
            "train_loss": 9 / epoch + seed,
            "valid_loss": 10 / epoch + seed,
            "valid_token_error_rate": 0.9**epoch,
        }
        for epoch in range(1, 9)
    ]
    weights = np.random.default_rng(seed).dirichlet(np.full(9, 5.0)).round(6).tolist()
    skipped = {"no such audio file": {"count": 3, "splits": {"train": 3}, "examples": ["a_eng_000001", "<b>x</b>"]}}
    split = {"sha256": f"1:{same_data}", "num_utterances": len(hypotheses), "duration_s": 100.0}
    return built(
        hypotheses,
        task,
        run_id=f"hubert_base-{setting}-{task}-fake-s{seed}-0000000{seed}",
        data={"name": "fake", "synthetic": True, "splits": {"train": split, "test": split}, "skipped": skipped},
        upstream={"name": "hubert_base", "card": {}, "settings": {}},
        adaptation={"name": setting, "card": {}, "settings": {}, "trained": {"head": 5_000_000, "featurizer": 9}},
        head={"name": "transformer", "card": {}, "settings": {}},
        num_trainable=5_000_009,
        num_total=99_000_000,
        config={
            "seed": seed,
            "run_id": f"x-{seed}",
            "upstream": {"name": "hubert_base", "checkpoint": "facebook/hubert-base-ls960"},
            "adaptation": {"name": setting},
            "trainer": {"name": "ml_superb", "optimizer": {"lr": 1e-4}, "averaging": [1, 2]},
        },
        seed=seed,
        environment={
            "package_version": "0",
            "code": {"commit": "c0ffee", "dirty": False},
            "python": "3.11",
            "packages": {"torch": "2.14"},
            "gpus": [],
        },
        training={"num_unaligned": 2, "history": history, "averaged": [7, 8]},
        cost={"iterations": 800, "utterances": 6400, "train_wall_s": 321.5, "peak_memory_gb": 3.2},
        date="2026-01-02T03:04:05+00:00",
        featurizer={"name": "weighted_sum", "layer_weights": weights},
    )
