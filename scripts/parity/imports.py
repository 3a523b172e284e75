"""Models built, saved and decoded by ESPnet itself, imported: upstream layers of s3prl, and the recognised text.

Besides ESPnet this needs s3prl (`pip install --no-deps s3prl==0.4.18`). Packages that ESPnet's recogniser imports but never uses
(phonemes, speech enhancement) are replaced by empty ones where they are missing.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import soundfile
import torch
import torchaudio
import yaml
from torch import Tensor, nn

from mlsuperb.benchmark.from_espnet import Wishes, import_espnet
from mlsuperb.commands.transcribe import transcribe
from mlsuperb.types import Features
from mlsuperb.upstreams.s3prl import S3prl, S3prlKind
from scripts.parity.report import Check, doubled, judged, l2_errors, shake
from scripts.parity.s3prl_models import write_own, write_wrapped
from scripts.parity.versions import espnet_version

NUM_WAVES = 20
TOKENS = ["<blank>", "<unk>", "<space>", "[deu]", "[eng]", *"ABCDEFGHIJ", "<sos/eos>"]
UNUSED = {
    "g2p_en": "G2p",
    "jamo": "h2j",
    "opt_einsum": "contract",
    "espnet2.text.cleaner": "TextCleaner",
    "espnet2.tasks.enh_s2t": "EnhS2TTask",
    "torchaudio.sox_effects": "apply_effects_tensor",  # gone from torchaudio 2.9 on, as is the next
}
ENCODERS: dict[str, dict[str, Any]] = {  # conf/tuning of ml_superb/asr1 and ml_superb2/asr1, smaller
    "transformer": {},
    "conformer": {"rel_pos_type": "latest", "macaron_style": True, "cnn_module_kernel": 15},
    "e_branchformer": {"use_ffn": True, "merge_conv_kernel": 31, "cgmlp_linear_units": 96},
}
ESPNET3_SINCE = 202611  # the first release of which that part was tried
Writer = Callable[[Path, nn.Module, argparse.Namespace], None]
SIZES = {"output_size": 64, "attention_heads": 4, "linear_units": 128, "num_blocks": 2, "input_layer": "conv2d2"}


def import_checks() -> Iterator[Check]:
    """Every encoder on log-mels; every kind of s3prl upstream under the benchmark's head."""
    import_espnet_tasks()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waves = _write_waves(Path(folder) / "waves")
        for encoder, settings in ENCODERS.items():
            chosen = {"encoder": encoder, "encoder_conf": SIZES | settings}
            yield _same_text(f"log-mels, {encoder}", Path(folder) / encoder, waves, **chosen)
        quarter = {"encoder": "transformer", "encoder_conf": SIZES | {"input_layer": "conv2d"}}
        yield _same_text("log-mels, transformer, conv2d", Path(folder) / "conv2d", waves, **quarter)
        joint = {"encoder": "transformer", "encoder_conf": SIZES, "decoder": "transformer"}
        joint |= {"decoder_conf": {"linear_units": 128, "num_blocks": 2}, "model_conf": {"ctc_weight": 0.3}}
        yield _same_text("log-mels, CTC-attention, beam 5", Path(folder) / "joint", waves, beam_size=5, **joint)
        if espnet_version() >= ESPNET3_SINCE:
            conformer = {"encoder": "conformer", "encoder_conf": SIZES | ENCODERS["conformer"]}
            yield _same_text("espnet3, conformer", Path(folder) / "espnet3", waves, write=write_espnet3, **conformer)
        _last_state_as_in_transformers_4()
        for name in ("hubert_custom", "wav2vec2_custom", "wavlm_local", "hf_hubert_custom", "hf_wav2vec2_custom"):
            for large in (False, True):
                yield from _s3prl_checks(name, Path(folder) / f"{name}-{large}", waves, large=large)


def import_espnet_tasks() -> None:
    """With empty modules in place of `UNUSED` ones that are missing."""
    import transformers  # noqa: F401  (asks for some of these packages, and must not find the empty ones)

    for name, attribute in UNUSED.items():
        if name.startswith("espnet2.") or importlib.util.find_spec(name) is None:
            module = ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            setattr(module, attribute, type(attribute, (), {}))
            sys.modules[name] = module
    torchaudio.set_audio_backend = lambda name: None
    import espnet2.bin.asr_inference
    import espnet2.tasks.asr  # noqa: F401


