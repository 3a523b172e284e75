"""A Transformer decoder: tokens, and an utterance to look at, give the tokens that may come next.

Letters: B utterances, K hypotheses of each, S tokens, Q tokens that are new, F frames of the utterance, M kept tokens,
H size, N attention heads, D size of one (H / N), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mlsuperb.layers.attention import Attention
from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.feed_forward import feed_forward
from mlsuperb.layers.masks import valid_mask
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.positions import Positions

KeysValues = tuple[Tensor, Tensor]  # (B, N, anything, D) each
TIDY_EVERY = 4  # steps between two removals of tokens that no hypothesis has any more


class TransformerDecoder(nn.Module):
    """Embedding, positions, pre-norm blocks of attention to the tokens so far and to the utterance, final layer norm, output
    layer (`espnet2.asr.decoder.transformer_decoder.TransformerDecoder`). The output layer runs in fp32 also under autocast.

    Args:
        size: H, also of the utterance's frames.
        vocab_size: V.
        num_blocks: blocks.
        num_heads: attention heads; must divide `size`.
        ffn_size: hidden size of the feed-forward networks (ReLU).
        dropout: after attention, inside and after the feed-forward networks.
        position_dropout: after the position codes.
        attention_dropout: on attention weights, both kinds.
    """

    def __init__(
        self,
        size: int,
        *,
        vocab_size: int,
        num_blocks: int,
        num_heads: int,
        ffn_size: int,
        dropout: float,
        position_dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, size)
        self.positions = Positions(dropout=position_dropout)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                size, num_heads=num_heads, ffn_size=ffn_size, dropout=dropout, attention_dropout=attention_dropout
            )
            for _ in range(num_blocks)
        )
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.out = nn.Linear(size, vocab_size)

    def forward(self, tokens_BS: Tensor, frames_BFH: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, S, V) logits in fp32 of what follows each of `tokens_BS`. A token sees itself and those before it, so that
        padding behind the last one changes nothing."""
        causal_SS = torch.ones(tokens_BS.shape[1], tokens_BS.shape[1], dtype=torch.bool, device=tokens_BS.device).tril()
        valid_B11F = valid_mask(lengths_B, frames_BFH.shape[1])[:, None, None]
        values_BSH = self.positions(self.embedding(tokens_BS))
        for block in self._blocks():
            values_BSH, _ = block(values_BSH, None, causal_SS, block.frames(frames_BFH), valid_B11F)
        return self.logits(values_BSH)

    def _blocks(self) -> Iterator[DecoderBlock]:
        yield from self.blocks  # type: ignore[misc]

    def logits(self, values_BSH: Tensor) -> Tensor:
        """The output layer behind the final norm."""
        with torch.autocast(values_BSH.device.type, enabled=False):
            logits_BSV: Tensor = self.out(self.final_norm(values_BSH.float()))
            return logits_BSV

    def start(self, frames_BFH: Tensor, lengths_B: Tensor, *, first_token: int, num: int) -> PartialTexts:
        """`num` hypotheses of each utterance, all with one token, ready to be extended."""
        with torch.autocast(frames_BFH.device.type, enabled=False):
            frames_BFH = frames_BFH[:, : int(lengths_B.max())].float()
            valid_B11F = valid_mask(lengths_B, frames_BFH.shape[1])[:, None, None]
            frames = tuple(block.frames(frames_BFH) for block in self._blocks())
        tokens_BK = torch.full((len(lengths_B), num), first_token, device=frames_BFH.device)
        empty_BKM = torch.zeros((*tokens_BK.shape, 0), dtype=torch.bool, device=frames_BFH.device)
        return PartialTexts(
            decoder=self,
            frames=frames,
            valid_B11F=valid_B11F,
            kept=tuple((key_BNFD[:, :, :0], value_BNFD[:, :, :0]) for key_BNFD, value_BNFD in frames),
            own_BKM=empty_BKM,
            num_tokens=0,
            log_probs_BKV=torch.empty(0),
        )._append(tokens_BK)


