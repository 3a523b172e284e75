"""A small model of SeamlessM4T's shape with random weights, to train from nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import PositiveInt

from mlsuperb.translation.letters import Letters, scripts_without_letters
from mlsuperb.translation.seamless import SPEECH, TEXT, SeamlessTranslator
from mlsuperb.upstreams.base import size_and_type
from mlsuperb.upstreams.inputs import StackedMelInput


class NewSeamless(SeamlessTranslator):
    """SeamlessM4T (version 1) in any size, with a token for each letter: for trainings from nothing on a small corpus. Then
    it is adapted as a published one.

    Args:
        languages: ISO 639-3 codes that it has tokens for; also those that it will be adapted to.
        scripts: of its letters (`mlsuperb.translation.letters.Letters`).
        size: hidden size.
        encoder_blocks, decoder_blocks: of the Conformer; of the text decoder and of the text encoder.
        num_heads, ffn_size: of all blocks; `size` is a multiple of the former.
        stride: of the length adaptor: frames of 20 ms become frames of so many times that; 8 in the published models, which write
            pieces of words.
        dropout: rate, everywhere in the blocks but for the feed-forward networks' inner activations.
        parts: `speech`, `text`, or both.
    """

    def __init__(
        self, *, languages: list[str], parts: Collection[str], scripts: list[str], size: PositiveInt = 192,
        encoder_blocks: PositiveInt = 6, decoder_blocks: PositiveInt = 3, num_heads: PositiveInt = 4, ffn_size: PositiveInt = 512,
        stride: PositiveInt = 4, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        from transformers import SeamlessM4TConfig, SeamlessM4TForSpeechToText, SeamlessM4TForTextToText

        tokenizer = Letters(scripts=scripts, languages=languages)
        config: Any = SeamlessM4TConfig(
            vocab_size=len(tokenizer), hidden_size=size, encoder_layers=decoder_blocks, decoder_layers=decoder_blocks,
            encoder_ffn_dim=ffn_size, decoder_ffn_dim=ffn_size, encoder_attention_heads=num_heads,
            decoder_attention_heads=num_heads, speech_encoder_layers=encoder_blocks, speech_encoder_attention_heads=num_heads,
            speech_encoder_intermediate_size=ffn_size,
            feature_projection_input_dim=StackedMelInput.stack * StackedMelInput.num_mels,
            adaptor_kernel_size=stride, adaptor_stride=stride, max_position_embeddings=1024, dropout=dropout,
            speech_encoder_dropout=dropout, adaptor_dropout=dropout, attention_dropout=dropout, activation_dropout=0.0,
        )  # fmt: skip
        kinds = {SPEECH: SeamlessM4TForSpeechToText, TEXT: SeamlessM4TForTextToText}
        # both always: what is random does not depend on the parts
        made: dict[str, Any] = {part: kind(config) for part, kind in kinds.items()}
        made[TEXT].text_decoder.load_state_dict(made[SPEECH].text_decoder.state_dict())
        made[TEXT].shared.load_state_dict(made[SPEECH].shared.state_dict())
        super().__init__(
            *(made[part] if part in parts else None for part in (SPEECH, TEXT)),
            tokenizer=tokenizer, codes={code: tokenizer.convert_tokens_to_ids(f"__{code}__") for code in languages},
        )  # fmt: skip
        self._record = {"checkpoint": None, **size_and_type(self)}

    @classmethod
    def problems(cls, *, scripts: list[str], size: int = 192, num_heads: int = 4, **_: Any) -> list[str]:
        """What can be said against the settings without building the model."""
        found = [
            f"model.scripts: no letter's Unicode name begins with {script!r}; give LATIN, GREEK, CYRILLIC, GEORGIAN, DEVANAGARI "
            "or the like"
            for script in scripts_without_letters(scripts)
        ]
        if size % num_heads:
            found.append(f"model.size={size} is no multiple of model.num_heads={num_heads}: give one")
        return found
