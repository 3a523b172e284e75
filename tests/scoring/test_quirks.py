"""One hypothesis file with every quirk in it, under all four protocols, against numbers worked out by hand.

The arithmetic of every utterance stands above its line. What is compared (sources: the protocols' docstrings):

- v1, v2: the normalised reference (bracketed stretches and ASCII punctuation out) with a space before it, and the output
  without its language tokens; ASCII case does not matter. "1 sub of 7" is one substitution in seven reference characters.
- public (challenge): reference and what follows the output's fifth character, Unicode punctuation out, jpn without spaces.
- server (challenge_server): what follows the output's first space, without its first word; ASCII punctuation out.

"lid": the named language is right in all four; where they differ, it says so.
"""

from __future__ import annotations

import json

import pytest
from finished_runs import facts, scored

from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.scoring.utterances import utterance_counts

# id, dataset, language, reference, hypothesis
LINES = [
    # a few-shot language and one of its five ids. ` HEJ DU`, ` HEJ DE`: 1 sub of 7, lid. public: HEJ DU, HEJ DE: 1/6.
    # server: HEJ DU, DE: 4 del 1 sub, 5/6
    ("cv_dan_000158", "commonvoice", "dan", "Hej, du!", "[dan] HEJ DE"),
    # ` আমি।`, ` আমি`: the danda is not ASCII and stays, 1 del of 5, lid. public: it goes, 0/3. server: it stays, the only
    # word is dropped, 4/4
    ("googlei18n-asr_ben_000002", "googlei18n_asr", "ben", "আমি।", "[ben] আমি"),
    # ` ক খ` on both sides, runs of spaces are one: 0 of 4, lid. public: they are not, 2 ins, 2/3. server: ক খ, খ: 2/3
    ("googlei18n-tts_ben_000003", "googlei18n_tts", "ben", "ক খ", "[ben]  ক   খ "),
    # ` 日本`: 0 of 3, lid. public: 日本, JPN日本 (what is left of `jpn] 日本`): 3 ins, 3/2, no lid. server: 日本,
    # nothing: 2/2, no lid, since the right answer is jpn
    ("cv_jpn_000106", "commonvoice", "org_jpn", "日本", "[org_jpn] 日本"),
    # ` 日 本。`, ` 日本`: a space and a full stop that is not ASCII, 2 del of 5; [jpn] is not [org_jpn], no lid. public: spaces
    # and full stop go, 0/2, lid. server: 日本。, nothing: 3/3, lid
    ("cv_jpn_000107", "commonvoice", "org_jpn", "日 本。", "[jpn] 日本"),
    # ` 本`, `  本` (every token leaves its space): 1 ins of 2; codes of two parts are looked at last, lid. public: 本, JPNJPN本:
    # 6/1, no lid. server: 本, 本 ([jpn] is the first word): 0/1, no lid
    ("cv_jpn_000001", "commonvoice", "jpn", "本", "[org_jpn] [jpn] 本"),
    # no brackets: ` HELLO WORLD`, `HELLO WORLD`: 1 del of 12, no lid. public: HELLO WORLD, WORLD: 6/11. server: WORLD is the
    # first word, 11/11
    ("fleurs_eng_000001", "fleurs", "eng", "hello world", "HELLO WORLD"),
    # ` CUE`, ` C<unk>E`: the u is the U, 4 ins of 4, lid. public: CUE, C<UNK>E (< and > are symbols): 4/3. server: 3/3
    ("mls_eng_000002", "mls", "eng", "cue", "[eng] C<unk>E"),
    # ` JA`, nothing: 3 del of 3, no lid. public, server: 2/2
    ("voxpopuli_deu_000003", "voxpopuli", "deu", "Ja", ""),
    # nothing, ` SO`: 3 ins of 0, lid. public, server: no reference, so neither an error rate nor a language
    ("voxpopuli_deu_000004", "voxpopuli", "deu", "...", "[deu] SO"),
    # ` ÉTÉ 3`, ` Ete 3`: É is not ASCII, 2 sub of 6, no lid. public: brackets are punctuation: ÉTÉ RIRES 3, ETE 3: the first
    # E is a sub, the second comes from RIRES, 6 del: 7/11. server: ÉTÉ RIRES 3, 3: 10/11
    ("fleurs_fra_000005", "fleurs", "fra", "Été [rires] 3", "[deu] Ete 3"),
    # ` AB`, `  AB`: 1 ins of 3; the first of two tokens counts, no lid. public: AB, ENG AB: 4/2. server: AB, AB: 0/2
    ("fleurs_eng_000006", "fleurs", "eng", "ab", "[fra] [eng] AB"),
    # ` AKIN`, ` akin`: 0 of 5, lid. public: 0/4. server: AKIN, nothing: 4/4
    ("mexico-el_tos_000007", "mexico-el", "tos", "a'kin", "[tos] akin"),
    # ` IT’S`, ` ITS`: ’ is not ASCII, 1 del of 5, lid. public: the token before the reference goes, ITS, ITS: 0/3.
    # server: IT’S, nothing: 4/4
    ("fleurs_eng_000008", "fleurs", "eng", "[eng] it’s", "[eng] ITS"),
    # ` OUI`, nothing: 4 del of 4, no lid. public, server: 3/3
    ("fleurs_fra_000009", "fleurs", "fra", "oui", "   "),
    # split dev_dialect. ` SÍ`, ` SI`: 1 sub of 3, lid. public: SÍ, SI: 1/2. server: SPA SÍ (the language stays), nothing: 6/6
    ("dialect_spa_000010", "dialect", "spa", "sí", "[spa] SI"),
]


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    path = tmp_path_factory.mktemp("quirks") / "hypotheses.jsonl"
    rows = [
        {
            "id": name,
            "dataset": dataset,
            "language": language,
            "split": "dev_dialect" if dataset == "dialect" else "test",
            "audio": f"{name}.wav",
            "start_s": 0.0,
            "duration_s": 1.0,
            "reference": reference,
            "hypothesis": hypothesis,
            "predicted_language": None,
        }
        for name, dataset, language, reference, hypothesis in LINES
    ]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    hypotheses = read_hypotheses(path)  # empty lines between the utterances are none
    assert len(hypotheses) == 16
    counted = [(one.errors, one.reference_length, one.lid_correct) for one in utterance_counts(hypotheses, facts())]
    assert counted == [
        (1, 7, 1), (1, 5, 1), (0, 4, 1), (0, 3, 1), (2, 5, 0), (1, 2, 1), (1, 12, 0), (4, 4, 1),
        (3, 3, 0), (3, 0, 1), (2, 6, 0), (1, 3, 0), (0, 5, 1), (1, 5, 1), (4, 4, 0), (1, 3, 1),
    ]  # fmt: skip
    found = scored(hypotheses)
    assert found.pop("not_applicable").keys() == {"per_pfer"}
    assert list(found) == ["v1", "v2", "wer_cer", "challenge", "challenge_server"]
    return found