class DecoderBlock(nn.Module):
    """Attention to the tokens, attention to the utterance, a feed-forward network: each behind a layer norm and beside a
    residual path."""

    def __init__(self, size: int, *, num_heads: int, ffn_size: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.token_attention = Attention(size, num_heads=num_heads, dropout=attention_dropout)
        self.frame_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.frame_attention = Attention(size, num_heads=num_heads, dropout=attention_dropout)
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = feed_forward(size, ffn_size, dropout=dropout, activation="relu")
        self.dropout = Dropout(dropout)

    def frames(self, frames_BFH: Tensor) -> KeysValues:
        """What tokens see of an utterance."""
        return self.frame_attention.keys_and_values(frames_BFH)

    def forward(
        self, values_BQH: Tensor, kept: KeysValues | None, seen: Tensor, frames: KeysValues, valid_B11F: Tensor
    ) -> tuple[Tensor, KeysValues]:
        """The new tokens, and the keys and values of all, the `kept` ones first; `seen`, broadcast to (B, N, Q, M + Q),
        says which of them each new token looks at."""
        normed_BQH = self.token_norm(values_BQH)
        tokens = self.token_attention.keys_and_values(normed_BQH)
        if kept is not None:
            tokens = (torch.cat([kept[0], tokens[0]], dim=2), torch.cat([kept[1], tokens[1]], dim=2))
        values_BQH = values_BQH + self.dropout(self.token_attention.look_up(normed_BQH, *tokens, seen))
        normed_BQH = self.frame_norm(values_BQH)
        values_BQH = values_BQH + self.dropout(self.frame_attention.look_up(normed_BQH, *frames, valid_B11F))
        return values_BQH + self.dropout(self.ffn(self.ffn_norm(values_BQH))), tokens


@dataclass(frozen=True, kw_only=True)
class PartialTexts:
    """Hypotheses of a decoder and what may follow them (`mlsuperb.types.NextTokens`).

    The hypotheses of an utterance share most of their tokens. So keys and values are kept once per token of the tree that
    they form, not once per hypothesis: nothing is copied when the beam changes, memory and time are those of little more
    than one text, and attention is one dense product for all hypotheses, each with a mask of its own tokens.

    Attributes:
        frames: of each block, what tokens see of the utterances.
        valid_B11F: their valid frames.
        kept: of each block, keys and values of M tokens.
        own_BKM: which of them are a hypothesis's own.
        num_tokens: S, the same for all.
        log_probs_BKV: log probabilities of the next token.
    """

    decoder: TransformerDecoder
    frames: tuple[KeysValues, ...]
    valid_B11F: Tensor
    kept: tuple[KeysValues, ...]
    own_BKM: Tensor
    num_tokens: int
    log_probs_BKV: Tensor

    def extend(self, *, parents_BK: Tensor, tokens_BK: Tensor) -> PartialTexts:
        """The hypotheses at `parents_BK`, each with one more token."""
        parents_BK, tokens_BK = (chosen_BK.to(self.own_BKM.device) for chosen_BK in (parents_BK, tokens_BK))
        own_BKM = self.own_BKM.gather(1, parents_BK[..., None].expand(-1, -1, self.own_BKM.shape[2]))
        extended = replace(self, own_BKM=own_BKM)
        if self.num_tokens % TIDY_EVERY == 0:
            extended = extended._tidied()
        return extended._append(tokens_BK)

    def select(self, kept_B: Tensor) -> PartialTexts:
        """The utterances where `kept_B` is true."""
        return replace(
            self,
            frames=tuple((key[kept_B], value[kept_B]) for key, value in self.frames),
            valid_B11F=self.valid_B11F[kept_B],
            kept=tuple((key[kept_B], value[kept_B]) for key, value in self.kept),
            own_BKM=self.own_BKM[kept_B],
            log_probs_BKV=self.log_probs_BKV[kept_B],
        )

    def _append(self, tokens_BK: Tensor) -> PartialTexts:
        decoder, num = self.decoder, tokens_BK.shape[1]
        itself_BKK = torch.eye(num, dtype=torch.bool, device=tokens_BK.device).expand(len(tokens_BK), -1, -1)
        own_BKM = torch.cat([self.own_BKM, itself_BKK], dim=2)
        kept = []
        with torch.autocast(tokens_BK.device.type, enabled=False):
            # all hypotheses are equally long: their last tokens stand at one position
            embedded_PH = decoder.embedding(tokens_BK).flatten(0, 1)
            values_BKH = decoder.positions(embedded_PH[:, None], first=self.num_tokens).view(*tokens_BK.shape, -1)
            for block, before, frames in zip(decoder._blocks(), self.kept, self.frames, strict=True):
                values_BKH, tokens = block(values_BKH, before, own_BKM[:, None], frames, self.valid_B11F)
                kept.append(tokens)
            log_probs_BKV = decoder.logits(values_BKH).log_softmax(-1)
        return replace(
            self, kept=tuple(kept), own_BKM=own_BKM, num_tokens=self.num_tokens + 1, log_probs_BKV=log_probs_BKV
        )

    def _tidied(self) -> PartialTexts:
        """Without the tokens that no hypothesis has: those which some utterance needs are moved to the front."""
        needed_BM = self.own_BKM.any(1)
        num_needed = int(needed_BM.sum(1).max())
        index_BM = needed_BM.byte().argsort(dim=1, descending=True, stable=True)[:, :num_needed]
        return replace(
            self,
            kept=tuple((_take(key, index_BM), _take(value, index_BM)) for key, value in self.kept),
            own_BKM=self.own_BKM.gather(2, index_BM[:, None].expand(-1, self.own_BKM.shape[1], -1)),
        )


def _take(kept_BNMD: Tensor, index_BM: Tensor) -> Tensor:
    """The tokens at `index_BM`, a whole row of memory each."""
    rows_B1 = torch.arange(len(index_BM), device=index_BM.device)[:, None]
    return kept_BNMD.transpose(1, 2)[rows_B1, index_BM].transpose(1, 2)
