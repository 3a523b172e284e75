"""Learning: the loop of ML-SUPERB 1.0, ours beside ESPnet's, from the same weights over the same batches.

The experiment is +exp=v1/asr_lid without what is random in it (SpecAugment, dropout), on a 3-layer HuBERT that s3prl saved. Ours
is our `Trainer`. Theirs is a plain loop around ESPnet's `ASRTask.build_model`, with targets by ESPnet's tokenizer: the loss of a
batch over 4, four batches to an update, gradients cut at norm 5, Adam with L2 (`espnet2.train.trainer`). All utterances are 0.8 s
long, since inside a padded batch s3prl's features, and up to 202511 ESPnet's, depend on the padding: the beginnings of those of
the built-in corpus, or of a tree in the ML-SUPERB layout (`--data-root`).

Both sides are also run in float64, where they agree to many digits. In fp32 what is allowed is rounding, which training makes
larger: against float64 ESPnet's own losses are off by up to 5.5e-4 after 60 updates, and ours by as much.
"""

from __future__ import annotations

import string
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.benchmark import build
from mlsuperb.benchmark.from_espnet import Wishes, import_espnet
from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.tasks.asr_lid import ASRLID
from mlsuperb.types import SAMPLE_RATE_HZ, Batch, Utterance
from scripts.parity.imports import build_model, import_espnet_tasks, write_model
from scripts.parity.report import FLOAT64, Check, doubled
from scripts.parity.s3prl_models import write_own

LENGTH = 12_800  # samples of every utterance: 0.8 s
NUM_CHARACTERS = 8  # of every text: what the 17 frames of the head can spell
BATCH_SIZE, NUM_BATCHES, ACCUMULATE = 8, 240, 4
FIRST_UPDATES = 10
# Relative differences of losses. A first loss has the same bits where this was written; the next number of fp32 is allowed.
ONE_STEP, FIRST_TOLERANCE, TOLERANCE = 1.2e-7, 1e-4, 1e-3
LANGUAGES = "[deu,eng,fra,rus]"  # of the built-in corpus
NO_DROPOUT = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
# conf/tuning/train_asr_s3prl_10min.yaml of ml_superb/asr1, on features of 64 numbers, without SpecAugment
RECIPE: dict[str, Any] = {
    "frontend": "s3prl", "preencoder": "linear", "preencoder_conf": {"input_size": 64, "output_size": 80},
    "encoder": "transformer", "freeze_param": ["frontend.upstream"], "specaug": None,
    "encoder_conf": {
        "output_size": 256, "attention_heads": 8, "linear_units": 1024, "num_blocks": 2, "input_layer": "conv2d2", **NO_DROPOUT
    },
}  # fmt: skip


@dataclass(frozen=True)
class Spoken:
    """Utterances of one length: waves (N, T), languages and raw texts."""

    waves_NT: Tensor
    languages: list[str]
    texts: list[str]

    def utterances(self) -> list[Utterance]:
        """As a manifest has them."""
        facts: dict[str, Any] = {
            "audio": "",
            "start_s": 0.0,
            "duration_s": LENGTH / SAMPLE_RATE_HZ,
            "dataset": "",
            "split": "train",
        }
        pairs = zip(self.languages, self.texts, strict=True)
        return [Utterance(id=str(n), language=language, text=text, **facts) for n, (language, text) in enumerate(pairs)]


def speech(root: Path | None, folder: Path) -> Spoken:
    """The first 0.8 s of training utterances of a tree, or of the built-in corpus, and the first characters of their texts."""
    built_in = ["data=synthetic", f"data.root={folder}/corpus", f"data.languages={LANGUAGES}", "data.test_minutes=0.1"]
    chosen = built_in if root is None else [f"data.root={root}"]
    config = compose(["+exp=v1/asr_lid", "data.few_shot=all", f"manifests={folder}/manifests", *chosen])
    manifest, _ = build.read_data(config)
    rows = manifest[(manifest["split"] == "train") & (manifest["duration_s"] >= LENGTH / SAMPLE_RATE_HZ)]
    dataset = instantiate(config["loading"]).dataset(rows.sample(frac=1, random_state=0), encode=None, resample=True)
    numbers = range(min(len(dataset), BATCH_SIZE * NUM_BATCHES))
    waves_NT = torch.stack([torch.from_numpy(dataset[number].wave_T[:LENGTH]) for number in numbers])
    utterances = [dataset.utterance(number) for number in numbers]
    return Spoken(waves_NT, [one.language for one in utterances], [one.text[:NUM_CHARACTERS] for one in utterances])


