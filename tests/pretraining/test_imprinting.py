"""Label embeddings that begin as the means of their frames."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from masked_batches import NUM_UNITS, masked_batch, small_model
from pretraining_runs import SMALL, labels_of, pretraining_of, run, speech_tree

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.pretraining import imprinting


def test_embeddings_are_the_mean_directions_of_their_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a loop over frames; a unit without one and the special classes keep what they had."""
    monkeypatch.setattr(imprinting, "FRAMES_PER_UNIT", 4)
    model = small_model()
    batches = [masked_batch(model.upstream, lengths, seed=sum(lengths)) for lengths in ([9000, 7000], [12000])]
    for batch in batches:
        batch.units_BF[batch.units_BF == 3] = 5
    before, state = model.head.label_embeddings.detach().clone(), torch.get_rng_state()
    imprinting.imprint(model, cycle(batches), precision="fp32")
    assert torch.equal(torch.get_rng_state(), state)
    directions: dict[int, list[np.ndarray]] = {}
    model.eval()
    with torch.no_grad():
        for batch in batches:
            projected_NP = model.head.final_proj(model.encode(batch)[0]).numpy()
            for place in (*batch.masked_N.tolist(), *batch.unmasked_N.tolist()):
                one_P = projected_NP[place] / np.linalg.norm(projected_NP[place])
                directions.setdefault(int(batch.units_BF.flatten()[place]), []).append(one_P)
    seen = sum(map(len, directions.values()))
    assert seen - len(batches[1].masked_N) - len(batches[1].unmasked_N) < 4 * NUM_UNITS <= seen, (
        "both batches are used once"
    )
    after, num_special = model.head.label_embeddings.detach(), model.head.num_special
    for unit, of_unit in directions.items():
        mean_P = np.mean(of_unit, 0)
        wanted_P = torch.from_numpy(mean_P / np.linalg.norm(mean_P))
        torch.testing.assert_close(after[num_special + unit], wanted_P, rtol=1e-4, atol=1e-5)
    kept = [*range(num_special), *(num_special + unit for unit in set(range(NUM_UNITS)) - set(directions))]
    assert num_special + 3 in kept
    assert torch.equal(after[kept], before[kept])


def test_ranks_count_frames_together_and_each_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As seen by one of two ranks that have equal batches: half as many of them are needed, and what the other computes, which
    this one was given only to take part, does not count."""
    monkeypatch.setattr(imprinting, "FRAMES_PER_UNIT", 4)
    monkeypatch.setattr(imprinting.ranks, "total", lambda tensor: 2 * tensor)
    model = small_model()
    own = masked_batch(model.upstream, [9000, 7000])
    num_frames = len(own.masked_N) + len(own.unmasked_N)
    assert num_frames < 4 * NUM_UNITS <= 2 * num_frames
    others = replace(masked_batch(model.upstream, [12000], seed=1), share=0.0)
    left = iter([others, own, others])
    imprinting.imprint(model, left, precision="fp32")
    assert list(left) == [others]
    found = model.head.label_embeddings.detach().clone()
    monkeypatch.setattr(imprinting.ranks, "total", lambda tensor: tensor)
    imprinting.imprint(model, [own], precision="fp32")
    torch.testing.assert_close(found, model.head.label_embeddings.detach())


def test_units_that_a_model_tells_apart_are_predicted_at_once() -> None:
    """Units are parts of the space of projected frames: no training is needed to predict most of them."""
    model = small_model().eval()
    batch = masked_batch(model.upstream, [16000, 14000])
    with torch.no_grad():
        directions_NP = model.head.directions(model.encode(batch)[0])
        spread_NP = directions_NP - directions_NP.mean(0)
        some_KP = spread_NP[:: len(spread_NP) // NUM_UNITS][:NUM_UNITS]
        batch.units_BF[:] = (spread_NP @ some_KP.T).argmax(-1).view_as(batch.units_BF)
        before = float(model(batch).loss)
        imprinting.imprint(model, cycle([batch]), precision="fp32")
        assert float(model(batch).loss) < before - 0.3
        right = model(batch).rates["masked_accuracy"]
    assert right[0] / right[1] > 0.5


def test_an_expansion_imprints_its_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mlsuperb.pretraining.imprinting")
    labels = run(labels_of(speech_tree(tmp_path / "tree"), tmp_path))
    base = run(pretraining_of(labels, tmp_path))
    words = ["+exp=expand/full", f"upstream.run={base}", f"targets.run={labels}", f"output_root={tmp_path}"]
    run([*words, *(word for word in SMALL if not word.startswith("upstream"))])
    assert any("of 8 units imprinted from" in message for message in caplog.messages)


def test_a_head_to_start_from_has_its_table(tmp_path: Path) -> None:
    words = ["job=pretrain", f"targets.run={tmp_path}", "prediction.start=FOLDER", "+prediction.table=imprinted"]
    assert "leave prediction.table=imprinted out" in " ".join(find_problems(compose(words)))
