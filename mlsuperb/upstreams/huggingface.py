"""Self-supervised models from the Hugging Face hub or a local folder."""

from __future__ import annotations

from mlsuperb.upstreams.checkpoint import checkpoint_problems, load
from mlsuperb.upstreams.selfsupervised import SelfSupervised


class HuggingFace(SelfSupervised):
    """HuBERT, wav2vec 2.0 (XLS-R and MMS included), WavLM or w2v-BERT 2.0 with published weights.

    Waves are brought to zero mean and unit variance where the checkpoint's preprocessor_config.json says
    `do_normalize`.

    Args:
        checkpoint: an id on the hub (`facebook/hubert-base-ls960`) or a folder written by `save_pretrained`. A
            checkpoint with a head (CTC, pre-training) gives its base model.
        revision: branch, tag or commit on the hub; a folder has none.
        dropout_while_frozen: see `Upstream`.
    """

    def __init__(self, *, checkpoint: str, revision: str = "main", dropout_while_frozen: bool = False) -> None:
        loaded = load(checkpoint, revision=revision)
        super().__init__(loaded.model, normalise=loaded.normalise, dropout_while_frozen=dropout_while_frozen)
        self._record = {
            "checkpoint": checkpoint,
            "revision": revision,
            "commit": loaded.commit,
            "sha256": loaded.sha256,
            "do_normalize": loaded.normalise,
            "do_normalize_source": loaded.normalise_source,
            **super().record(),
        }

    @classmethod
    def problems(cls, *, checkpoint: str, revision: str = "main", dropout_while_frozen: bool = False) -> list[str]:
        """What can be said against the checkpoint without network or weights."""
        return checkpoint_problems(checkpoint, revision=revision)

    def record(self) -> dict[str, object]:
        """Checkpoint, revision asked for, commit or file hashes really loaded, wave normalisation, size and type."""
        return dict(self._record)