def learning_checks(root: Path | None = None) -> Iterator[Check]:
    """Targets, the first batch, the first updates, all batches.

    Args:
        root: a tree of real speech; None for the built-in corpus.
    """
    import_espnet_tasks()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spoken = speech(root, folder)
        targets = [ASRLID().target(one) for one in spoken.utterances()]
        vocabulary = Vocabulary.build(targets, specials=("<blank>", "<unk>", "<sos/eos>"))
        own = [torch.from_numpy(vocabulary.encode(one)) for one in targets]
        theirs = espnet_targets(spoken, vocabulary.tokens)
        same = sum(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
        yield Check("learning: targets", f"{same}/{len(own)} equal, {len(vocabulary)} tokens", same == len(own))

        checkpoint = write_own("hubert_custom", folder, large=False)
        upstream = {
            "frontend_conf": {"upstream": "hubert_custom", "path_or_url": str(checkpoint)},
            "download_dir": "./hub",
        }
        settings = {"frontend_conf": {**upstream, "multilayer_feature": True}, "token_list": vocabulary.tokens}
        espnet, arguments = build_model(folder / "espnet", **RECIPE, **settings)
        write_model(folder / "espnet", espnet, arguments)
        wishes = Wishes(run=folder / "run", upstream_checkpoint=str(folder / "like"), normaliser="v1")
        run = import_espnet(folder / "espnet", wishes)
        batches = make_batches(spoken, own)
        yield from compare(train_ours(run, batches), train_theirs(folder / "espnet", batches))
        some = batches[: FIRST_UPDATES * ACCUMULATE]
        with doubled():
            in_float64 = [replace(one, wave_BT=one.wave_BT.double()) for one in some]
            exact = train_ours(run, in_float64), train_theirs(folder / "espnet", in_float64)
        apart = differences(*exact).max()
        yield Check(
            f"learning: the first {FIRST_UPDATES} updates in float64", f"max {apart:.1e}", bool(apart <= FLOAT64)
        )


def espnet_targets(spoken: Spoken, tokens: Sequence[str]) -> list[Tensor]:
    """By ESPnet's tokenizer, of the lines that `process_text` of the recipe's data_prep.py writes for such texts."""
    from espnet2.text.char_tokenizer import CharTokenizer
    from espnet2.text.token_id_converter import TokenIDConverter

    tokenizer = CharTokenizer(non_linguistic_symbols={f"[{one}]" for one in spoken.languages})
    to_ids = TokenIDConverter(list(tokens))
    marks = str.maketrans("", "", string.punctuation)
    pairs = zip(spoken.languages, spoken.texts, strict=True)
    lines = [" ".join(f"[{language}] {text.translate(marks).upper()}".split()) for language, text in pairs]
    return [torch.tensor(to_ids.tokens2ids(tokenizer.text2tokens(line))) for line in lines]


def make_batches(spoken: Spoken, targets: Sequence[Tensor]) -> list[Batch]:
    """The utterances in a new order for every pass."""
    generator = torch.Generator().manual_seed(0)
    passes = -(-BATCH_SIZE * NUM_BATCHES // len(targets))
    order = torch.cat([torch.randperm(len(targets), generator=generator) for _ in range(passes)])
    made = []
    for rows in order[: BATCH_SIZE * NUM_BATCHES].view(NUM_BATCHES, BATCH_SIZE):
        chosen = [targets[row] for row in rows]
        made.append(
            Batch(
                ids=tuple(str(int(row)) for row in rows),
                languages=tuple(spoken.languages[row] for row in rows),
                wave_BT=spoken.waves_NT[rows],
                lengths_B=torch.full((BATCH_SIZE,), LENGTH),
                targets_BS=nn.utils.rnn.pad_sequence(chosen, batch_first=True),
                target_lengths_B=torch.tensor([len(one) for one in chosen]),
                audio_s=BATCH_SIZE * LENGTH / SAMPLE_RATE_HZ,
            )
        )
    return made


def train_ours(run: Path, batches: Sequence[Batch]) -> list[float]:
    """The loss of every batch, by our `Trainer` with the settings of the experiment, in the precision of the waves."""
    config = build.load_config(run)
    model: Any = build.load_recogniser(run, config | {"trainer": config["trainer"] | {"device": "cpu"}}).model
    if batches[0].wave_BT.dtype == torch.float64:
        model.double().head.frontend.fewer_products = False  # Winograd's algorithm is for fp32 and below
    length = [f"trainer.iterations_per_epoch={len(batches)}", "trainer.max_epochs=1", "trainer.trackers=[]"]
    trainer = instantiate(compose(["+exp=v1/asr_lid", "data.root=.", "trainer.device=cpu", *length])["trainer"])
    assert trainer.accumulate == ACCUMULATE
    losses: list[float] = []
    model.register_forward_hook(lambda _, __, result: losses.append(float(result.loss)))
    trainer.fit(
        model,
        batches=lambda start: iter(batches[start:]),
        validate=lambda: {"valid_loss": 0.0},
        folder=Path(tempfile.mkdtemp(dir=run)),
    )
    return losses


def train_theirs(folder: Path, batches: Sequence[Batch]) -> list[float]:
    """The loss of every batch, by a plain loop, in the precision of the waves."""
    from espnet2.tasks.asr import ASRTask

    model, _ = ASRTask.build_model_from_file(folder / "config.yaml", folder / "valid.loss.ave.pth")
    model = model.to(batches[0].wave_BT.dtype).train()
    model.frontend.upstream.eval()  # frozen means frozen: without dropout
    model.frontend.upstream.requires_grad_(False)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4, weight_decay=1e-6)
    losses = []
    for number, batch in enumerate(batches, 1):
        padding_BS = torch.arange(batch.targets_BS.shape[1]) >= batch.target_lengths_B[:, None]
        text_BS = batch.targets_BS.masked_fill(padding_BS, -1)
        loss, _, _ = model(batch.wave_BT, batch.lengths_B, text_BS, batch.target_lengths_B)
        (loss / ACCUMULATE).backward()
        losses.append(float(loss.detach()))
        if number % ACCUMULATE == 0:
            nn.utils.clip_grad_norm_(trained, 5.0)
            optimizer.step()
            optimizer.zero_grad()
    return losses


def differences(ours: Sequence[float], theirs: Sequence[float]) -> Tensor:
    """Relative differences of losses, batch by batch."""
    found, wanted = (torch.tensor(one, dtype=torch.float64) for one in (ours, theirs))
    return (found - wanted).abs() / wanted.abs()


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Iterator[Check]:
    """Losses of a training in fp32."""
    apart, first = differences(ours, theirs), FIRST_UPDATES * ACCUMULATE
    yield Check("learning: loss of the first batch", f"relative difference {apart[0]:.1e}", bool(apart[0] <= ONE_STEP))
    most = apart[:first].max()
    yield Check(f"learning: the first {FIRST_UPDATES} updates", f"max {most:.1e}", bool(most <= FIRST_TOLERANCE))
    found = f"median {apart.median():.1e}, max {apart.max():.1e}"
    yield Check(f"learning: all {len(apart)} batches", found, bool(apart.max() <= TOLERANCE))
    begin, end = (torch.tensor(one).mean() for one in (theirs[:first], theirs[-first:]))
    yield Check(
        "learning: something was learned", f"loss {begin:.2f} at first, {end:.2f} in the end", bool(end < 0.95 * begin)
    )
