"""Every upstream and every head behind it on a GPU that is not there: no tensor on the other device, the CPU's values, and no
waiting but for what `WAITS` names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from absent_gpu import AbsentGPU, on_gpu, on_host
from test_all_upstreams import ALL, LENGTHS, build, waves

from mlsuperb.heads.base import Head
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.featurizer import WeightedSum
from mlsuperb.heads.linear import LinearHead
from mlsuperb.heads.specaug import SpecAugment
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC

VOCAB_SIZE = 20
SMALL = {"size": 16, "num_blocks": 1, "num_heads": 2, "ffn_size": 32}
# not the BiLSTM: packed sequences have their lengths on the host
HEADS: dict[str, Callable[..., Head]] = {
    "transformer": partial(TransformerHead, **SMALL),
    "conv1d2": partial(TransformerHead, frontend="conv1d2", **SMALL),
    "conformer": partial(ConformerHead, **SMALL),
    "e_branchformer": partial(EBranchformerHead, **SMALL),
    "linear": LinearHead,
}
# Where an upstream waits, in every batch: Whisper and OWSM have layers as long as the longest utterance needs, in pieces of 30 s
# each of which holds something; Kaldi's MFCCs are made one utterance at a time.
CUT = {"upstreams/whisper.py: _cut", "upstreams/whisper.py: _join"}
WHISPER, OWSM = "upstreams/whisper.py: encode", "upstreams/owsm.py: encode"
WAITS = {
    "whisper": {WHISPER},
    "whisper_pieces": {WHISPER, *CUT},
    "whisper_padded": {WHISPER, *CUT, "upstreams/whisper.py: forward"},
    "voxtral": {WHISPER},
    "owsm": {OWSM},
    "owsm_padded": {OWSM},
    "owsm_ctc": {OWSM},
    "kaldi_mfcc": {"upstreams/kaldi_mfcc.py: run_front", "upstreams/kaldi_mfcc.py: _features"},
}
LOSS = "objectives/ctc.py: losses"  # torch's CTC loss reads both lengths


@pytest.mark.parametrize("name", ALL)
def test_what_the_cpu_computes(name: str, checkpoints: dict[str, Path]) -> None:
    upstream = build(name, checkpoints)
    wave_BT, lengths_B = waves(LENGTHS)
    with torch.no_grad():
        expected = upstream(wave_BT, lengths_B)
        with AbsentGPU() as gpu:
            features = on_gpu(upstream)(wave_BT.to("cuda"), lengths_B.to("cuda"))
    assert on_host(features.lengths_B).tolist() == expected.lengths_B.tolist()
    for found, other in zip(features.layers, expected.layers, strict=True):
        torch.testing.assert_close(on_host(found), other, rtol=1e-4, atol=1e-5)
    assert set(gpu.reads) == WAITS.get(name, set())


@pytest.mark.parametrize("name", ALL)
def test_from_the_waves_to_the_loss_of_every_head(name: str, checkpoints: dict[str, Path]) -> None:
    """In training mode, SpecAugment among it."""
    upstream = on_gpu(build(name, checkpoints).train())
    wave_BT, lengths_B = waves(LENGTHS)
    featurizer = WeightedSum(num_layers=upstream.num_layers, layer_size=upstream.layer_size)
    heads = [head(input_size=upstream.layer_size) for head in HEADS.values()]
    with torch.no_grad(), AbsentGPU() as gpu:
        features = upstream(wave_BT.to("cuda"), lengths_B.to("cuda"))
        feats_BFD = SpecAugment()(on_gpu(featurizer)(features), features.lengths_B)
        for head in heads:
            encoded = on_gpu(head)(feats_BFD, features.lengths_B)
            objective = on_gpu(CTC(input_size=head.output_size, vocab_size=VOCAB_SIZE))
            targets_BS = torch.full((len(LENGTHS), 1), 3, device="cuda")
            loss = objective(encoded, targets_BS, torch.ones(len(LENGTHS), dtype=torch.int64, device="cuda")).loss
            assert on_host(loss).isfinite()
    assert set(gpu.reads) == {*WAITS.get(name, ()), LOSS}
