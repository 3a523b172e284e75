"""The parts of the vocoder: against transformers, against what a padded batch must not change, against worked cases."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from absent_gpu import AbsentGPU, on_gpu, on_host
from torch import nn
from transformers import SeamlessM4TCodeHifiGan, SeamlessM4TConfig
from vocoder_runs import loud, small_shape

from mlsuperb.training.schedules import StepDecay
from mlsuperb.vocoder.dataset import Segments, UnitBatch
from mlsuperb.vocoder.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from mlsuperb.vocoder.folder import Voice, load_vocoder, save_vocoder
from mlsuperb.vocoder.generator import UnitVocoder, without_weight_norm
from mlsuperb.vocoder.mel import LogMel
from mlsuperb.vocoder.model import VocoderModel
from mlsuperb.vocoder.settings import VocoderSettings
from mlsuperb.vocoder.start import start_from
from mlsuperb.vocoder.synthesis import ToSpeak, waves


@pytest.fixture(scope="module")
def theirs() -> SeamlessM4TCodeHifiGan:
    shape = small_shape()
    config = SeamlessM4TConfig(
        unit_hifi_gan_vocab_size=shape.num_units, unit_embed_dim=shape.unit_size, vocoder_num_spkrs=shape.num_speakers,
        spkr_embed_dim=shape.speaker_size, vocoder_num_langs=shape.num_languages, lang_embed_dim=shape.language_size,
        upsample_initial_channel=shape.initial_channels, upsample_rates=list(shape.upsample_rates),
        upsample_kernel_sizes=list(shape.upsample_kernels), resblock_kernel_sizes=list(shape.block_kernels),
        resblock_dilation_sizes=[list(one) for one in shape.block_dilations], t2u_pad_token_id=shape.num_units,
    )  # fmt: skip
    torch.manual_seed(0)
    model = SeamlessM4TCodeHifiGan(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
        model.dur_predictor.proj.bias.fill_(1.2)
    return model


@pytest.mark.parametrize("way", ["whole", "weight norm", "whole model"])
def test_transformers_weights_give_transformers_waves(way: str, theirs: SeamlessM4TCodeHifiGan, tmp_path: Path) -> None:
    """Units 1, 0, 5 with durations that its own predictor gives; speaker 2 of language 1."""
    from safetensors.torch import save_file

    if way == "weight norm":
        import copy

        normed = copy.deepcopy(theirs)
        normed.apply_weight_norm()
        normed.save_pretrained(tmp_path)
    elif way == "whole model":
        tensors = {f"vocoder.{name}": one.clone() for name, one in theirs.state_dict().items()}
        save_file(tensors | {"text_decoder.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    else:
        theirs.save_pretrained(tmp_path)
    ours = UnitVocoder(small_shape()).eval()
    assert start_from(ours, str(tmp_path))["new"] == {}
    units_BS = torch.tensor([[1, 0, 5]])
    with torch.no_grad():
        wanted_BT, _ = theirs(units_BS, spkr_id=torch.tensor([[2]]), lang_id=torch.tensor([[1]]))
        durations_S = ours.durations(units_BS[0])
        found_BT = ours(
            units_BS.repeat_interleave(durations_S, dim=1), speaker_B=torch.tensor([2]), language_B=torch.tensor([1])
        )
    assert wanted_BT.shape[1] == 6 * durations_S.sum() > 18
    assert wanted_BT.std() > 0.05
    torch.testing.assert_close(found_BT, wanted_BT, atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_named(
    theirs: SeamlessM4TCodeHifiGan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs.save_pretrained(tmp_path)
    ours = UnitVocoder(small_shape(num_units=4, num_languages=0))
    new = start_from(ours, str(tmp_path))["new"]
    assert set(new) == {"unit_embedding.weight", "hifi_gan.conv_pre.weight"}
    assert new["unit_embedding.weight"] == "[7, 6] there, [4, 6] here"
    assert "not used: language_embedding.weight" in caplog.text
    with pytest.raises(ValueError, match="no weights of a generator of these sizes"):
        start_from(UnitVocoder(small_shape(initial_channels=16)), str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no \*\.safetensors"):
        start_from(ours, str(tmp_path))


def spoken(length: int, *, seed: int) -> ToSpeak:
    units_F = torch.randint(7, (length,), generator=torch.Generator().manual_seed(seed))
    return ToSpeak(id=str(seed), units_F=units_F, speaker=seed % 3, language=seed % 2)


def test_a_batch_does_not_change_its_waves() -> None:
    """Of lengths that are batched together (no shorter than 90 %) with the published steps, and alone."""
    shape = small_shape(upsample_rates=(5, 4, 4, 2, 2), upsample_kernels=(11, 8, 8, 4, 4), initial_channels=32)
    model = loud(UnitVocoder(shape))
    listed = [spoken(length, seed=seed) for seed, length in enumerate((40, 37, 39, 20, 19))]
    with torch.inference_mode():
        together = {one.id: wave for one, wave in waves(model, listed, rate_hz=50, batch_s=10)}
        for one in listed:
            ((_, alone_T),) = waves(model, [one], rate_hz=50, batch_s=10)
            assert len(alone_T) == 320 * len(one.units_F)
            assert alone_T.std() > 0.05
            np.testing.assert_allclose(together[one.id], alone_T, atol=1e-5)


def test_padding_does_not_change_durations_or_what_comes_after_the_end() -> None:
    model = loud(UnitVocoder(small_shape()))
    units_BS = torch.tensor([[3, 1, 4, 0, 5], [2, 6, 1, 3, 3]])
    with torch.no_grad():
        both_BS = model.log_durations(units_BS, torch.tensor([5, 3]))
        torch.testing.assert_close(both_BS[1, :3], model.log_durations(units_BS[1:, :3])[0])
        zero_B = torch.zeros(2, dtype=torch.long)
        wave_BT = model(units_BS, speaker_B=zero_B, language_B=zero_B, lengths_B=torch.tensor([5, 3]))
    assert (wave_BT[1, 18:] == 0).all()
    assert (wave_BT[1, :18] != 0).all()


def test_weight_norm_changes_no_wave_and_the_folder_gives_it_back(tmp_path: Path) -> None:
    model = loud(UnitVocoder(small_shape()))
    given = {"speaker_B": torch.tensor([1]), "language_B": torch.tensor([0])}
    units_BF = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        before_BT = model(units_BF, **given)
        model.add_weight_norm()
        torch.testing.assert_close(model(units_BF, **given), before_BT)
        assert set(without_weight_norm(model.state_dict())) == set(UnitVocoder(small_shape()).state_dict())
        voice = Voice(codebook="c", rate_hz=50.0, num_units=7, speakers=("a", "b", "c"), languages=("x", "y"))
        save_vocoder(tmp_path / "v", model, voice, about={})
        loaded, found = load_vocoder(tmp_path / "v")
        torch.testing.assert_close(loaded(units_BF, **given), before_BT)
    assert (found, loaded.shape) == (voice, model.shape)
    (tmp_path / "v" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read as a vocoder"):
        load_vocoder(tmp_path / "v")


def test_the_published_sizes() -> None:
    """MPD and MSD of HiFi-GAN: 70.7 M parameters; V1's generator (13.9 M) but for the steps and 128 channels of input."""
    settings = VocoderSettings()
    shape = settings.shape(num_units=100, rate_hz=50, num_speakers=0, num_languages=0)
    assert shape.hop == 320
    assert sum(one.numel() for one in Discriminators(1024).parameters()) == pytest.approx(70.7e6, rel=0.01)
    generator = UnitVocoder(shape).hifi_gan
    assert sum(one.numel() for one in generator.parameters()) == pytest.approx(13.3e6, rel=0.02)
    norms = [
        type(module.parametrizations.weight[0]).__name__
        for scale in Discriminators(64).scales
        for module in scale.modules()
        if isinstance(module, nn.Conv1d)
    ]
    assert norms == ["_SpectralNorm"] * 8 + ["_WeightNorm"] * 16
    groups = [module.groups for module in Discriminators(1024).scales[1].modules() if isinstance(module, nn.Conv1d)]
    assert groups == [1, 4, 16, 16, 16, 16, 1, 1]


