"""OWSM's encoder. That it computes what ESPnet's does is checked by `scripts/parity/owsm.py`."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_owsm import CONFIG, STATS, V4, weights, write_owsm

from mlsuperb.config.compose import compose
from mlsuperb.upstreams.base import size_and_type
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm import Owsm, OwsmEncoder, OwsmStack
from mlsuperb.upstreams.owsm_files import read_settings

# The names in a block of a model that ESPnet 202511 built, without .weight and .bias, which each has.
BLOCK = """
attn.linear_k attn.linear_out attn.linear_q attn.linear_v cgmlp.channel_proj1.0 cgmlp.channel_proj2 cgmlp.csgu.conv
cgmlp.csgu.norm depthwise_conv_fusion feed_forward.w_1 feed_forward.w_2 feed_forward_macaron.w_1 feed_forward_macaron.w_2
merge_proj norm_ff norm_ff_macaron norm_final norm_mha norm_mlp
"""


def noise(num_samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed)) + 0.02


def changed(path: str, value: Any) -> dict[str, Any]:
    """The configuration with one setting changed."""
    config = deepcopy(CONFIG)
    *groups, name = path.split(".")
    node = config
    for group in groups:
        node = node[group]
    node[name] = value
    return config


def names_of(front: list[str]) -> set[str]:
    modules = [f"encoders.{number}.{name}" for number in range(4) for name in BLOCK.split()] + [*front, "after_norm"]
    return {f"encoder.{module}.{kind}" for module in modules for kind in ("weight", "bias")}


@pytest.mark.parametrize(
    ("config", "front"),
    [
        (CONFIG, ["embed.conv.0", "embed.conv.2", "embed.out.0"]),
        (V4, ["embed.conv.0", "embed.conv.2", "embed.conv.4", "embed.out"]),
    ],
)
def test_every_name_is_espnets(config: dict[str, Any], front: list[str]) -> None:
    settings = read_settings(config)
    encoder = OwsmEncoder(input_size=settings.fbank["num_mels"], **settings.encoder)
    assert {encoder.names.theirs(name) for name in encoder.state_dict()} == names_of(front)


def test_weights_are_read(checkpoints: dict[str, Path]) -> None:
    upstream = Owsm(checkpoint=str(checkpoints["owsm"]))
    expected = weights()
    seen = 0
    for name, value in upstream.model.state_dict().items():
        assert torch.equal(value, expected[upstream.model.names.theirs(name)])
        seen += 1
    assert seen == sum(name.startswith("encoder.") for name in expected) == 160


@torch.no_grad()
def test_owsm_4_has_half_as_many_frames(tmp_path: Path) -> None:
    upstream = Owsm(checkpoint=str(write_owsm(tmp_path / "v4", config=V4))).eval()
    assert (upstream.frame_rate_hz, upstream.fbank.layer_size, upstream.num_layers) == (12.5, 128, 5)
    wave_BT, lengths_B = torch.zeros(2, 48_000), torch.tensor([48_000, 20_000])
    wave_BT[0], wave_BT[1, :20_000] = noise(48_000)[0], noise(20_000, seed=1)[0]
    together, alone = upstream(wave_BT, lengths_B), upstream(wave_BT[1:, :20_000], lengths_B[1:])
    # as ESPnet counts: ((301 - 1) // 2 - 1) // 2 and so on
    assert together.lengths_B.tolist() == [36, 14]
    for layer, expected in zip(together.layers, alone.layers, strict=True):
        torch.testing.assert_close(layer[1, :14], expected[0], rtol=1e-4, atol=1e-5)
    assert upstream(noise(100), torch.tensor([100])).lengths_B.tolist() == [1]


@pytest.mark.parametrize("settings", [{}, {"input_layer": "conv2d8"}])
def test_the_number_of_blocks_is_known_before_the_weights(settings: dict[str, str], tmp_path: Path) -> None:
    config = {**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], **settings}}
    folder = write_owsm(tmp_path / "owsm", config=config)
    assert Owsm.depth({"checkpoint": str(folder), "revision": "main"}) == 4
    assert Owsm.layer_count({"checkpoint": str(folder), "revision": "main"}) == 5
    assert Owsm.depth({"checkpoint": "espnet/owsm_v4_base_102M", "revision": "main"}) is None


def test_log_mels_are_normalised_by_the_corpus(checkpoints: dict[str, Path]) -> None:
    upstream = Owsm(checkpoint=str(checkpoints["owsm"]))
    stored = np.load(checkpoints["owsm"] / STATS)
    mean = stored["sum"] / stored["count"]
    np.testing.assert_allclose(upstream.mean_K.numpy(), mean, rtol=1e-5)
    deviation = np.sqrt(stored["sum_square"] / stored["count"] - mean**2)
    np.testing.assert_allclose(upstream.std_K.numpy(), deviation, rtol=1e-4)


@torch.no_grad()
def test_padding_to_30s_counts_the_padding(checkpoints: dict[str, Path]) -> None:
    """As the original: the same as giving it the padded wave as audio."""
    folder, wave_BT = str(checkpoints["owsm"]), noise(40_000)
    padded = Owsm(checkpoint=folder, pad_to_30s=True).eval()(wave_BT, torch.tensor([40_000]))
    plain = Owsm(checkpoint=folder).eval()
    expected = plain(torch.nn.functional.pad(wave_BT, (0, 440_000)), torch.tensor([480_000]))
    alone = plain(wave_BT, torch.tensor([40_000]))
    assert padded.lengths_B.tolist() == alone.lengths_B.tolist() == [62]
    for layer, other in zip(padded.layers, expected.layers, strict=True):
        torch.testing.assert_close(layer, other[:, :62])
    assert not torch.allclose(padded.layers[-1], alone.layers[-1], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("pad_to_30s", [False, True])
def test_more_than_30_seconds_are_encoded_whole(pad_to_30s: bool, checkpoints: dict[str, Path]) -> None:
    upstream = Owsm(checkpoint=str(checkpoints["owsm"]), pad_to_30s=pad_to_30s).eval()
    features = upstream(noise(600_000), torch.tensor([600_000]))
    assert features.lengths_B.tolist() == [937]
    assert features.layers[-1].isfinite().all()


def test_record_says_what_was_loaded(checkpoints: dict[str, Path]) -> None:
    record = Owsm(checkpoint=str(checkpoints["owsm"])).record()
    assert set(record["sha256"]) == {"valid.total_count.ave_5best.pth", "feats_stats.npz"}
    assert record["num_parameters"] == sum(v.numel() for k, v in weights().items() if k.startswith("encoder."))
    assert (record["commit"], record["dtype"]) == (None, "float32")


def test_a_recipes_own_folder_is_searched(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Without meta.yaml, with a short name linked to the average and the optimiser's file beside it."""
    shutil.copytree(checkpoints["owsm"], tmp_path / "a")
    (tmp_path / "a" / "meta.yaml").unlink()
    model = tmp_path / "a" / "exp" / "s2t_train"
    os.symlink("valid.total_count.ave_5best.pth", model / "valid.total_count.ave.pth")
    torch.save({"optimizers": []}, model / "checkpoint.pth")
    shutil.move(tmp_path / "a" / STATS, model / "feats_stats.npz")
    assert Owsm.problems(checkpoint=str(tmp_path / "a")) == []
    assert Owsm(checkpoint=str(tmp_path / "a")).num_layers == 5
    torch.save(weights(), model / "1epoch.pth")
    with pytest.raises(ValueError, match=r"2 files of weights.*1epoch\.pth.*leave one"):
        Owsm(checkpoint=str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder", "transformer", "encoder='transformer'"),
        ("encoder_conf.attention_layer_type", "rel_selfattn", "attention_layer_type='rel_selfattn'"),
        ("encoder", "e_branchformer_ctc", "upstream=owsm_ctc_v4"),
        ("encoder_conf.input_layer", "conv2d6", r"input_layer='conv2d6' \(supported: 'conv2d' or 'conv2d8'\)"),
        ("encoder_conf.macaron_ffn", False, "macaron_ffn=False"),
        ("encoder_conf.qk_norm", True, "qk_norm=True"),
        ("encoder_conf.something_new", 1, r"something_new=1 \(unknown here\)"),
        ("frontend", "s3prl", "frontend='s3prl'"),
        ("frontend_conf.htk", True, "htk=True"),
        ("frontend_conf.window", "blackman", r"window='blackman' \(supported: 'hann' or 'hamming'\)"),
        ("frontend_conf.frontend_conf", {"use_wpe": True}, r"frontend_conf\.frontend_conf\.use_wpe=True"),
        ("normalize_conf.eps", 1e-5, r"normalize_conf\.eps=1e-05"),
        ("normalize", "utterance_mvn", "normalize='utterance_mvn'"),
        ("postencoder", "hugging_face_transformers", "postencoder="),
    ],
)
def test_other_models_are_refused(path: str, value: Any, message: str, tmp_path: Path) -> None:
    folder = write_owsm(tmp_path / "owsm", config=changed(path, value), like=CONFIG)
    with pytest.raises(ValueError, match=message):
        Owsm(checkpoint=str(folder))
    assert len(Owsm.problems(checkpoint=str(folder))) == 1


