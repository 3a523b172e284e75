"""Phone error rates against jiwer, phone feature error rates against panphon."""

from __future__ import annotations

import random
from dataclasses import replace

import jiwer
import pytest
from finished_runs import facts, result_of, scored

from mlsuperb.api.numbers import score
from mlsuperb.data.phones import features
from mlsuperb.data.phones.features import NUM_FEATURES, FeatureTable, feature_table
from mlsuperb.data.phones.ipa import phones
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.phone_features import feature_edits
from mlsuperb.scoring.protocols import per_pfer
from mlsuperb.scoring.table import metrics_table, section_tables
from mlsuperb.tasks.asr import ASR
from mlsuperb.tasks.asr_lid import ASRLID

# affricates, length, tones, aspiration, pharyngealisation, nasal vowels, syllabic consonants, clicks, ejectives
INVENTORY = [
    *"aeiyɯouəpbtdkɡmnŋsʃxhlɫrjw˥˩ǃ",
    *("aː", "a\u0303", "ə˞", "t͡ʃ", "d͡ʒ", "t̪͡s̪", "tʰ", "kʷʰ", "tˤ", "tʼ", "n̩", "ɾ\u0303", "k͡p", "c\u0327"),
]


@pytest.fixture(scope="module")
def panphon():
    return pytest.importorskip("panphon.distance").Distance()


@pytest.fixture
def table() -> FeatureTable:
    pytest.importorskip("panphon")
    found = feature_table()
    assert found is not None
    return found


def random_texts(rng: random.Random, num: int, *, longest: int = 40) -> list[str]:
    return [" ".join(rng.choices(INVENTORY, k=rng.randint(0, longest))) for _ in range(num)]


def section_of(ones, kind=ASR):
    return scored(ones, kind(units="phone", normaliser="raw").facts, protocols=["per_pfer"])["per_pfer"]


def values(section):
    return {name: entry["value"] for name, entry in section["metrics"]["test"].items()}


def test_distances_are_panphons(panphon, table):
    """`hamming_feature_edit_distance` of the phones without spaces between them, which is PRiSM's call."""
    rng = random.Random(0)
    pairs = list(zip(random_texts(rng, 60, longest=15), random_texts(rng, 60, longest=15), strict=True))
    found = feature_edits([(phones(reference), phones(output)) for reference, output in pairs], table)
    for (reference, output), edits in zip(pairs, found, strict=True):
        sides = (reference.replace(" ", ""), output.replace(" ", ""))
        assert edits.errors / NUM_FEATURES == pytest.approx(panphon.hamming_feature_edit_distance(*sides), abs=1e-9)
        assert (edits.num_segments, edits.num_unknown) == (len(panphon.fm.ipa_segs(sides[0])), 0)


def test_the_table_is_panphons(panphon, table):
    assert table.rows.keys() == panphon.fm.seg_dict.keys()
    assert table.values_SV.shape == (len(table.rows), NUM_FEATURES) == (len(table.rows), len(panphon.fm.names))
    for segment in random.Random(1).sample(sorted(table.rows), 300):
        assert table.values_SV[table.rows[segment]].tolist() == panphon.fm.fts(segment).numeric()
        assert table.segments(segment) == (segment,)


def test_phones_are_parted_into_segments(table):
    cases = {"aɪ": ("a", "ɪ"), "aˑ": ("a",), "ⁿd": ("d",), "a˥˩": ("a", "˥", "˩"), "s͡x": ("s", "x"), "ʲe": ("e",)}
    assert {phone: table.segments(phone) for phone in cases} == cases
    for other in ("SIL", "AH", "sh", "<unk>", "a5", "#", "ʰ", "ː"):
        assert table.segments(other) == (other,)
    costs = table.costs(["p", "b", "SIL", "AH", "p"])
    assert costs.tolist() == [
        [0, 1, 24, 24, 0],
        [1, 0, 24, 24, 1],
        [24, 24, 0, 24, 24],
        [24, 24, 24, 0, 24],
        [0, 1, 24, 24, 0],
    ]
    assert feature_edits([((), ()), (("SIL",), ("SIL",)), ((), ("a",)), (("SIL", "a"), ("a",))], table) == [
        (0, 0, 0), (0, 1, 1), (24, 0, 0), (24, 2, 1),
    ]  # fmt: skip


