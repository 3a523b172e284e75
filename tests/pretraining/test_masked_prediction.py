"""The loss of HuBERT: against torchaudio's model and loss, over padding, layer drop, and what is masked."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from absent_gpu import AbsentGPU, on_gpu, on_host
from masked_batches import NUM_UNITS, masked_batch, small_hubert, small_model
from tiny_checkpoints import FAMILIES
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torchaudio.models import hubert_pretrain_model
from torchaudio.models.wav2vec2.components import _compute_logits, _compute_mask_indices
from torchaudio.models.wav2vec2.utils import import_huggingface_model

from mlsuperb.pretraining import validation
from mlsuperb.pretraining.head import PredictionHead, StoredHead
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.units.labels import About
from mlsuperb.upstreams.huggingface import EXPORT_FILE
from mlsuperb.upstreams.selfsupervised import SelfSupervised


def torchaudio_twin(model: MaskedPredictionModel) -> Any:
    """torchaudio's pre-training model with the weights of ours."""
    config: Any = model.upstream.model.config
    twin = hubert_pretrain_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=list(zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)),
        extractor_conv_bias=False, encoder_embed_dim=config.hidden_size, encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=config.num_conv_pos_embeddings, encoder_pos_conv_groups=config.num_conv_pos_embedding_groups,
        encoder_num_layers=config.num_hidden_layers, encoder_num_heads=config.num_attention_heads,
        encoder_attention_dropout=0.0, encoder_ff_interm_features=config.intermediate_size, encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0, encoder_layer_norm_first=False, encoder_layer_drop=0.0, mask_prob=0.8, mask_selection="static",
        mask_other=0.0, mask_length=10, no_mask_overlap=False, mask_min_space=1, mask_channel_prob=0.0,
        mask_channel_selection="static", mask_channel_other=0.0, mask_channel_length=10, no_mask_channel_overlap=False,
        mask_channel_min_space=1, skip_masked=False, skip_nomask=False, num_classes=NUM_UNITS,
        final_dim=model.head.label_embeddings.shape[1], feature_grad_mult=0.1,
    )  # fmt: skip
    imported = import_huggingface_model(model.upstream.model).state_dict()
    twin.wav2vec2.load_state_dict(
        {name: one for name, one in imported.items() if not name.startswith("aux")}, strict=True
    )
    with torch.no_grad():
        twin.mask_generator.mask_embedding.copy_(model.upstream.mask_embedding_D)
        twin.logit_generator.label_embeddings.copy_(model.head.label_embeddings)
    twin.logit_generator.final_proj.load_state_dict(model.head.final_proj.state_dict())
    return twin