def _write_waves(folder: Path) -> list[Path]:
    """Noise that changes its colour and level every 50 to 300 ms, from 0.3 to 3 s."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    paths = []
    for number in range(NUM_WAVES):
        pieces = []
        for _ in range(3 + number % 8):
            length = int(torch.randint(1600, 4800, (), generator=generator))
            noise = torch.randn(1, 1, length + 20, generator=generator)
            filtered = nn.functional.conv1d(noise, torch.randn(1, 1, 21, generator=generator))
            pieces.append(filtered.flatten() * 0.1 * torch.rand((), generator=generator))
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], torch.cat(pieces).numpy(), 16_000, subtype="FLOAT")
    return paths


def _same_text(
    title: str,
    folder: Path,
    waves: list[Path],
    *,
    like: Path | None = None,
    beam_size: int = 1,
    write: Writer | None = None,
    **settings: Any,
) -> Check:
    """ESPnet builds, saves and decodes; we import and decode."""
    from espnet2.bin.asr_inference import Speech2Text

    _save_model(folder, write or write_model, **settings)
    # conf/decode_asr.yaml of ml_superb/asr1; ctc_weight as in asr2's where there is a decoder
    decoding = {"beam_size": beam_size, "ctc_weight": 0.3 if "decoder" in settings else 1.0, "lm_weight": 0.0}
    heard = Speech2Text(str(folder / "config.yaml"), str(folder / "valid.loss.ave.pth"), **decoding)
    theirs = [heard(soundfile.read(path, dtype="float32")[0])[0][0] for path in waves]
    left = sum(text.endswith(TOKENS[-1]) for text in theirs)  # see `mlsuperb.decoding.prefix_beam.PrefixBeam`
    theirs = [text.removesuffix(TOKENS[-1]) for text in theirs]
    run = import_espnet(folder, Wishes(run=folder / "run", upstream_checkpoint=str(like) if like else None))
    if "decoder" in settings:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        config["decoding"]["beam_size"] = beam_size
        (run / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    ours = [one.hypothesis for one in transcribe(run, waves, device="cpu")]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    found = f"{equal}/{len(waves)} equal, {len(set(theirs))} different, {sum(map(len, theirs))} letters"
    remark = f"; in {left} ESPnet leaves an <sos/eos>" if left else ""
    return Check(f"imported, {title}", found + remark, equal == len(waves))


def build_model(folder: Path, **settings: Any) -> tuple[nn.Module, argparse.Namespace]:
    """ESPnet's model with random weights, and what it was built from: log-mels under a CTC head, but for `settings`."""
    from espnet2.tasks.asr import ASRTask

    arguments = ASRTask.get_parser().parse_args(["--output_dir", str(folder), "--token_type", "char"])
    arguments.token_list = list(TOKENS)
    arguments.frontend_conf = {"n_fft": 1024, "hop_length": 320}
    arguments.model_conf = {"ctc_weight": 1.0, "lsm_weight": 0.1, "extract_feats_in_collect_stats": False}
    arguments.specaug, arguments.specaug_conf = "specaug", {"time_warp_window": 5, "time_mask_width_range": 9}
    for name, value in settings.items():
        setattr(arguments, name, value)
    torch.manual_seed(1)
    return ASRTask.build_model(arguments), arguments


def write_model(folder: Path, model: nn.Module, arguments: argparse.Namespace) -> None:
    """Its configuration and weights, as `AbsTask.main_worker` and `Trainer` leave them."""
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "config.yaml").open("w", encoding="utf-8") as file:
        yaml_no_alias_safe_dump(vars(arguments), file, indent=4, sort_keys=False)
    torch.save(model.state_dict(), folder / "valid.loss.ave.pth")


def write_espnet3(folder: Path, model: nn.Module, arguments: argparse.Namespace) -> None:
    """The same, as espnet3 leaves them: settings of all kinds in one level, a path to the tokens."""
    from espnet3.utils.task_utils import save_espnet_config

    write_model(folder, model, arguments)
    tokens = folder / "tokens.txt"
    tokens.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    names = ("encoder", "encoder_conf", "frontend_conf", "model_conf", "specaug", "specaug_conf")
    built = {name: getattr(arguments, name) for name in names} | {"vocab_size": len(TOKENS), "token_list": str(tokens)}
    preprocessor = {"_target_": "espnet2.train.preprocessor.CommonPreprocessor", "train": True, "fs": 16000}
    preprocessor |= {"token_type": "char", "token_list": str(tokens)}
    task, optimizer = "espnet3.systems.esp2_asr.task.ASRTask", {"_target_": "torch.optim.Adam", "lr": 0.002}
    config = {"task": task, "exp_dir": str(folder), "model": built, "optimizer": optimizer, "num_device": 1}
    save_espnet_config(task, config | {"dataset": {"train": None, "preprocessor": preprocessor}}, str(folder))