def _without(found: dict, part: str) -> dict:
    return {name: value for name, value in found.items() if part not in name}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: _without(w, "encoders.2.cgmlp"), r"missing \(encoder\.encoders\.2\.cgmlp"),
        (
            lambda w: {**w, "encoder.encoders.9.norm_ff.bias": torch.zeros(32)},
            r"1 unknown \(encoder\.encoders\.9\.norm_ff",
        ),
        (lambda w: {**w, "encoder.after_norm.bias": torch.zeros(7)}, r"another shape \(encoder\.after_norm\.bias"),
        (lambda w: {"model": w}, "no plain dictionary of tensors"),
        (lambda w: {**w, "encoder.after_norm.bias": Path("x")}, "cannot be read"),
    ],
)
def test_foreign_weights_are_named(damage: Any, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["owsm"], tmp_path / "owsm")
    torch.save(damage(weights()), folder / "exp" / "s2t_train" / "valid.total_count.ave_5best.pth")
    with pytest.raises(ValueError, match=message):
        Owsm(checkpoint=str(folder))


def test_old_tables_of_positions_are_passed_over(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["owsm"], tmp_path / "owsm")
    saved = {**weights(), "encoder.embed.out.1.pe": torch.zeros(1, 5000, 32)}
    torch.save(saved, folder / "exp" / "s2t_train" / "valid.total_count.ave_5best.pth")
    assert Owsm(checkpoint=str(folder)).num_layers == 5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (STATS, r"no means and variances \(feats_stats\.npz\)"),
        ("exp/s2t_train/valid.total_count.ave_5best.pth", r"meta\.yaml names .* not both there"),
    ],
)
def test_a_missing_file_is_named(path: str, message: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["owsm"], tmp_path / "owsm")
    (folder / path).unlink()
    with pytest.raises(ValueError, match=message):
        Owsm(checkpoint=str(folder))
    assert len(Owsm.problems(checkpoint=str(folder))) == 1