def test_loss_and_gradients_are_torchaudios(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    upstream = small_hubert(
        normalise=False, dropout=0.0, attention_dropout=0.0, position_kernel=128, position_groups=16
    )
    model = small_model(upstream, num_special=0, layer_drop=0.0)
    twin = torchaudio_twin(model)
    batch = masked_batch(upstream, [32080, 32080, 32080])
    monkeypatch.setattr("torchaudio.models.wav2vec2.components._compute_mask_indices", lambda *_, **__: batch.mask_BF)
    ours = model.train()(batch)
    ours.loss.backward()
    logits_m, _, penalty = twin.train()(batch.wave_BT, batch.units_BF)
    theirs = cross_entropy(logits_m, torch.zeros(len(logits_m), dtype=torch.long)) + 10.0 * penalty
    theirs.backward()
    assert ours.loss.item() == pytest.approx(theirs.item(), rel=1e-5)
    pairs = {
        "mask": (upstream.mask_embedding_D, twin.mask_generator.mask_embedding),
        "table": (model.head.label_embeddings, twin.logit_generator.label_embeddings),
        "projection": (model.head.final_proj.weight, twin.logit_generator.final_proj.weight),
        "first convolution": (
            upstream.model.feature_extractor.conv_layers[0].conv.weight,
            twin.wav2vec2.feature_extractor.conv_layers[0].conv.weight,
        ),
        "query": (
            upstream.model.encoder.layers[0].attention.q_proj.weight,
            twin.wav2vec2.encoder.transformer.layers[0].attention.q_proj.weight,
        ),
        "last": (
            upstream.model.encoder.layers[-1].feed_forward.output_dense.weight,
            twin.wav2vec2.encoder.transformer.layers[-1].feed_forward.output_dense.weight,
        ),
    }  # fmt: skip
    for name, (one, other) in pairs.items():
        scale = float(other.grad.abs().max())
        assert scale > 0, name
        assert float((one.grad - other.grad).abs().max()) < 1e-5 * max(1.0, scale) + 1e-4 * scale, name


def test_the_loss_is_fairseqs_positive_against_negatives() -> None:
    """fairseq's form, written out: the true label, then every other one, each with its cosine."""
    torch.manual_seed(0)
    head = PredictionHead(size=8, num_units=5, final_size=4, num_special=4)
    hidden_ND, units_N = torch.randn(7, 8), torch.randint(0, 5, (7,))
    projected = head.final_proj(hidden_ND)
    wanted = []
    for frame, unit in zip(projected, units_N + 4, strict=True):
        cosines = torch.cosine_similarity(frame[None], head.label_embeddings) / 0.1
        negatives = torch.cat([cosines[:unit], cosines[unit + 1 :]])
        wanted.append(-torch.log_softmax(torch.cat([cosines[unit, None], negatives]), 0)[0])
    losses, predicted = head.losses(hidden_ND, units_N)
    torch.testing.assert_close(losses, torch.stack(wanted), rtol=1e-5, atol=1e-5)
    assert predicted.dtype == torch.int64
    assert (predicted >= -4).all()


def test_unmasked_frames_weigh_as_in_fairseqs_criterion() -> None:
    """fairseq's `HubertCriterion`: sums of both kinds of frames over the number of both, and the penalty beside it."""
    torch.manual_seed(0)
    settings = {"layer_drop": 0.0, "feature_penalty": 0.0}
    model = small_model(**settings, unmasked_weight=0.5).eval()
    batch = masked_batch(model.upstream, [16000, 12000])
    hidden_ND, _ = model.encode(batch)
    both = [
        model.head.losses(hidden_ND[at], batch.units_BF.flatten()[at])[0] for at in (batch.masked_N, batch.unmasked_N)
    ]
    found = model(batch)
    assert float(found.weight) == len(both[0]) + len(both[1])
    assert found.loss.item() == pytest.approx(((both[0].sum() + 0.5 * both[1].sum()) / found.weight).item(), rel=1e-5)
    model.settings = MaskedPrediction(final_size=16, **settings)
    alone = model(batch)
    assert (float(alone.weight), alone.loss.item()) == (len(both[0]), pytest.approx(both[0].mean().item(), rel=1e-5))


def of_family(name: str, **settings: Any) -> SelfSupervised:
    kind, config = FAMILIES[name]
    return SelfSupervised(kind(deepcopy(config)), **settings)


def test_models_that_cannot_be_trained_like_this_are_refused_before_a_step() -> None:
    head = PredictionHead(size=32, num_units=5)
    for name, message in (("wavlm_base", "prediction.layer_drop=0.05: WavLM"), ("w2v_bert", "w2v-BERT 2.0 reads mels")):
        with pytest.raises(ValueError, match=message):
            MaskedPredictionModel(
                of_family(name, regularisation="mask_embedding"), head=head, settings=MaskedPrediction()
            )
    with pytest.raises(ValueError, match="mask_embedding"):
        MaskedPredictionModel(of_family("wavlm_base"), head=head, settings=MaskedPrediction(layer_drop=0.0))


def test_wavlm_is_trained_without_layer_drop() -> None:
    upstream = of_family("wavlm_base", regularisation="mask_embedding")
    settings = MaskedPrediction(layer_drop=0.0, final_size=16)
    head = settings.head(size=32, num_units=NUM_UNITS)
    MaskedPredictionModel(upstream, head=head, settings=settings).train()(
        masked_batch(upstream, [16000, 12000])
    ).loss.backward()
    assert upstream.mask_embedding_D.grad.abs().sum() > 0


def test_padding_changes_no_loss() -> None:
    upstream = small_hubert()
    model = small_model(upstream).eval()
    both = masked_batch(upstream, [32000, 24000])
    with torch.no_grad():
        whole, parts = model(both), []
        for at, length in enumerate((32000, 24000)):
            frames = int(upstream.num_frames(torch.tensor(length)))
            alone = masked_batch(upstream, [length], mask_BF=both.mask_BF[at : at + 1, :frames])
            known = torch.arange(frames)
            parts.append(model(
                type(alone)(**{
                    **vars(alone), "wave_BT": both.wave_BT[at : at + 1, :length], "units_BF": both.units_BF[at : at + 1, :frames],
                    "masked_N": known[alone.mask_BF[0]], "unmasked_N": known[~alone.mask_BF[0]],
                })
            ))  # fmt: skip
    for rate in ("prediction_loss", "masked_accuracy", "unmasked_accuracy"):
        total, number = (sum(float(part.rates[rate][at]) for part in parts) for at in (0, 1))
        assert float(whole.rates[rate][1]) == number
        assert float(whole.rates[rate][0]) == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_what_is_masked_is_not_seen() -> None:
    upstream = small_hubert()
    model = small_model(upstream).eval()
    batch = masked_batch(upstream, [32000])
    everything = type(batch)(**{**vars(batch), "mask_BF": torch.ones_like(batch.mask_BF)})
    other = type(batch)(**{**vars(everything), "wave_BT": -3 * everything.wave_BT.flip(1)})
    with torch.no_grad():
        torch.testing.assert_close(model.encode(everything)[0], model.encode(other)[0])
        assert not torch.allclose(model.encode(batch)[0], model.encode(everything)[0], atol=1e-3)


def test_a_dropped_block_hands_its_input_on_and_has_a_gradient_of_zero() -> None:
    upstream = small_hubert(dropout=0.0, attention_dropout=0.0)
    model = small_model(upstream, layer_drop=0.999999).train()
    batch = masked_batch(upstream, [32000])
    model(batch).loss.backward()
    block = upstream.model.encoder.layers[0]
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.parameters())
    layers = upstream.run_blocks(
        upstream.run_front(batch.wave_BT, batch.lengths_B).hidden_BFD, upstream.num_frames(batch.lengths_B)
    )
    torch.testing.assert_close(layers[0], layers[-1])
    model.eval()
    with torch.no_grad():
        model(batch)  # nothing is dropped in validation
        layers = upstream.run_blocks(layers[0].detach(), upstream.num_frames(batch.lengths_B))
    assert not torch.allclose(layers[0], layers[-1])