def test_the_spectrogram_is_that_of_transformers_functions() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    wave_T = 0.1 * np.random.default_rng(0).standard_normal(8960).astype(np.float32)
    filters = mel_filter_bank(513, 80, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    wanted_MJ = spectrogram(
        np.pad(wave_T, 384, "reflect"), window_function(1024, "hann"), 1024, 256, power=1.0, center=False,
        mel_filters=filters, mel_floor=1e-5, log_mel="log",
    )  # fmt: skip
    found_JM = LogMel()(torch.from_numpy(wave_T)[None])[0]
    assert found_JM.shape == (35, 80)
    np.testing.assert_allclose(found_JM.numpy().T, wanted_MJ, atol=2e-3)


def test_losses_of_worked_cases() -> None:
    real = [[torch.tensor([1.0, 3.0]), torch.tensor([0.5])], [torch.tensor([0.0])]]
    made = [[torch.tensor([2.0, 2.0]), torch.tensor([1.0])], [torch.tensor([-1.0])]]
    assert float(discriminator_loss(real, made)) == pytest.approx((0.25 + 1) + (1 + 1))
    assert float(adversarial_loss(made)) == pytest.approx(0 + 4)
    assert float(feature_loss(real, made)) == pytest.approx(1 + 0.5 + 1)


def batch_of(units_BF: torch.Tensor, runs_BS: torch.Tensor, frames_BS: torch.Tensor) -> UnitBatch:
    num, length = units_BF.shape
    zero_B = torch.zeros(num, dtype=torch.long)
    return UnitBatch(
        ids=("u",) * num, languages=("deu",) * num,
        wave_BT=0.1 * torch.randn(num, length * 320, generator=torch.Generator().manual_seed(0)),
        lengths_B=zero_B + length * 320, targets_BS=units_BF, target_lengths_B=zero_B + length, speaker_B=zero_B,
        language_B=zero_B, runs_BS=runs_BS, run_lengths_B=zero_B + runs_BS.shape[1], run_frames_BS=frames_BS,
    )  # fmt: skip


def tiny_model() -> VocoderModel:
    settings = VocoderSettings(
        unit_size=8, initial_channels=32, block_kernels=(3,), block_dilations=(1,), discriminator_size=64
    )
    shape = settings.shape(num_units=5, rate_hz=50, num_speakers=0, num_languages=0)
    torch.manual_seed(0)
    return VocoderModel(UnitVocoder(shape), settings=settings)


def test_each_turn_moves_its_own_part_and_the_loss_is_the_sum_of_its_parts() -> None:
    model = tiny_model().eval()
    units_BF = torch.randint(5, (2, 28), generator=torch.Generator().manual_seed(0))
    batch = batch_of(units_BF, torch.tensor([[0, 1, 2]] * 2), torch.tensor([[0, 4, 0]] * 2))
    names = {turn: {name for name, _ in model.trained(turn)} for turn in model.turns}
    assert names["discriminator"].isdisjoint(names["generator"])
    assert set.union(*names.values()) == {name for name, _ in model.named_parameters()}
    model(batch, "discriminator").loss.backward()
    moved = {name for name, one in model.named_parameters() if one.grad is not None}
    assert moved == names["discriminator"]
    loss = model(batch, "generator")
    parts = {name: float(total / num) for name, (total, num) in loss.rates.items()}
    wanted = 45 * parts["mel_l1"] + 2 * parts["feature_matching"] + parts["adversarial"] + parts["duration_error"]
    assert float(loss.loss.detach()) == pytest.approx(wanted, rel=1e-5)
    model.zero_grad()
    loss.loss.backward()
    assert all(one.grad is not None for name, one in model.named_parameters() if name in names["generator"])


def test_durations_are_learnt_of_whole_runs_only() -> None:
    model = tiny_model().eval()
    units_BF, runs_BS = torch.zeros(1, 28, dtype=torch.long), torch.tensor([[0, 1, 2, 3]])
    errors, num = model.duration_errors(batch_of(units_BF, runs_BS, torch.tensor([[0, 4, 7, 0]])))
    log_S = model.generator.log_durations(runs_BS)[0].detach()
    wanted = [(float(log_S[1]) - math.log(5)) ** 2, (float(log_S[2]) - math.log(8)) ** 2]
    assert (float(errors.detach()), int(num)) == (pytest.approx(sum(wanted), rel=1e-5), 2)
    nothing = replace(batch_of(units_BF, runs_BS, torch.zeros(1, 4, dtype=torch.long)))
    assert torch.isfinite(model(nothing, "generator").loss)


def test_a_step_on_a_gpu_never_waits() -> None:
    model = tiny_model().eval()
    units_BF = torch.randint(5, (2, 28), generator=torch.Generator().manual_seed(0))
    batch = batch_of(units_BF, torch.tensor([[0, 1, 2]] * 2), torch.tensor([[0, 4, 0]] * 2))
    with torch.no_grad():
        expected = [model(batch, turn).loss for turn in model.turns]
        with AbsentGPU() as gpu:
            on_gpu(model)
            found = [model(batch.to("cuda"), turn).loss for turn in model.turns]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(on_host(one), other, rtol=1e-4, atol=1e-5)
    assert not gpu.reads


def test_segments_begin_with_a_unit_and_depend_on_the_random_numbers_alone() -> None:
    segments, durations_s = Segments(max_s=0.56), np.array([0.56, 1.0, 3.02])
    seen = set()
    for seed in range(200):
        draws = segments.draws([2, 0, 1], durations_s, rng=np.random.default_rng(seed))
        assert draws == segments.draws([2, 0, 1], durations_s, rng=np.random.default_rng(seed))
        for draw in draws:
            first = draw.start_s * 16000
            assert round(first) % 320 == 0
            assert abs(first - round(first)) < 1e-6
            assert round(draw.duration_s * 16000) == 8960
            assert round(first) + 8960 <= round(durations_s[draw.index] * 16000)
            seen.add((draw.index, round(first) // 320))
    assert {place for index, place in seen if index == 0} == {0}
    assert {place for index, place in seen if index == 1} == set(range(23))


def test_the_rate_falls_by_steps() -> None:
    schedule = StepDecay(factor=0.5, updates=10)
    assert [schedule(update, 100) for update in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]
