"""CTC-DRO beside the authors' algorithm, written out with numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_dro import CTCDRO
from mlsuperb.training.checkpoint import load_trained, save_weights, trained_tensors
from mlsuperb.types import Encoded

LANGUAGES = ("swa", "deu", "eng")
STEP, SMOOTHING, MATCHED = 0.1, 0.5, 20
BATCHES = [
    ("deu", "deu", "swa"),
    ("deu", "swa", "swa"),
    ("eng", "deu", "eng"),
    ("swa", "eng", "deu"),
    ("deu", "eng", "swa"),
]


def make(**settings: float) -> CTCDRO:
    torch.manual_seed(0)
    objective = CTCDRO(
        input_size=6, vocab_size=5, step_size=STEP, matched_frames=MATCHED, **{"smoothing": SMOOTHING, **settings}
    )
    objective.begin(LANGUAGES)
    return objective.train()


def batch(seed: int) -> tuple[Encoded, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames_B = torch.randint(6, 12, (3,), generator=generator)
    values_BFH = torch.randn(3, 12, 6, generator=generator)
    return Encoded(values_BFH, frames_B), torch.randint(1, 4, (3, 3), generator=generator), torch.tensor([3, 2, 1])


@pytest.mark.parametrize("smoothing", [SMOOTHING, 0.0])
def test_weights_and_losses_are_those_of_the_algorithm(smoothing: float) -> None:
    """Loop over languages and utterances; once all were seen, q_g *= exp(step * L_g / (q_g + alpha)), then normalise. Without
    smoothing the exponent of group DRO is step * L_g (`ctc_dro.py` of the authors branches there): with q_g in its
    denominator it would grow without bound as a weight vanishes."""
    objective = make(smoothing=smoothing)
    weights, seen = dict.fromkeys(LANGUAGES, 1 / 3), dict.fromkeys(LANGUAGES, (0.0, 0))
    for number, languages in enumerate(BATCHES):
        encoded, targets_BS, target_lengths_B = batch(number)
        losses = objective.losses(encoded, targets_BS, target_lengths_B).tolist()
        for language, loss, frames in zip(languages, losses, encoded.lengths_B.tolist(), strict=True):
            seen[language] = (seen[language][0] + loss, seen[language][1] + frames)
        if all(frames for _, frames in seen.values()):
            for language, (total, frames) in seen.items():
                share = weights[language] + smoothing if smoothing else 1.0
                weights[language] *= math.exp(STEP * MATCHED * total / frames / share)
            weights = {language: weight / sum(weights.values()) for language, weight in weights.items()}
            seen = dict.fromkeys(LANGUAGES, (0.0, 0))
        expected = sum(loss * weights[language] * 3 for loss, language in zip(losses, languages, strict=True)) / 3
        found = objective(encoded, targets_BS, target_lengths_B, languages)
        assert found.loss.item() == pytest.approx(expected, rel=1e-5)
        assert objective.curves() == pytest.approx({f"dro_weights/{one}": weights[one] for one in LANGUAGES}, rel=1e-5)
    assert max(weights.values()) > 0.36, "the weights moved"


def test_validation_has_no_weights_and_moves_none() -> None:
    objective = make()
    objective.weights_G[:3] = torch.tensor([0.7, 0.2, 0.1])
    plain = CTC(input_size=6, vocab_size=5)
    plain.load_state_dict({name: value for name, value in objective.state_dict().items() if name.startswith("out.")})
    found = objective.eval()(*batch(0), LANGUAGES).loss
    torch.testing.assert_close(found, plain.eval()(*batch(0)).loss)
    assert objective.frames_G.sum() == 0
    objective.train()(*batch(0), ("deu", "deu", "deu"))
    assert objective.frames_G.sum() > 0


def test_a_language_that_was_not_seen_holds_the_weights_back() -> None:
    objective = make()
    for number in range(3):
        objective(*batch(number), ("deu", "swa", "deu"))
    assert [*objective.curves().values()] == pytest.approx([1 / 3] * 3)


def state(objective: CTCDRO) -> list[torch.Tensor]:
    return [one.clone() for one in (objective.weights_G, objective.sums_G, objective.frames_G)]


def test_a_batch_with_a_loss_that_is_not_finite_leaves_no_trace() -> None:
    objective = make()
    objective(*batch(1), ("deu", "swa", "deu"))
    before = state(objective)
    encoded, targets_BS, target_lengths_B = batch(0)
    encoded.values[1] = math.nan
    assert not torch.isfinite(objective(encoded, targets_BS, target_lengths_B, LANGUAGES).loss)
    assert all(map(torch.equal, state(objective), before))


def test_an_utterance_too_short_for_its_text_is_not_counted() -> None:
    """Its loss is zero, which would make its language look easy."""
    objective = make()
    encoded, targets_BS, target_lengths_B = batch(0)
    encoded.lengths_B[0] = 2
    result = objective(encoded, targets_BS, target_lengths_B, ("deu", "swa", "swa"))
    assert int(result.counts["num_unaligned"]) == 1
    assert objective.frames_G[:3].tolist() == [0, 0, float(encoded.lengths_B[1:].sum())]


def test_a_training_resumes_and_a_trained_model_needs_no_languages(tmp_path: Path) -> None:
    """What a checkpoint keeps of a model holds the weights of the languages; to decode nothing of them is used."""
    objective = make()
    for number, languages in enumerate(BATCHES[:3]):
        objective(*batch(number), languages)
    save_weights(trained_tensors(objective), tmp_path / "model.safetensors")
    again = make()
    load_trained(again, tmp_path / "model.safetensors")
    results = [one(*batch(3), BATCHES[3]).loss for one in (objective, again)]
    torch.testing.assert_close(*results)
    fresh = CTCDRO(input_size=6, vocab_size=5).eval()
    load_trained(fresh, tmp_path / "model.safetensors")
    assert fresh.log_probs(batch(0)[0]).values.isfinite().all()


def test_a_steep_step_has_numbers() -> None:
    objective = make(smoothing=1e-6)
    objective.step_size = 1e4
    for number, languages in enumerate(BATCHES):
        objective(*batch(number), languages)
    weights_G = objective.weights_G[:3]
    assert weights_G.isfinite().all()
    assert float(weights_G.sum()) == pytest.approx(1)
    assert (weights_G > 0).all(), "what is 0 would stay 0: the floor of the authors' dro_q_epsilon"


def test_more_languages_than_there_is_room_for() -> None:
    with pytest.raises(ValueError, match="weights up to 8,192 languages, the data have 9,000"):
        make().begin([str(number) for number in range(9000)])


def test_one_language_is_plain_ctc_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    objective = make()
    assert not caplog.records
    objective.begin(["deu"])
    assert "there is one (deu): its weight stays 1, so this is objective=ctc" in caplog.text
    encoded, targets_BS, target_lengths_B = batch(0)
    found = objective(encoded, targets_BS, target_lengths_B, ["deu"] * 3).loss
    torch.testing.assert_close(found, objective.losses(encoded, targets_BS, target_lengths_B).mean())
    assert objective.curves() == {"dro_weights/deu": 1.0}