def test_the_gradient_of_the_convolutions_is_scaled() -> None:
    gradients = []
    for factor in (1.0, 0.1):
        upstream = small_hubert(dropout=0.0, attention_dropout=0.0)
        torch.manual_seed(0)
        model = small_model(upstream, feature_grad_mult=factor, layer_drop=0.0)
        model(masked_batch(upstream, [32000])).loss.backward()
        gradients.append(upstream.model.feature_extractor.conv_layers[3].conv.weight.grad)
    torch.testing.assert_close(gradients[1], 0.1 * gradients[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("frames", [[6, 6], [12, 12], [49, 49], [120, 90, 75], [781] * 4])
def test_masks_are_fairseqs(frames: list[int]) -> None:
    """torchaudio has fairseq's function: as many masked frames on average, the same number in every utterance."""
    ours, theirs = [], []
    padding = torch.arange(max(frames)) >= torch.tensor(frames)[:, None]
    for seed in range(200):
        mask = SpanMasking().draw(frames, rng=np.random.default_rng(seed))
        assert mask.shape == (len(frames), max(frames))
        assert len(set(mask.sum(1).tolist())) == 1
        assert not (mask & padding.numpy()).any()
        ours.append(mask.sum(1)[0])
        torch.manual_seed(seed)
        theirs.append(int(_compute_mask_indices(padding.shape, padding, 0.8, 10, min_masks=2).sum(1)[0]))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.03)
    assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.35)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 11, 12])
def test_very_short_utterances_are_masked_too(frames: int) -> None:
    mask = SpanMasking().draw([frames, frames], rng=np.random.default_rng(0))
    assert mask.any(1).all()


def test_the_largest_tensor_of_the_loss_is_smaller_by_the_projections_size() -> None:
    """The published form makes a tensor of frames x (units + 1) x final size; ours one of frames x units."""
    num_frames, num_units, final_size = 60, 100, 32
    head = PredictionHead(size=8, num_units=num_units, final_size=final_size, num_special=0)
    hidden_ND, units_N = torch.randn(num_frames, 8), torch.randint(0, num_units, (num_frames,))

    def published() -> torch.Tensor:
        logits = _compute_logits(head.final_proj(hidden_ND), units_N, head.label_embeddings)
        return cross_entropy(logits, torch.zeros(num_frames, dtype=torch.long))

    sizes = []
    for loss in (published, lambda: head.losses(hidden_ND, units_N)[0].mean()):
        with LargestTensor() as seen:
            loss().backward()
        sizes.append(seen.numbers)
    assert sizes[1] <= num_frames * num_units
    assert sizes[0] / sizes[1] >= final_size * (num_units + 1) / num_units