def test_wrong_sums_are_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["owsm"], tmp_path / "owsm")
    np.savez(folder / STATS, count=3, sum=np.zeros(40), sum_square=np.ones(40))
    with pytest.raises(ValueError, match=r"\(40,\) features, but the encoder reads 80"):
        Owsm(checkpoint=str(folder))
    (folder / STATS).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="count, sum and sum_square"):
        Owsm(checkpoint=str(folder))


def test_no_folder_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not a folder" in Owsm.problems(checkpoint=str(tmp_path / "nowhere"))[0]
    assert "holds neither config.yaml nor meta.yaml" in Owsm.problems(checkpoint=str(tmp_path))[0]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in Owsm.problems(checkpoint="nobody/nothing")[0]
    with pytest.raises(ValueError, match=r"nobody/nothing.*could not be read.*hf download"):
        Owsm(checkpoint="nobody/nothing")


def test_a_hub_checkpoint_from_the_cache(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """As `hf download` leaves it; read by another process, since the cache's place is fixed at import."""
    import json
    import subprocess
    import sys

    commit, repository = "0123456789abcdef0123456789abcdef01234567", tmp_path / "hub" / "models--owner--name"
    shutil.copytree(checkpoints["owsm"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    script = (
        "import json; from mlsuperb.upstreams.owsm import Owsm as O; "
        "print(json.dumps([O.problems(checkpoint='owner/name'), O(checkpoint='owner/name').record()]))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    problems, record = json.loads(run.stdout)
    assert problems == []
    assert (record["commit"], record["revision"], record["sha256"]) == (commit, "main", None)


SHAPES = {  # blocks, size, heads, log-mels, front end: egs2/owsm_v3.1/s2t1/conf, egs2/owsm_v4/s2t1/conf
    "owsm_v3_1_medium": (18, 1024, 16, 80, "conv2d"),
    "owsm_v4_base": (6, 384, 6, 128, "conv2d8"),
    "owsm_v4_small": (9, 768, 12, 128, "conv2d8"),
    "owsm_v4_medium": (18, 1024, 16, 128, "conv2d8"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_published_sizes(name: str) -> None:
    """560.8 M of OWSM 3.1 medium: counted in an ESPnet build; OWSM 4 has 102 M, 370 M and 1.02 B with decoder and CTC layer."""
    blocks, size, heads, mels, front = SHAPES[name]
    sizes = {"output_size": size, "attention_heads": heads, "cgmlp_linear_units": 4 * size, "linear_units": 4 * size}
    sizes |= {"cgmlp_conv_kernel": 31, "merge_conv_kernel": 31, "num_blocks": blocks, "input_layer": front}
    settings = read_settings({**CONFIG, "encoder_conf": {**CONFIG["encoder_conf"], **sizes}})
    with torch.device("meta"):
        encoder = OwsmEncoder(input_size=mels, **settings.encoder)
    fbank = Fbank(**{**settings.fbank, "num_mels": mels})
    upstream = OwsmStack(encoder, fbank=fbank, mean_K=torch.zeros(mels), std_K=torch.ones(mels))
    card = compose([f"upstream={name}"])["upstream"]["card"]
    told = (card["layers"], card["size"], card["frame_rate_hz"])
    assert (upstream.num_layers, upstream.layer_size, upstream.frame_rate_hz) == told
    assert size_and_type(upstream)["num_parameters"] / 1e6 == pytest.approx(card["params_m"], abs=0.05)


def test_the_configuration_is_plain_yaml(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["owsm"], tmp_path / "owsm")
    config = folder / "exp" / "s2t_train" / "config.yaml"
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["encoder"] == "e_branchformer"
    config.write_text("x: !!python/object/apply:os.system ['true']", encoding="utf-8")
    with pytest.raises(ValueError, match="plain YAML"):
        Owsm(checkpoint=str(folder))
