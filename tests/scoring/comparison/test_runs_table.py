from __future__ import annotations

from functools import partial

import pytest
from finished_runs import result_of

from mlsuperb.config.compose import compose
from mlsuperb.runs.identity import NOT_SCIENCE_BEFORE
from mlsuperb.scoring.comparison.run_facts import trained_params
from mlsuperb.scoring.comparison.runs import config_differences, runs_table

differences = partial(config_differences, hidden=NOT_SCIENCE_BEFORE)


def config(adaptation: dict[str, object], *, seed: int = 0, lr: float = 1e-4) -> dict[str, object]:
    return {
        "run_id": f"a-{seed}",
        "seed": seed,
        "upstream": {"name": "tiny", "card": {"x": seed}, "_target_": "a.B"},
        "adaptation": adaptation,
        "trainer": {"name": "debug", "optimizer": {"lr": lr}},
    }


def result(utterance, settings, hypothesis, *, num_trainable=5_000_000, loss=2.5):
    ones = [utterance("eng", "hello", hypothesis), utterance("fra", "bon", "[fra] BON")]
    return result_of(
        ones,
        run_id=settings["run_id"],
        config=settings,
        num_trainable=num_trainable,
        training={"history": [{"epoch": 1, "valid_loss": 3.0}, {"epoch": 2, "valid_loss": loss}]},
    )


LORA = {"name": "lora", "rank": 4, "dropout": 0.1}


def test_only_what_differs_is_a_column() -> None:
    assert differences([config(LORA), config(LORA)]) == {}
    assert differences([config(LORA), config({**LORA, "rank": 16})]) == {"adaptation.rank": ["4", "16"]}
    assert differences([config(LORA, lr=1e-3), config(LORA)]) == {"trainer.optimizer.lr": ["0.001", "0.0001"]}
    changed = differences([config(LORA), config({"name": "full"}, seed=3)])
    assert changed == {"seed": ["0", "3"], "adaptation": ["lora", "full"]}  # the name stands for the option's settings


def test_whatever_changes_a_result_is_a_column() -> None:
    runs = []
    for temperature, workers, optimizer in ((1.0, 0, "torch.optim.Adam"), (3.0, 4, "torch.optim.AdamW")):
        loading = {"name": "light", "language_temperature": temperature, "num_workers": workers}
        trainer = {"name": "debug", "optimizer": {"_target_": optimizer}, "device": f"cuda:{workers}"}
        runs.append(config(LORA) | {"loading": loading, "trainer": trainer})
    assert differences(runs) == {
        "loading.language_temperature": ["1.0", "3.0"],
        "trainer.optimizer": ["Adam", "AdamW"],
    }


def test_sources_of_phones_have_their_names() -> None:
    paths = {"lexicon": "data.phones.path=x", "marks": "data.phones.path=y"}
    runs = [compose(["+exp=phones/asr", f"data/phones={kind}", path]) for kind, path in paths.items()]
    found = differences([compose(["+exp=phones/asr"]), *runs])
    assert found["data.phones"] == ["espeak", "lexicon", "marks"]
    assert not [name for name in found if "_target_" in name]
    assert differences([{"a": {"name": "x", "_target_": f"m.{kind}"}} for kind in ("One", "Other")]) == {
        "a": ["One", "Other"]
    }


def test_runs_with_the_same_option_differ_by_its_settings_beside_runs_with_another() -> None:
    runs = [config(LORA), config({**LORA, "rank": 16}), config({"name": "frozen"})]
    assert differences(runs) == {"adaptation": ["lora", "lora", "frozen"], "adaptation.rank": ["4", "16", ""]}


def test_runs_stand_side_by_side(utterance) -> None:
    first = result(utterance, config(LORA) | {"run_id": "demo-s0-0a1b2c3d"}, "[eng] HELLO")
    second = result(
        utterance,
        config({"name": "full"}) | {"run_id": "chosen"},
        "[fra] HALLO",
        num_trainable=315_400_000,
        loss=1.25,
    )
    table = runs_table([first, second], protocol="v2")
    assert table.columns == (
        "run",
        "adaptation",
        "trained",
        "valid loss ↓",
        "CER ↓",
        "SD ↓",
        "worst ↓",
        "LID ↑",
    )
    assert table.rows[0] == ("0a1b2c3d", "lora", "5.00 M", "2.500", "0.0", "0.0", "0.0", "100.0")
    # hello: a leading space and five letters, one wrong: 1 / 6; fra is right
    assert table.rows[1] == ("chosen", "full", "315.40 M (above 100 M)", "1.250", "8.3", "11.8", "16.7", "50.0")


def test_equal_settings_are_named_by_run(utterance) -> None:
    one = result(utterance, config(LORA), "[eng] HELLO")
    assert runs_table([one]).rows[0][0] == "a-0"


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="no finished run"):
        runs_table([])


def test_a_split_that_nothing_has_is_an_error(utterance) -> None:
    with pytest.raises(ValueError, match=r"no run has scores of the split 'tset'; there are test"):
        runs_table([result(utterance, config(LORA), "[eng] HELLO")], split="tset")


def test_the_cap_is_named_where_it_is_passed() -> None:
    assert trained_params(100_000_000) == "100.00 M"
    assert trained_params(100_000_001) == "100.00 M (above 100 M)"
