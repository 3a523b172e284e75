"""Phones of the built-in corpus: where espeak-ng spoke each of them, written as `phones.tsv` beside the transcripts.

The corpus does not keep these times, but what is said in an utterance is a function of its id and the settings of its tree
(`mlsuperb.data.synthesis.utterances`), so that they can be computed again. Recording neither delays nor lengthens the speech:
the filter that converts the rate is centred on each output sample, and nothing is padded (`recording._resample`). A sample
number over 22,050 Hz is therefore the time in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mlsuperb.data.synthesis.espeak import SAMPLE_RATE_HZ, Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES, SpokenLanguage, Word, vocabulary
from mlsuperb.data.synthesis.recording import CONDITIONS, Condition
from mlsuperb.data.synthesis.tree import TreeSettings
from mlsuperb.data.synthesis.utterances import place_of, reading
from mlsuperb.runtime.files import write_atomic

PHONES_FILE = "phones.tsv"
PAUSE = "SIL"
_HEADER = "id\tstart_s\tend_s\tphone\n"


def write_phones(root: Path, settings: TreeSettings, *, pairs: Collection[tuple[str, str]]) -> list[Path]:
    """Write `phones.tsv` for the (language, dataset) pairs of a tree, unless it is there; return the files. All its lines are
    `utterance id, start, end, phone`, with times in seconds and phones in IPA (stress marks kept, `SIL` for pauses).

    Raises:
        ValueError: a pair has not been made (`make_tree`), or the extra `synthetic` is not installed.
    """
    synthesiser, written = Synthesiser(), []
    words: dict[str, list[Word]] = {}
    for code, dataset in sorted(set(pairs)):
        folder = settings.pair_folder(root, language=code, dataset=dataset)
        if not folder.is_dir():
            raise ValueError(f"{folder} has not been made yet. Prepare the corpus first: mlsuperb data prepare")
        written.append(folder / PHONES_FILE)
        if written[-1].is_file():
            continue
        if code not in words:
            words[code] = vocabulary(LANGUAGES[code], synthesiser)
        lines = (folder / "utt2spk").read_text(encoding="utf-8").splitlines()
        rows = spoken_phones(
            (line.partition("\t")[0] for line in lines),
            synthesiser,
            seed=settings.seed,
            condition=CONDITIONS[dataset],
            language=LANGUAGES[code],
            words=words[code],
        )
        body = (f"{name}\t{start_s:.4f}\t{end_s:.4f}\t{phone}\n" for name, start_s, end_s, phone in rows)
        write_atomic(written[-1], [_HEADER, *body])
    return written


def spoken_phones(
    utterance_ids: Iterable[str],
    synthesiser: Synthesiser,
    *,
    seed: int,
    condition: Condition,
    language: SpokenLanguage,
    words: list[Word],
) -> Iterator[tuple[str, float, float, str]]:
    """(utterance id, start, end, phone) of each phone of the utterances, in seconds, without gaps."""
    for utterance_id in utterance_ids:
        split, index = place_of(utterance_id)
        how = reading(index, seed=seed, condition=condition, language=language, split=split, words=words)
        samples_T, phonemes = synthesiser.speak_phonemes(how.spoken_text, **how.settings)
        ends = [*(one.start for one in phonemes[1:]), len(samples_T)]
        for one, end in zip(phonemes, ends, strict=True):
            if end > one.start:  # pauses can be empty
                yield utterance_id, one.start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ, one.name or PAUSE