def values(section, split="test", *, subset=""):
    return {
        name.removeprefix(subset): entry["value"]
        for name, entry in section["metrics"][split].items()
        if name.startswith(subset)
    }


def test_v1_pools(sections):
    # trained, in the order of the lines: 1+0+0+2+1+1+4+3+3+2+1+1+4 = 23 errors of 5+4+3+5+2+12+4+3+0+6+3+5+4 = 56;
    # languages right: ben ben org_jpn jpn mls_eng deu_4 eng_8 = 7 of 13
    # reserved: dan 1/7 and tos 0/5, both languages right
    assert values(sections["v1"]) == pytest.approx(
        {
            "trained_cer": 100 * 23 / 56,
            "trained_lid_accuracy": 100 * 7 / 13,
            "reserved_cer": 100 * 1 / 12,
            "reserved_lid_accuracy": 100.0,
            "all_cer": 100 * 24 / 68,
            "all_lid_accuracy": 100 * 9 / 15,
        }
    )
    # the id makes org_jpn count as jpn: 0+2+1 of 3+5+2
    assert sections["v1"]["per_language"]["test"]["jpn"] == pytest.approx(
        {"cer": 30.0, "lid_accuracy": 100 * 2 / 3, "num_utterances": 3}
    )
    assert "org_jpn" not in sections["v1"]["per_language"]["test"]
    assert values(sections["v1"], "dev_dialect")["trained_cer"] == pytest.approx(100 / 3)


