"""The Transformer decoder, its label-smoothed loss, and the joint CTC-attention search."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.espnet.keys import DECODER
from mlsuperb.layers.transformer_decoder import TransformerDecoder
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Encoded
from scripts.parity.decoding import espnet_beam_search, tokens_of
from scripts.parity.report import Check, doubled, in_double, no_worse, relatively_close, same_size
from scripts.parity.versions import nets

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
    first = decoder.blocks[0]
    sizes = {"attention_heads": first.token_attention.num_heads, "linear_units": first.ffn[0].out_features}
    theirs = EspnetDecoder(vocab_size, size, num_blocks=len(decoder.blocks), **sizes)
    weights = decoder.state_dict().items()
    theirs.load_state_dict({DECODER.theirs(name).removeprefix("decoder."): value for name, value in weights})
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
    yield same_size("decoder, parameters", [decoder], theirs)
    for num_frames, num_tokens in ((1, 1), (50, 20), (301, 90)):
        frames_BFH, tokens_BS = torch.randn(2, num_frames, 256), torch.randint(0, 500, (2, num_tokens))
        lengths_B, num_B = torch.full((2,), num_frames), torch.full((2,), num_tokens)
        ours, (expected, _) = decoder(tokens_BS, frames_BFH, lengths_B), theirs(frames_BFH, lengths_B, tokens_BS, num_B)
        with doubled():
            exact, _ = in_double(theirs)(frames_BFH.double(), lengths_B, tokens_BS, num_B)
        yield no_worse(f"decoder, {num_frames} frames, {num_tokens} tokens", ours, expected, exact)


def loss_checks() -> Iterator[Check]:
    """The attention loss of batches of texts of several lengths, and its accuracy."""
    from espnet2.asr.espnet_model import ESPnetASRModel

    criterion = nets("pytorch_backend.transformer.label_smoothing_loss").LabelSmoothingLoss
    for smoothing in (0.0, 0.1, 0.3):
        objective = make_objective(60, num_blocks=2)
        objective.label_smoothing = smoothing
        frames_BFH, lengths_B = torch.randn(3, 40, SIZE), torch.tensor([40, 31, 35])
        targets_BS, target_lengths_B = torch.randint(1, 59, (3, 12)), torch.tensor([12, 5, 11])
        result = objective(Encoded(frames_BFH, lengths_B), targets_BS, target_lengths_B)
        ctc = objective.ctc(Encoded(frames_BFH, lengths_B), targets_BS, target_lengths_B).loss
        ours = (result.loss - objective.ctc_weight * ctc) / (1 - objective.ctc_weight)

        model = SimpleNamespace(
            sos=59, eos=59, ignore_id=-1, vocab_size=60, training=True, use_transducer_decoder=False, error_calculator=None,
            decoder=espnet_decoder(objective.decoder), criterion_att=criterion(60, -1, smoothing),
        )  # fmt: skip
        padded_BS = targets_BS.masked_fill(torch.arange(12) >= target_lengths_B[:, None], -1)
        theirs, accuracy, *_ = ESPnetASRModel._calc_att_loss(model, frames_BFH, lengths_B, padded_BS, target_lengths_B)
        yield relatively_close(f"attention loss, label smoothing {smoothing}", ours, theirs)
        rate = float(result.counts["num_attention_errors"] / result.counts["num_attention_tokens"])
        yield Check("attention accuracy", f"{1 - rate:.4f} and {accuracy:.4f}", abs(1 - rate - accuracy) < 1e-6)


def search_checks(beam_size: int) -> Iterator[Check]:
    """Utterances of several lengths in one padded batch, against ESPnet one at a time."""
    cases = (  # weight of CTC, bonus for each token, longest and shortest text by the number of frames
        (0.3, 0.0, 0.0, 0.0), (0.3, 0.5, 0.0, 0.0), (0.5, -0.3, 0.5, 0.1), (0.9, 0.0, 0.0, 0.0), (0.1, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0), (1.0, 0.2, 0.0, 0.0),
    )  # fmt: skip
    names = ("ctc_weight", "length_bonus", "max_length_ratio", "min_length_ratio")
    for sharpness in (1.0, 4.0):
        for case in cases:
            yield decode_both(
                JointBeam(beam_size=beam_size, **dict(zip(names, case, strict=True))), sharpness=sharpness
            )


def decode_both(search: JointBeam, *, sharpness: float, num: int = 9) -> Check:
    torch.manual_seed(search.beam_size)
    objective = make_objective(50, num_blocks=2, sharpness=sharpness)
    lengths_B = torch.randint(1, 50, (num,))
    encoded = Encoded(torch.randn(num, 50, SIZE), lengths_B)
    with torch.inference_mode():
        ours = search(objective.log_probs(encoded).values, lengths_B, objective.attention(encoded))
        rows = [encoded.values[row, :length] for row, length in enumerate(lengths_B)]
        theirs = [espnet_search(search, objective, frames_FH) for frames_FH in rows]
    equal = sum(a.tokens == b.tokens for a, b in zip(ours, theirs, strict=True))
    worst = max(abs(a.score - b.score) / max(1.0, abs(b.score)) for a, b in zip(ours, theirs, strict=True))
    title = (
        f"joint search, beam {search.beam_size}, CTC {search.ctc_weight}, bonus {search.length_bonus}, x{sharpness:.0f}"
    )
    return Check(title, f"{equal}/{num} equal, relative difference {worst:.0e}", equal == num and worst <= 1e-6)


def espnet_search(search: JointBeam, objective: CTCAttention, frames_FH: Tensor) -> Decoded:
    """The best of ESPnet's search, set up as `espnet2.bin.asr_inference` sets it up."""
    ratios = {"maxlenratio": search.max_length_ratio, "minlenratio": search.min_length_ratio}
    best = make_espnet_search(search, objective)(frames_FH, **ratios)[0]
    return Decoded(tokens_of(best, end=objective.sos_eos), float(best.score))


def make_espnet_search(search: JointBeam, objective: CTCAttention) -> nn.Module:
    """ESPnet's search with the weights of our objective."""
    from espnet2.asr.ctc import CTC as EspnetCTC  # noqa: N811

    end, weight = objective.sos_eos, search.ctc_weight
    ctc = EspnetCTC(end + 1, objective.ctc.out.in_features)
    ctc.ctc_lo.load_state_dict(objective.ctc.out.state_dict())
    scorers = {
        "decoder": (espnet_decoder(objective.decoder), 1.0 - weight),
        "ctc": (nets("scorers.ctc").CTCPrefixScorer(ctc.to(objective.ctc.out.weight.dtype).eval(), end), weight),
        "length_bonus": (nets("scorers.length_bonus").LengthBonus(end + 1), search.length_bonus),
    }
    pre_beam = None if weight == 1.0 else "full"
    return espnet_beam_search(scorers, beam_size=search.beam_size, end=end, pre_beam=pre_beam).eval()