def test_rates_are_jiwers_and_pooled_by_language(utterance, panphon):
    rng = random.Random(2)
    texts = {code: (random_texts(rng, 20, longest=9), random_texts(rng, 20, longest=9)) for code in ("deu", "swa")}
    ones = [utterance(code, *pair) for code, sides in texts.items() for pair in zip(*sides, strict=True)]
    section = section_of(ones)
    per, pfer = {}, {}
    for code, (references, outputs) in texts.items():
        full = [(one, other) for one, other in zip(references, outputs, strict=True) if one]
        inserted = sum(len(other.split()) for one, other in zip(references, outputs, strict=True) if not one)
        words = jiwer.process_words(*map(list, zip(*full, strict=True)))
        num = words.hits + words.substitutions + words.deletions
        per[code] = 100 * (words.substitutions + words.insertions + words.deletions + inserted) / num
        joined = [[one.replace(" ", "") for one in side] for side in (references, outputs)]
        pfer[code] = 100 * sum(map(panphon.hamming_feature_edit_distance, *joined)) / num
        assert section["per_language"]["test"][code] == pytest.approx(
            {"per": per[code], "pfer": pfer[code], "num_utterances": 20}
        )
    assert values(section)["macro_per"] == pytest.approx(sum(per.values()) / 2)
    assert values(section)["macro_pfer"] == pytest.approx(sum(pfer.values()) / 2)
    assert values(section)["macro_pfer"] < values(section)["macro_per"]
    assert section["features"]["name"] == "panphon"


def test_spellings_stress_and_language_tokens_cost_nothing(utterance):
    ones = [utterance("deu", "ˈg a t͡ʃ", "[deu] ɡ a t͜ʃ"), utterance("deu", "[deu] ã", "a\u0303 [deu]")]
    section = section_of(ones, ASRLID)
    assert values(section)["micro_per"] == 0.0
    assert section["counts"]["test"]["fleurs"]["deu"]["num_phones"] == 4
    assert values(section_of([utterance("deu", "S @", "s ")]))["micro_per"] == 100.0, (
        "case and @ are phones of another set"
    )


def test_shared_counts_are_of_phones_too(utterance):
    """For intervals, comparisons and reports; by sclite's costs."""
    ones = [utterance("deu", "a t͡ʃ aː S @", "[deu] a t͡ʃ a s @")]
    found = scored(ones, ASRLID(units="phone", normaliser="raw").facts)
    assert found["v1"]["metrics"]["test"]["all_per"]["value"] == 40.0
    assert found["v1"]["metrics"]["test"]["all_lid_accuracy"]["value"] == 100.0
    assert found.keys() == {"v1", "per_pfer", "not_applicable"}
    assert found["not_applicable"]["challenge"] == "counts characters, this task has phones"


def test_phones_of_another_set_have_an_error_rate_and_no_features(utterance, table):
    ones = [
        utterance("eng", "HH AH0 L OW1", "HH AH1 L"),
        utterance("deu", "a b t d s m n l f v", "a b t d s m n l f SIL"),
    ]
    section = section_of(ones)
    assert values(section) == {
        "macro_per": 17.5,
        "micro_per": pytest.approx(200 / 14),
        "macro_pfer": None,
        "micro_pfer": None,
    }
    assert section["per_language"]["test"]["eng"]["pfer"] is None
    assert section["per_language"]["test"]["deu"]["pfer"] == 10.0, "a tenth of phones without features is let through"
    reasons = {entry.get("reason") for name, entry in section["metrics"]["test"].items() if "pfer" in name}
    assert reasons == {"more than a tenth of the phones are no IPA in eng"}
    assert section_of(ones[1:])["counts"]["test"]["fleurs"]["deu"]["num_unknown"] == 0


def test_without_panphon_the_result_says_what_to_install(utterance, monkeypatch):
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    ones = [utterance("deu", "a b", "a p")]
    section = section_of(ones)
    assert (values(section)["macro_per"], values(section)["macro_pfer"], section["features"]) == (50.0, None, None)
    assert 'pip install "mlsuperb[phones]"' in section["metrics"]["test"]["macro_pfer"]["reason"]


def test_it_is_of_phones_alone():
    assert per_pfer.protocol.why_not(ASR(units="phone").facts) == ""
    assert per_pfer.protocol.why_not(facts("asr")) == "counts phones, this task has chars"
    assert per_pfer.protocol.why_not(replace(facts("lid"), units="phone")) == "needs transcripts, task lid has none"


def test_without_a_reference_there_is_no_rate(utterance, table):
    silent = section_of([utterance("deu", "", "a")])
    assert {entry["value"] for entry in silent["metrics"]["test"].values()} == {None}
    assert silent["metrics"]["test"]["micro_pfer"]["reason"] == "no reference text"


def test_tables_and_lists(utterance, table):
    ones = [utterance("deu", "a b t", "a p"), utterance("swa", "a", "a")]
    result = result_of(ones, ASR(units="phone").facts, protocols=["per_pfer"])
    (counts, metrics) = section_tables(result.protocols.sections["per_pfer"])
    assert counts.columns == ("language", "dataset", "utterances", "PER % ↓", "PFER % ↓", "phones", "without features")
    assert counts.rows[0] == ("deu", "fleurs", "1", "66.7", "34.7", "3", "0")
    assert metrics_table(result.protocols.sections["per_pfer"]) == metrics
    assert runs_table([result], protocol="per_pfer").rows[0][-2:] == ("33.3", "17.4")
    found = score(["a b t", "a"], ["a p", "a"], ["deu", "swa"], units="phone")
    assert found["per_pfer"]["metrics"]["macro_per"] == pytest.approx(100 / 3)
    assert found["v1"]["metrics"]["all_per"] == 50.0