def test_v2_averages_datasets_then_languages(sections):
    # ben: googlei18n (both sets are one) 1/9 = 11.11; orgjpn 2/8 = 25; jpn 1/2 = 50; deu: voxpopuli 6/3 = 200;
    # eng: fleurs 3/20 = 15 and mls 4/4 = 100, mean 57.5; fra: fleurs 6/10 = 60
    rates = {"ben": 100 / 9, "deu": 200.0, "eng": 57.5, "fra": 60.0, "jpn": 50.0, "orgjpn": 25.0}
    found = sections["v2"]["per_language"]["test"]
    assert {name: found[name]["cer"] for name in rates} == pytest.approx(rates)
    assert set(found) == {*rates, "dan", "tos"}
    assert set(sections["v2"]["counts"]["test"]) == {
        "commonvoice",
        "googlei18n",
        "fleurs",
        "mexico",
        "mls",
        "voxpopuli",
    }
    # macro: their sum 403.611 / 6 = 67.269. SD: squared distances 3153.65 + 17617.65 + 95.42 + 52.83 + 298.20 + 1786.63
    # = 23004.38, / 5 = 4600.88, its root 67.830. languages right by language: 1 1/2 1/2 0 1 1/2, mean 3.5 / 6
    assert values(sections["v2"], subset="trained_") == pytest.approx(
        {
            "macro_cer": 67.268519,
            "std_cer": 67.829765,
            "worst_language_cer": 200.0,
            "dataset_range": 85.0,
            "micro_cer": 100 * 23 / 56,
            "lid_accuracy": 100 * 7 / 13,
            "macro_lid_accuracy": 100 * 3.5 / 6,
        }
    )
    metrics = sections["v2"]["metrics"]["test"]
    assert metrics["trained_worst_language_cer"]["languages"] == ["deu"]
    assert metrics["trained_dataset_range"]["languages"] == {"eng": {"highest": "mls", "lowest": "fleurs"}}
    # reserved: dan 1/7 = 14.286, tos 0; mean 7.143, SD 14.286 / sqrt 2 = 10.102
    reserved = values(sections["v2"], subset="reserved_")
    assert (reserved["macro_cer"], reserved["std_cer"]) == pytest.approx((100 / 14, 10.101525))
    assert (reserved["worst_language_cer"], reserved["dataset_range"]) == (pytest.approx(100 / 7), None)


def test_the_challenge_averages_utterances_then_languages(sections):
    # ben (0 + 2/3) / 2 = 1/3; dan 1/6; deu 1 (the other has no reference); eng (6/11 + 4/3 + 4/2 + 0) / 4 = 32/33;
    # fra (7/11 + 1) / 2 = 9/11; jpn with org_jpn (3/2 + 0 + 6) / 3 = 5/2; tos 0. Their sum is 191/33
    rates = {"ben": 1 / 3, "dan": 1 / 6, "deu": 1, "eng": 32 / 33, "fra": 9 / 11, "jpn": 5 / 2, "tos": 0}
    found = sections["challenge"]["per_language"]["test"]
    assert {name: one["cer"] for name, one in found.items()} == pytest.approx({k: 100 * v for k, v in rates.items()})
    # languages right: ben 2/2, dan 1/1, deu 0/1, eng 2/4, fra 0/2, jpn 1/3, tos 1/1: sum 3 + 5/6 = 23/6.
    # SD: squared distances from 0.82684: 0.2436 0.4358 0.0300 0.0204 0.0001 2.7995 0.6837 = 4.2130, / 6 = 0.70216, root
    # 0.83795. dialect: spa 1/2
    assert values(sections["challenge"]) == pytest.approx(
        {
            "standard_cer": 100 * 191 / 33 / 7,
            "standard_lid_accuracy": 100 * 23 / 6 / 7,
            "worst_15_cer": 100 * 191 / 33 / 15,
            "std_cer": 83.795126,
            "dialect_cer": 50.0,
            "dialect_lid_accuracy": 100.0,
        }
    )
    deu = sections["challenge"]["counts"]["test"]["voxpopuli"]["deu"]
    assert (deu["num_utterances"], deu["num_scored"], deu["num_empty_hypotheses"]) == (2, 1, 1)
    assert sections["challenge"]["counts"]["test"]["fleurs"]["fra"]["num_empty_hypotheses"] == 1


def test_the_server_drops_the_first_word(sections):
    # ben (1 + 2/3) / 2 = 5/6; dan 5/6; deu 1; eng (1 + 1 + 0 + 1) / 4 = 3/4; fra (10/11 + 1) / 2 = 21/22;
    # jpn (1 + 1 + 0) / 3 = 2/3; tos 1. Their sum is 797/132
    rates = {"ben": 5 / 6, "dan": 5 / 6, "deu": 1, "eng": 3 / 4, "fra": 21 / 22, "jpn": 2 / 3, "tos": 1}
    found = sections["challenge_server"]["per_language"]["test"]
    assert {name: one["cer"] for name, one in found.items()} == pytest.approx({k: 100 * v for k, v in rates.items()})
    # languages right as above. SD: squared distances from 0.86255: 0.00085 0.00085 0.01889 0.01267 0.00847 0.03837
    # 0.01889 = 0.09899, / 6 = 0.016499, root 0.12845. dialect: spa 6/6, since only the output loses its first word
    assert values(sections["challenge_server"]) == pytest.approx(
        {
            "standard_cer": 100 * 797 / 132 / 7,
            "standard_lid_accuracy": 100 * 23 / 6 / 7,
            "worst_15_cer": 100 * 797 / 132 / 15,
            "std_cer": 12.844790,
            "dialect_cer": 100.0,
            "dialect_lid_accuracy": 100.0,
        }
    )