class LargestTensor(TorchDispatchMode):
    """Numbers in the largest tensor that an operation gave its own memory."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return result


def test_a_head_is_saved_and_refused_for_other_units(tmp_path: Any) -> None:
    head = PredictionHead(size=64, num_units=NUM_UNITS, final_size=16)
    head.save(tmp_path, label_rate_hz=50.0)
    again = StoredHead.read(tmp_path).head()
    torch.testing.assert_close(again.state_dict(), head.state_dict())
    assert (again.num_special, again.temperature, again.num_units) == (4, 0.1, NUM_UNITS)
    with pytest.raises(ValueError, match="has no prediction head"):
        StoredHead.read(tmp_path / "nowhere")


LABELS = About(codebook="c0ffee", rate_hz=50.0, num_units=NUM_UNITS, num_rows=1, rows_per_shard=1)


def test_a_head_to_start_from_is_for_the_very_units(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    PredictionHead(size=64, num_units=NUM_UNITS, final_size=16).save(tmp_path, label_rate_hz=50.0)
    (tmp_path / EXPORT_FILE).write_text(json.dumps({"targets": {"codebook": "c0ffee"}}))
    settings = MaskedPrediction(start=str(tmp_path), final_size=16)
    torch.testing.assert_close(
        settings.head_for(LABELS, size=64).state_dict(), StoredHead.read(tmp_path).head().state_dict()
    )
    assert not caplog.records
    for labels, said in (
        (replace(LABELS, codebook="beef"), r"codebook c0ffee there, beef here"),
        (replace(LABELS, rate_hz=100.0), r"rate_hz 50.0 there, 100.0 here"),
        (replace(LABELS, num_units=30), r"num_units 20 there, 30 here"),
    ):
        with pytest.raises(ValueError, match=rf"is a head for other units.*\({said}\)"):
            settings.head_for(labels, size=64)
    with pytest.raises(ValueError, match=r"\(size 64 there, 32 here\)"):
        settings.head_for(LABELS, size=32)
    other = MaskedPrediction(start=str(tmp_path), temperature=0.2, num_special=0)
    with pytest.raises(
        ValueError, match=r"num_units.*final_size 16 there, 256 here; temperature.*num_special"
    ) as caught:
        other.head_for(replace(LABELS, num_units=NUM_UNITS + 4), size=64)
    assert "codebook" not in str(caught.value)


def test_a_head_that_does_not_say_its_codebook_is_taken_with_a_warning(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As a head imported from fairseq, which may not even know its rate (-1)."""
    settings = MaskedPrediction(start=str(tmp_path), final_size=16)
    head = PredictionHead(size=64, num_units=NUM_UNITS, final_size=16)
    head.save(tmp_path, label_rate_hz=-1.0)
    assert settings.head_for(LABELS, size=64).num_units == NUM_UNITS
    assert "does not say which codebook its units are of" in caplog.text
    head.save(tmp_path, label_rate_hz=100.0)
    with pytest.raises(ValueError, match=r"\(rate_hz 100.0 there, 50.0 here\)"):
        settings.head_for(LABELS, size=64)


def test_predictions_of_special_classes_are_of_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(upstream := small_hubert()).eval()
    batch = masked_batch(upstream, [32000, 24000])
    monkeypatch.setattr(validation, "batches_of_rank", lambda *_: SimpleNamespace(loader=[batch]))
    losses = model.head.losses

    def every_third_special(hidden_ND: torch.Tensor, units_N: torch.Tensor) -> Any:
        return losses(hidden_ND, units_N)[0], torch.where(torch.arange(len(units_N)) % 3 == 0, -2, 7)

    monkeypatch.setattr(model.head, "losses", every_third_special)
    (counts,) = validation.by_language(model, None, None, precision="fp32").values()  # type: ignore[arg-type]
    assert counts.masked == len(batch.masked_N)
    assert counts.predicted_K.sum() == counts.predicted_K[7] == counts.masked - -(-counts.masked // 3)
    assert counts.figures()["code_perplexity"] == 1


def test_an_utterance_without_a_finite_loss_is_named_by_the_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(upstream := small_hubert()).eval()
    batch = masked_batch(upstream, [32000, 24000])
    monkeypatch.setattr(validation, "batches_of_rank", lambda *_: SimpleNamespace(loader=[batch]))
    encode = model.encode

    def spoilt(given: Any) -> Any:
        hidden_ND, rest = encode(given)
        in_second_row_N = torch.arange(len(hidden_ND)) >= given.mask_BF.shape[1]
        return hidden_ND.masked_fill(in_second_row_N[:, None], torch.nan), rest

    monkeypatch.setattr(model, "encode", spoilt)
    with pytest.raises(ValueError, match=rf"the loss of the validation is not finite on {batch.ids[1]}\. Look"):
        validation.by_language(model, None, None, precision="fp32")  # type: ignore[arg-type]


def test_a_step_on_a_gpu_never_waits() -> None:
    model = small_model().eval()
    batch = masked_batch(model.upstream, [16000, 9000, 4000])
    with torch.no_grad():
        expected = model(batch).loss
        with AbsentGPU() as gpu:
            found = on_gpu(model)(batch.to("cuda")).loss
    torch.testing.assert_close(on_host(found), expected)
    assert not gpu.reads
