"""The Transformer decoder, its label-smoothed loss, and the joint CTC-attention search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.layers.transformer_decoder import TransformerDecoder
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Encoded
from scripts.parity.report import Check, close, relatively_close

SIZE = 64
SETTINGS = {"num_heads": 4, "ffn_size": 128}


def joint_checks() -> Iterator[Check]:
    """Everything of CTC-attention."""
    yield from decoder_checks()
    yield from loss_checks()
    for beam_size in (1, 5, 10, 20):
        yield from search_checks(beam_size)


def espnet_decoder(decoder: TransformerDecoder) -> nn.Module:
    """ESPnet's decoder with the weights of ours."""
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder as EspnetDecoder

    vocab_size, size = decoder.embedding.weight.shape
    ffn = decoder.blocks[0].ffn
    theirs = EspnetDecoder(
        vocab_size,
        size,
        attention_heads=decoder.blocks[0].token_attention.num_heads,
        linear_units=ffn[0].out_features,
        num_blocks=len(decoder.blocks),
    )
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (theirs.embed[0], decoder.embedding),
        (theirs.after_norm, decoder.final_norm),
        (theirs.output_layer, decoder.out),
    ]
    for a, b in zip(theirs.decoders, decoder.blocks, strict=True):
        pairs += [(a.norm1, b.token_norm), (a.norm2, b.frame_norm), (a.norm3, b.ffn_norm)]
        pairs += [(a.feed_forward.w_1, b.ffn[0]), (a.feed_forward.w_2, b.ffn[3])]
        for attention, ours in ((a.self_attn, b.token_attention), (a.src_attn, b.frame_attention)):
            pairs += [(attention.linear_q, ours.query), (attention.linear_k, ours.key)]
            pairs += [(attention.linear_v, ours.value), (attention.linear_out, ours.out)]
    for their_layer, our_layer in pairs:
        their_layer.load_state_dict(our_layer.state_dict())
    return theirs.to(decoder.out.weight.dtype).eval()


def make_objective(vocab_size: int, *, num_blocks: int = 6, sharpness: float = 1.0) -> CTCAttention:
    """Random weights; `sharpness` makes the decoder and CTC surer of themselves, as a trained model is."""
    objective = CTCAttention(input_size=SIZE, vocab_size=vocab_size, num_blocks=num_blocks, **SETTINGS).eval()
    with torch.no_grad():
        for layer in (objective.decoder.out, objective.ctc.out):
            layer.weight *= sharpness
    return objective


def decoder_checks() -> Iterator[Check]:
    """Outputs and parameters of the sizes that the recipe has."""
    decoder = CTCAttention(input_size=256, vocab_size=500).eval().decoder
    theirs = espnet_decoder(decoder)
    counts = [sum(p.numel() for p in part.parameters()) for part in (decoder, theirs)]
    yield Check("decoder, parameters", " and ".join(f"{one:,}" for one in counts), counts[0] == counts[1])
    for num_frames, num_tokens in ((1, 1), (50, 20), (301, 90)):
        frames_BFH, tokens_BS = torch.randn(2, num_frames, 256), torch.randint(0, 500, (2, num_tokens))
        lengths_B, num_B = torch.full((2,), num_frames), torch.full((2,), num_tokens)
        ours = decoder(tokens_BS, frames_BFH, lengths_B)
        yield close(
            f"decoder, {num_frames} frames, {num_tokens} tokens",
            ours,
            theirs(frames_BFH, lengths_B, tokens_BS, num_B)[0],
        )


def loss_checks() -> Iterator[Check]:
    """The attention loss of batches of texts of several lengths, and its accuracy."""
    from espnet.nets.pytorch_backend.transformer.label_smoothing_loss import LabelSmoothingLoss
    from espnet2.asr.espnet_model import ESPnetASRModel

    for smoothing in (0.0, 0.1, 0.3):
        objective = make_objective(60, num_blocks=2)
        objective.label_smoothing = smoothing
        frames_BFH, lengths_B = torch.randn(3, 40, SIZE), torch.tensor([40, 31, 35])
        targets_BS, target_lengths_B = torch.randint(1, 59, (3, 12)), torch.tensor([12, 5, 11])
        result = objective(Encoded(frames_BFH, lengths_B), targets_BS, target_lengths_B)
        ctc = objective.ctc(Encoded(frames_BFH, lengths_B), targets_BS, target_lengths_B).loss
        ours = (result.loss - objective.ctc_weight * ctc) / (1 - objective.ctc_weight)

        @dataclass
        class Model:
            sos = eos = 59
            ignore_id = -1
            use_transducer_decoder = False
            decoder: Any
            criterion_att: Any
            error_calculator: Any = None
            vocab_size = 60
            training = True

        model = Model(espnet_decoder(objective.decoder), LabelSmoothingLoss(60, -1, smoothing))
        padded_BS = targets_BS.masked_fill(torch.arange(12) >= target_lengths_B[:, None], -1)
        theirs, accuracy, *_ = ESPnetASRModel._calc_att_loss(model, frames_BFH, lengths_B, padded_BS, target_lengths_B)
        yield relatively_close(f"attention loss, label smoothing {smoothing}", ours, theirs)
        rate = float(result.counts["num_attention_errors"] / result.counts["num_attention_tokens"])
        yield Check("attention accuracy", f"{1 - rate:.4f} and {accuracy:.4f}", abs(1 - rate - accuracy) < 1e-6)


