from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from finished_runs import result_of

import mlsuperb
from mlsuperb.data.synthesis.recording import CONDITIONS
from mlsuperb.scoring.comparison.run_facts import SYNTHETIC_DATASETS, run_facts
from mlsuperb.scoring.result import Part

UPSTREAMS = Path(mlsuperb.__file__).parent.parent / "conf" / "upstream"


def run(*, pretrained_on=(), datasets=("commonvoice", "mls"), synthetic=False, cost=None):
    sizes = {name: {"eng": {"num_utterances": 30}, "deu": {"num_utterances": 10}} for name in datasets}
    section = {"protocol": "v1", "version": "1", "normaliser": {"name": "v1", "version": "1"}, "units": "char"}
    section |= {"counts": {"test": sizes}, "metrics": {}, "per_language": {}}
    return result_of(
        (),
        num_total=321_000_000,
        synthetic=synthetic,
        upstream={"name": "xls_r_300m", "card": {"pretrained_on": pretrained_on}},
        protocols={"v1": section, "not_applicable": {}},
        cost={"train_wall_s": 5400.0, "peak_memory_gb": 17.25} if cost is None else cost,
    )


def test_size_and_cost():
    facts = run_facts(run(pretrained_on=[]))
    assert facts == {
        "params": "321.00 M", "memory": "17.2 GB", "hours": "1.50", "rtfx": "unknown", "macs": "unknown",
        "overlap": "none",
    }  # fmt: skip
    facts = run_facts(run(cost={"peak_memory_gb": None}))
    assert (facts["memory"], facts["hours"]) == ("unknown", "unknown")


def test_what_newer_results_say_of_their_cost():
    macs = {"upstream": 7_407_000_000, "head": 662_000_000}
    cost = {"train_wall_s": 3600.0, "hours": 1.75, "rtfx": 1234.56, "macs_per_s": macs}
    facts = run_facts(run(cost=cost))
    assert (facts["hours"], facts["rtfx"], facts["macs"]) == ("1.75", "1,234.6", "8.07 G")
    assert run_facts(run(cost=cost | {"cached_share": 0.5}))["rtfx"] == "1,234.6 (50 % cached)"
    assert run_facts(run(cost={"rtfx": None, "cached_share": None}))["rtfx"] == "unknown"


@pytest.mark.parametrize(
    ("pretrained_on", "datasets", "expected"),
    [
        (["VoxPopuli", "MLS", "CommonVoice", "BABEL"], ("commonvoice", "fleurs"), "commonvoice (50 % of test)"),
        (["MLS", "CommonVoice"], ("mls", "commonvoice"), "commonvoice, mls (100 % of test)"),
        (["FLEURS", "VoxForge"], ("fleurs", "voxforge", "voxpopuli", "swc"), "fleurs, voxforge (50 % of test)"),
        (["BABEL", "VoxLingua107"], ("commonvoice",), "none"),
        (["LibriSpeech"], ("mls",), "none"),  # a corpus of one origin is not the corpus
        (["Google TTS"], ("googlei18n_tts", "googlei18n_asr"), "googlei18n_tts (50 % of test)"),
        ([], ("mls",), "none"),
        (None, ("mls",), "unknown"),
        (["undisclosed"], ("mls",), "unknown"),
        (["undisclosed", "MLS"], ("mls", "swc"), "mls (50 % of test)"),
    ],
)
def test_overlap_goes_by_the_card(pretrained_on, datasets, expected):
    assert run_facts(run(pretrained_on=pretrained_on, datasets=datasets))["overlap"] == expected


def test_synthetic_speech_was_heard_by_no_published_model():
    assert run_facts(run(pretrained_on=["MLS"], synthetic=True))["overlap"] == "none"
    assert run_facts(run(pretrained_on=None, synthetic=True))["overlap"] == "none"
    assert set(CONDITIONS) == SYNTHETIC_DATASETS


def test_but_by_a_model_that_was_trained_on_it():
    heard = run(pretrained_on=["studio", "MLS"], datasets=("studio", "room"), synthetic=True)
    assert run_facts(heard)["overlap"] == "studio (50 % of test)"


def test_a_model_that_a_run_of_ours_made_heard_that_runs_data():
    data = {"name": "several", "datasets": {"train": {"commonvoice": {"num_utterances": 3}}}}
    origin = {"run_id": "p-0a0a", "pretrained_on": ["swc"], "data": data}
    made = Part(name="pretrained", card={"pretrained_on": None}, loaded={"exported_from": origin})
    one = run(datasets=("commonvoice", "swc", "mls", "fleurs"))
    assert run_facts(one.model_copy(update={"upstream": made}))["overlap"] == "commonvoice, swc (50 % of test)"
    origin["data"] = {"name": "several"}  # a result of before
    assert run_facts(one.model_copy(update={"upstream": made}))["overlap"] == "unknown"


def test_a_card_without_the_field_is_unknown():
    one = run().model_copy(update={"upstream": Part(name="own")})
    assert run_facts(one)["overlap"] == "unknown"


def test_every_card_gives_an_answer():
    seen = {}
    for path in sorted(UPSTREAMS.glob("*.yaml")):
        card = yaml.safe_load(path.read_text(encoding="utf-8")).get("card", {})
        if "pretrained_on" in card:
            seen[path.stem] = run_facts(run(pretrained_on=card["pretrained_on"]))["overlap"]
    assert len(seen) > 30
    assert seen["xls_r_300m"] == "commonvoice, mls (100 % of test)"
    assert seen["whisper_small"] == seen["hf"] == "unknown"
    assert seen["hubert_base"] == seen["fbank"] == "none"
