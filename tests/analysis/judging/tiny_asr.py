"""ASR checkpoints with random weights, small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def whisper(folder: Path, *, multilingual: bool = True) -> Path:
    """A Whisper that knows German and Javanese, with a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={one: number for number, one in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    folder.mkdir(parents=True)
    plain.save(str(folder / "plain.json"))
    tokenizer = WhisperTokenizerFast(tokenizer_file=str(folder / "plain.json"))
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|de|>", "<|jw|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    torch.manual_seed(0)
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }
    config = WhisperConfig(
        vocab_size=51865 if multilingual else 51864,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        **sizes,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        suppress_tokens=list(range(len(alphabet), config.vocab_size)),  # letters alone: no random token without a text
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def ctc(folder: Path, *, masked: bool = True, adapters: tuple[str, ...] = ()) -> Path:
    """A wav2vec 2.0 with a CTC head; `masked`: it takes a mask of padding; `adapters`: languages it has an adapter and letters
    for, as MMS."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    _tokenizer(folder, adapters=adapters)
    Wav2Vec2FeatureExtractor(return_attention_mask=masked).save_pretrained(folder)
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(LETTERS) + 5,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(16, 16),
            conv_kernel=(10, 3),
            conv_stride=(160, 2),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer" if masked else "group",
            do_stable_layer_norm=masked,
            adapter_attn_dim=4 if adapters else None,
            initializer_range=0.5,
        )
    )
    model.save_pretrained(folder)
    for number, language in enumerate(adapters):
        weights = {name: values.detach() + 0.5 * number for name, values in model._get_adapters().items()}
        save_file(
            {name: values.contiguous() for name, values in weights.items()}, folder / f"adapter.{language}.safetensors"
        )
    return folder


def w2v_bert(folder: Path) -> Path:
    """A w2v-BERT 2.0 with a CTC head, which reads log-mels."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertForCTC

    _tokenizer(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    torch.manual_seed(0)
    config = Wav2Vec2BertConfig(
        vocab_size=len(LETTERS) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_depthwise_kernel_size=3,
        initializer_range=0.5,
    )
    Wav2Vec2BertForCTC(config).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path, *, adapters: tuple[str, ...] = ()) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    folder.mkdir(parents=True)
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, **{one: 5 + at for at, one in enumerate(LETTERS)}}
    given = dict.fromkeys(adapters, vocab) if adapters else vocab
    (folder / "vocab.json").write_text(json.dumps(given), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), **({"target_lang": adapters[0]} if adapters else {}))
    tokenizer.save_pretrained(folder)