def search_checks(beam_size: int) -> Iterator[Check]:
    """Utterances of several lengths in one padded batch, against ESPnet one at a time."""
    for sharpness in (1.0, 4.0):
        for ctc_weight, bonus, ratios in (
            (0.3, 0.0, (0.0, 0.0)),
            (0.3, 0.5, (0.0, 0.0)),
            (0.5, -0.3, (0.5, 0.1)),
            (0.9, 0.0, (0.0, 0.0)),
            (0.1, 0.0, (0.0, 0.0)),
            (0.0, 0.0, (0.0, 0.0)),
            (1.0, 0.2, (0.0, 0.0)),
        ):
            search = JointBeam(
                beam_size=beam_size,
                ctc_weight=ctc_weight,
                length_bonus=bonus,
                max_length_ratio=ratios[0],
                min_length_ratio=ratios[1],
            )
            yield decode_both(search, sharpness=sharpness)


def decode_both(search: JointBeam, *, sharpness: float, num: int = 9) -> Check:
    torch.manual_seed(search.beam_size)
    objective = make_objective(50, num_blocks=2, sharpness=sharpness)
    lengths_B = torch.randint(1, 50, (num,))
    encoded = Encoded(torch.randn(num, 50, SIZE), lengths_B)
    with torch.inference_mode():
        start = time.perf_counter()
        ours = search(objective.log_probs(encoded).values, lengths_B, objective.attention(encoded))
        middle = time.perf_counter()
        theirs = [
            espnet_search(search, objective, encoded.values[row, :length]) for row, length in enumerate(lengths_B)
        ]
    end = time.perf_counter()
    equal = sum(a.tokens == b.tokens for a, b in zip(ours, theirs, strict=True))
    worst = max(abs(a.score - b.score) / max(1.0, abs(b.score)) for a, b in zip(ours, theirs, strict=True))
    found = f"{equal}/{num} equal, relative difference {worst:.0e}; {middle - start:.2f} s and {end - middle:.2f} s"
    title = (
        f"joint search, beam {search.beam_size}, CTC {search.ctc_weight}, bonus {search.length_bonus}, x{sharpness:.0f}"
    )
    return Check(title, found, equal == num and worst <= 1e-6)


def espnet_search(search: JointBeam, objective: CTCAttention, frames_FH: Tensor) -> Decoded:
    """The best of ESPnet's search, set up as `espnet2.bin.asr_inference` sets it up."""
    best = make_espnet_search(search, objective)(
        frames_FH, maxlenratio=search.max_length_ratio, minlenratio=search.min_length_ratio
    )[0]
    end = objective.sos_eos
    return Decoded([t for t in best.yseq[1:-1].tolist() if t not in (0, end)], float(best.score))


def make_espnet_search(search: JointBeam, objective: CTCAttention) -> nn.Module:
    """ESPnet's search with the weights of our objective."""
    from espnet.nets.batch_beam_search import BatchBeamSearch
    from espnet.nets.scorers.ctc import CTCPrefixScorer
    from espnet.nets.scorers.length_bonus import LengthBonus
    from espnet2.asr.ctc import CTC as EspnetCTC  # noqa: N811

    vocab_size, end = objective.sos_eos + 1, objective.sos_eos
    ctc = EspnetCTC(vocab_size, objective.ctc.out.in_features)
    ctc.ctc_lo.load_state_dict(objective.ctc.out.state_dict())
    scorers = {
        "decoder": espnet_decoder(objective.decoder),
        "ctc": CTCPrefixScorer(ctc.to(objective.ctc.out.weight.dtype).eval(), end),
        "length_bonus": LengthBonus(vocab_size),
    }
    weight = search.ctc_weight
    made: nn.Module = BatchBeamSearch(
        scorers=scorers,
        weights={"decoder": 1.0 - weight, "ctc": weight, "length_bonus": search.length_bonus},
        beam_size=search.beam_size,
        vocab_size=vocab_size,
        sos=end,
        eos=end,
        pre_beam_score_key=None if weight == 1.0 else "full",
    )
    return made.eval()