def _save_model(folder: Path, write: Writer, **settings: Any) -> None:
    """A model that says something, as a trained one does."""
    from espnet2.layers.create_adapter import create_adapter

    model, arguments = build_model(folder, **settings)
    if arguments.use_adapter:
        create_adapter(model, arguments.adapter, arguments.adapter_conf)
    shake(model, "norm", "pos_bias", "featurizer.weights", by=0.5)
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(20)  # a text that changes with the wave
        model.ctc.ctc_lo.bias[-1] = -100.0  # <sos/eos>, which training never puts out
        for name, buffer in model.named_buffers():  # of batch norms
            if name.endswith("running_mean"):
                buffer.normal_()
    write(folder, model, arguments)


def _s3prl_checks(name: str, folder: Path, waves: list[Path], *, large: bool) -> Iterator[Check]:
    folder.mkdir()
    path = write_wrapped(name, folder, large=large) if name.startswith("hf_") else write_own(name, folder, large=large)
    kind = "layer norms" if large else "group norm"
    upstream = {"frontend_conf": {"upstream": name, "path_or_url": str(path)}, "download_dir": "./hub"}
    settings = {
        "frontend": "s3prl", "frontend_conf": {**upstream, "multilayer_feature": True}, "encoder": "transformer",
        "preencoder": "linear", "preencoder_conf": {"input_size": 64, "output_size": 20}, "encoder_conf": SIZES,
        "freeze_param": ["frontend.upstream"],
    }  # fmt: skip
    yield _same_text(f"s3prl {name}, {kind}", folder / "model", waves, like=folder / "like", **settings)
    if large or name == "hubert_custom":  # what ESPnet puts its adapter on
        conf = {"bottleneck": 8, "target_layers": [0, 2]}
        adapter = {"use_adapter": True, "adapter": "houlsby", "adapter_conf": conf}
        if not name.startswith(("wavlm", "hf_hubert")):
            title = f"s3prl {name}, {kind}, adapter"
            yield _same_text(title, folder / "adapter", waves, like=folder / "like", **settings, **adapter)
    reader: S3prlKind = "transformers" if name.startswith("hf_") else "own"
    yield _same_layers(f"s3prl {name}, {kind}", folder / "model", kind=reader)


@torch.no_grad()
def _same_layers(title: str, folder: Path, *, kind: S3prlKind) -> Check:
    """All layers of the `S3PRLUpstream` in ESPnet's model and of the imported checkpoint, one utterance at a time."""
    from espnet2.tasks.asr import ASRTask

    # two, as a copy of s3prl's would put its hooks on the original
    files = (folder / "config.yaml", folder / "valid.loss.ave.pth")
    theirs, exact_theirs = (ASRTask.build_model_from_file(*files)[0].eval().frontend.upstream for _ in range(2))
    for module in exact_theirs.double().modules():  # transformers' feature extractor makes fp32 of any wave
        if isinstance(module, nn.Conv1d):
            module.register_forward_pre_hook(lambda one, given: (given[0].to(one.weight.dtype),))
    ours = S3prl(checkpoint=str(folder / "run" / "upstream"), kind=kind).eval()
    errors, frames = [], []
    for samples in (16_000, 15_999, 16_043, 16_100, 700, 800):
        wave_BT = 0.05 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) + 0.01
        layers, lengths = theirs(wave_BT, torch.tensor([samples]))
        features: Features = ours(wave_BT, torch.tensor([samples]))
        assert [int(length) for length in lengths] == [int(features.lengths_B)] * len(features.layers)
        with doubled():
            exact, _ = exact_theirs(wave_BT.double(), torch.tensor([samples]))
        errors.append(l2_errors(*(torch.stack([*one]) for one in (features.layers, layers, exact))))
        frames.append(int(features.lengths_B))
    check = judged(f"layers, {title}", errors)
    return replace(check, found=f"{check.found}; frames {frames}")


def _last_state_as_in_transformers_4() -> None:
    """s3prl passes on the hidden states of transformers, of which the last had the final norm of stable-layer-norm models
    before transformers 5: what published models were trained on."""
    from s3prl.upstream.hf_hubert.expert import UpstreamExpert as Hubert
    from s3prl.upstream.hf_wav2vec2.expert import UpstreamExpert as Wav2Vec2

    for expert in (Hubert, Wav2Vec2):
        forward = expert.forward

        def with_norm(self: Any, wavs: list[Tensor], forward: Any = forward) -> dict[str, Any]:
            *layers, last = forward(self, wavs)["hidden_states"]
            stable = self.model.config.do_stable_layer_norm
            return {"hidden_states": (*layers, self.model.encoder.layer_norm(last) if stable else last)}

        expert.forward = with_norm
