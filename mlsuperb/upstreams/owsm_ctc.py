"""OWSM-CTC's encoder (arXiv 2402.12654): OWSM 4's, with self-conditioned CTC inside, two tokens before the frames, and some
blocks that attend to a prompt.

Source: ESPnet 202511, `espnet2/asr/encoder/e_branchformer_ctc_encoder.py`, `espnet2/s2t/espnet_ctc_model.py` and, for what the
model is given where nothing is known of an utterance, `espnet2/bin/s2t_inference_ctc.py`.
Letters: P tokens before the frames, H size of the prompt encoder, D feature size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.espnet.folder import read_tokens, read_weights
from mlsuperb.espnet.keys import HEADS
from mlsuperb.espnet.settings import ENCODERS, Meaning
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.positions import Positions
from mlsuperb.layers.transformer import TransformerBlock
from mlsuperb.upstreams.owsm import Owsm
from mlsuperb.upstreams.owsm_files import ENCODER, OWSM, WHOLE, Kind, OwsmFiles, OwsmSettings

# What every utterance is given, its language unknown: `lang_sym`, `task_sym` and `text_prev` of `Speech2TextGreedySearch`.
PREFIX, NO_PROMPT = ("<nolang>", "<asr>"), "<na>"

PROMPT = ENCODERS["transformer"].fixing({}, ignored=("input_layer",))  # `S2TTask` gives none
OWSM_CTC = Kind(
    whole=Meaning(
        fixed={**WHOLE.fixed, "encoder": ("e_branchformer_ctc",), "promptencoder": ("transformer",)},
        unsaid=WHOLE.unsaid,
    ),
    encoder=Meaning(
        renamed={
            **ENCODER.renamed,
            "input_layer": ("frontend", "conv2d8"),
            "interctc_layer_idx": ("conditioned_after", None),
        },
        fixed={
            **{name: values for name, values in ENCODER.fixed.items() if name != "interctc_layer_idx"},
            "interctc_use_conditioning": (True,),
        },
        unsaid={**ENCODER.unsaid, "interctc_use_conditioning": False},
        ignored={*ENCODER.ignored, "use_cross_attention"},  # read below
    ),
    groups=(*OWSM.groups, "promptencoder_conf"),
    only="Only encoders like OWSM-CTC's can be read here: an E-Branchformer with self-conditioned CTC on globally "
    "normalised log-mels. Choose espnet/owsm_ctc_v4_1B or an older one; OWSM has upstream=owsm.",
    further={"promptencoder_conf": PROMPT},
)


class OwsmCtc(Owsm):
    """The encoder of a published OWSM-CTC. Its CTC layer is kept, since its posteriors go back into the encoder.

    Every utterance has the same two tokens before its frames, "language unknown" and "ASR", whatever its language: there is no
    way to tell the model one, which would give away the label of language identification. They are taken out of the layers.

    The blocks that attend to the text before the utterance are given what ESPnet gives them where there is none: the prompt
    `<na>`. A sole token has all the attention, whatever the frame, so that such a block adds the same vector to each; it is
    put into the bias of the feed-forward network before it. The prompt encoder and these attentions are not kept.

    Args: see `Owsm`; checkpoint: `espnet/owsm_ctc_v4_1B`, or a folder.
    """

    kind: ClassVar[Kind] = OWSM_CTC

    @staticmethod
    def _weights(files: OwsmFiles, settings: OwsmSettings, checkpoint: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        try:
            tokens = read_tokens(files.espnet)
            places = {token: tokens.index(token) for token in (*PREFIX, NO_PROMPT)}
        except ValueError as error:
            raise ValueError(
                f"upstream.checkpoint={checkpoint}: its list of tokens cannot be used ({error}); {', '.join(PREFIX)} and "
                f"{NO_PROMPT} must be in it. Give a complete copy of the model on the hub"
            ) from error
        config, num_blocks = files.config, settings.encoder["num_blocks"]
        prompt = PROMPT.read(config.get("promptencoder_conf"), group="promptencoder_conf")[0]
        said = (config.get("encoder_conf") or {}).get("use_cross_attention", True)
        try:
            attending = _attending(said, num_blocks)
            weights = without_prompt(read_weights(files.weights), places, prompt=prompt, attending=attending)
        except (KeyError, ValueError, RuntimeError) as error:  # RuntimeError: sizes that do not go together
            raise ValueError(
                f"upstream.checkpoint={checkpoint}: {files.weights.name} does not fit its config.yaml ({error}). Give weights "
                "and configuration of one and the same model."
            ) from error
        return weights, {"prefix_size": len(PREFIX), "vocab_size": len(tokens)}


def _attending(use_cross_attention: object, num_blocks: int) -> list[int]:
    """The blocks, counted from 0, that attend to the prompt.

    Raises:
        ValueError: it is not said for each block.
    """
    if isinstance(use_cross_attention, bool):
        use_cross_attention = [use_cross_attention] * num_blocks
    if not isinstance(use_cross_attention, list) or len(use_cross_attention) != num_blocks:
        raise ValueError(f"encoder_conf.use_cross_attention={use_cross_attention!r} of {num_blocks} blocks")
    return [number for number, attends in enumerate(use_cross_attention) if attends]


@torch.no_grad()
def without_prompt(
    weights: Mapping[str, Tensor], places: Mapping[str, int], *, prompt: Mapping[str, Any], attending: Sequence[int]
) -> dict[str, Tensor]:
    """ESPnet's weights of an `ESPnetS2TCTCModel`, with the tokens before the frames as `encoder.prefix` (P, D), and what blocks
    add for the prompt `<na>` in the bias of their feed-forward network.

    Args:
        places: of the tokens in the list.
        prompt: settings of the prompt encoder.
        attending: the blocks that attend to its output.

    Raises:
        KeyError, RuntimeError: something is missing, or has another shape.
        ValueError: other blocks attend to a prompt.
    """
    blocks = {int(name.split(".")[2]) for name in weights if ".cross_attn." in name}
    if further := blocks - set(attending):
        raise ValueError(f"cross_attn of the blocks {sorted(further)}, for which config.yaml names no cross-attention")
    found = {name: value for name, value in weights.items() if "cross_attn" not in name}
    prefix_PH = weights["embed.weight"][[places[token] for token in PREFIX]]
    found["encoder.prefix"] = _projected(weights, "embed_proj", prefix_PH.float())
    prompt_1H = weights["embed.weight"][places[NO_PROMPT]][None].float()
    memory_1D = _projected(weights, "prompt_proj", _prompt_encoder(weights, prompt)(prompt_1H))
    for number in attending:
        block = f"encoder.encoders.{number}"
        value_1D = _linear(weights, f"{block}.cross_attn.linear_v", memory_1D)
        added_D = _linear(weights, f"{block}.cross_attn.linear_out", value_1D)[0]
        bias = f"{block}.feed_forward.w_2.bias"
        found[bias] = weights[bias] + 2 * added_D  # the network counts half, beside the other half of the macaron
    return found


def _linear(weights: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    return nn.functional.linear(values, weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float())


def _projected(weights: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    """`values` at the encoder's size; ESPnet has no such layer where they have it already."""
    return _linear(weights, name, values) if f"{name}.weight" in weights else values


def _prompt_encoder(weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> PromptEncoder:
    """The encoder of the prompt, filled with its weights."""
    encoder = PromptEncoder(**settings)
    names = {name: f"prompt_{HEADS['transformer'].theirs(name)}" for name in encoder.state_dict()}
    encoder.load_state_dict({name: weights[theirs].float() for name, theirs in names.items()})
    return encoder.eval()


class PromptEncoder(nn.Module):
    """ESPnet's `TransformerEncoder` without an input layer, behind absolute positions."""

    def __init__(self, *, size: int, num_blocks: int, position_dropout: float, **block: Any) -> None:
        super().__init__()
        self.positions = Positions(dropout=position_dropout)
        self.blocks = nn.ModuleList(TransformerBlock(size, **block) for _ in range(num_blocks))
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)

    def forward(self, tokens_FH: Tensor) -> Tensor:
        """(F, H) of an embedded prompt."""
        hidden_1FH = self.positions(tokens_FH[None])
        valid_1F = torch.ones(hidden_1FH.shape[:2], dtype=torch.bool)
        for block in self.blocks:
            hidden_1FH = block(hidden_1FH, valid_1F)
        encoded_FH: Tensor = self.final_norm(hidden_1FH)[0]
        return encoded_FH
