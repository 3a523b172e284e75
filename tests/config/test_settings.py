"""Every YAML composes; the published settings are what the documentation says; a bad configuration lists all it has."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mlsuperb.benchmark.job import Benchmark
from mlsuperb.config.check import check, find_problems, job_class
from mlsuperb.config.compose import compose, register_resolvers
from mlsuperb.config.options import check_overrides, conf_dir, inner_groups, options
from mlsuperb.pretraining.job import Pretraining
from mlsuperb.pretraining.label_job import Labelling
from mlsuperb.translation.job import Translation
from mlsuperb.vocoder.job import Vocoding

CONF = [conf_dir()]
JOBS = {
    "benchmark": Benchmark, "labels": Labelling, "pretrain": Pretraining, "vocoder": Vocoding, "translation": Translation,
}  # fmt: skip
JOB_OF = {group: job for job, kind in reversed(JOBS.items()) for group in kind.groups}  # the first that has it
del JOB_OF["text"]  # tests/data/test_parallel.py and test_synthetic_pairs.py compose its options
GROUP_CHOICES = [(group, option) for group in JOB_OF for option in options(group, CONF)]
INNER_CHOICES = [
    (inner, option) for group in JOB_OF for inner in inner_groups(group) for option in options(inner, CONF)
]
TEXT_CHOICES = options("text", CONF)
EXPERIMENTS = options("exp", CONF)
NEEDED = {  # what has no default, and a stand-in
    "loading/sampling=replay": ["loading.sampling.new=[wol]"],
    "data=ml_superb_10min": ["data.root=."],
    "data=ml_superb_1h": ["data.root=."],
    "data=kaldi": ["data.root=.", "+data.language=eng"],
    "data=hf": ["data.path=some/words"],
    **{
        f"upstream={kind}": ["upstream.checkpoint=some/model"]
        for kind in ("hf", "s3prl", "owsm", "parakeet", "seamless_m4t", "voxtral", "whisper")
    },
    "upstream=pretrained": ["upstream.run=some/run"],
    "targets=run": ["targets.run=some/run"],
    "targets=speech": ["targets.run=some/run"],
    "preservation=ewc": ["preservation.run=some/run"],
    "preservation=ewc_speech": ["preservation.languages=[eng]"],
    "start=run": ["start.run=some/run"],
    **{f"data/phones={kind}": [f"data.phones.path={__file__}"] for kind in ("lexicon", "marks")},
}
ABSENT = ("is not the folder of a run", "is not the folder of a finished run")  # all that is wrong with stand-ins


def test_every_yaml_is_composed_by_the_tests_below() -> None:
    others = {"config", *(f"job/{job}" for job in JOBS), "hydra/launcher/local", "hydra/launcher/slurm"}
    files = {path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*.yaml")}
    covered = {f"{group}/{option}" for group, option in (*GROUP_CHOICES, *INNER_CHOICES)} | others
    covered |= {f"exp/{name}" for name in EXPERIMENTS} | {f"text/{option}" for option in TEXT_CHOICES}
    assert files == covered
    print(f"{len(files)} YAML files")
    assert len(files) >= 60


def test_the_slurm_launcher_composes_on_the_settings_of_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    compose([])  # Hydra's own launchers come into the store with the first call, and must outlast the copy
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", copy.deepcopy(store.repo))
    defaults = {  # SlurmQueueConf of hydra-submitit-launcher 1.2.0, what is used here of it
        "_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        **dict.fromkeys(("partition", "cpus_per_task", "gpus_per_node", "mem_gb")),
        "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
        "timeout_min": 60,
        "max_num_timeout": 0,
        "array_parallelism": 256,
        "signal_delay_s": 120,
        "additional_parameters": {},
    }
    node = OmegaConf.create(defaults, flags={"struct": True})
    OmegaConf.set_struct(node.additional_parameters, False)
    store.store(group="hydra/launcher", name="submitit_slurm", node=node)
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
        launcher = hydra_compose("config", overrides=words, return_hydra_config=True).hydra.launcher
        with pytest.raises(ConfigCompositionException):
            hydra_compose("config", overrides=["hydra/launcher=slurm", "hydra.launcher.patrition=gpu"])
    assert set(launcher) == set(defaults)
    assert launcher.additional_parameters == {"requeue": True}
    assert (launcher.partition, launcher.timeout_min, launcher.gpus_per_node) == ("gpu", 2880, 1)


def test_the_local_launcher_runs_as_many_at_a_time_as_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    compose([])
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", copy.deepcopy(store.repo))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    defaults = {"n_jobs": -1, "pre_dispatch": "2*n_jobs", "batch_size": "auto"}  # hydra-joblib-launcher 1.2.0, in part
    store.store(group="hydra/launcher", name="joblib", node=OmegaConf.create(defaults, flags={"struct": True}))
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = ["hydra/launcher=local"]
        launcher = hydra_compose("config", overrides=words, return_hydra_config=True).hydra.launcher
    assert (launcher.n_jobs, launcher.pre_dispatch, launcher.batch_size) == (3, 3, 1)


@pytest.mark.parametrize(("group", "option"), GROUP_CHOICES)
def test_every_choice_composes_and_has_a_target(group: str, option: str) -> None:
    config = compose([f"job={JOB_OF[group]}", f"{group}={option}"])
    assert config[group]["name"] == option
    assert "_target_" in config[group]


@pytest.mark.parametrize(("group", "option"), INNER_CHOICES)
def test_every_part_of_a_part_is_added_to_it(group: str, option: str) -> None:
    outer, _, inner = group.partition("/")
    words = [f"job={JOB_OF[outer]}", f"+{group}={option}", *NEEDED.get(f"{group}={option}", [])]
    config = compose(words)
    assert "_target_" in config[outer][inner]
    assert find_problems(config, groups=(outer,)) == []
    assert check_overrides([f"+{group}={option}"]) == []


def test_settings_of_a_part_of_a_part_are_known() -> None:
    overrides = ["+loading/sampling=two_level", "loading.sampling.alpha=0.5"]
    assert check_overrides(overrides) == []
    assert compose(overrides)["loading"]["sampling"]["alpha"] == 0.5
    assert check_overrides(["+loading/sampling=two_levl"]) == [
        "loading/sampling has no option 'two_levl'; nearest: two_level"
    ]
    (message,) = check_overrides(["loading.sampling.alpa=0.5"])
    assert "nearest: loading.sampling.alpha" in message
    (problem,) = find_problems(compose([overrides[0], "loading.language_temperature=2"]), groups=("loading",))
    assert "loading.language_temperature=2 and loading.sampling are both set" in problem
    (problem,) = find_problems(compose([overrides[0], "loading.sampling.by=minutes"]), groups=("loading",))
    assert problem == "loading.sampling.by='minutes' should be 'hours' or 'utterances'"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str) -> None:
    config = compose([f"+exp={name}"])
    assert config["run_id"].startswith(config["run_name"])


@pytest.mark.parametrize(("group", "option"), [pair for pair in GROUP_CHOICES if pair[0] not in ("data", "upstream")])
def test_every_part_passes_the_check_alone(group: str, option: str) -> None:
    words = [f"job={JOB_OF[group]}", f"{group}={option}", *NEEDED.get(f"{group}={option}", [])]
    assert sound(find_problems(compose(words), groups=(group,)))


def sound(problems: list[str]) -> bool:
    """Whether nothing is wrong but that a stand-in does not exist."""
    return all(any(words in problem for words in ABSENT) for problem in problems)


@pytest.mark.parametrize("option", options("upstream", CONF))
def test_every_upstream_passes_the_check(option: str) -> None:
    config = compose([f"upstream={option}", *NEEDED.get(f"upstream={option}", [])])
    assert sound(find_problems(config, groups=("upstream",)))


# ml_superb.md 3.1, from egs2/ml_superb/asr1/conf/tuning/train_asr_s3prl_{single,10min,1h}.yaml and run_{mono,multi}.sh
V1: dict[str, Any] = {
    "adaptation._target_": "mlsuperb.adaptation.frozen.Frozen",
    "featurizer._target_": "mlsuperb.heads.featurizer.WeightedSum",
    "specaug.time_warp_window": 5,
    "specaug.num_freq_masks": 2,
    "specaug.freq_mask_max_width": 26,
    "specaug.num_time_masks": 10,
    "specaug.time_mask_max_ratio": 0.05,
    "head.input_norm": "mean",
    "head.projection": 80,
    "head.frontend": "conv2d2",
    "head.num_blocks": 2,
    "head.size": 256,
    "head.num_heads": 8,
    "head.ffn_size": 1024,
    "head.dropout": 0.1,
    "head.position_dropout": 0.1,
    "head.attention_dropout": 0.1,
    "objective._target_": "mlsuperb.objectives.ctc.CTC",
    "objective.dropout": 0.0,
    "loading.train._target_": "mlsuperb.data.batching.SortedBatches",
    "loading.train.batch_size": 8,
    "decoding._target_": "mlsuperb.decoding.prefix_beam.PrefixBeam",
    "decoding.beam_size": 1,
    "trainer.optimizer._target_": "torch.optim.Adam",
    "trainer.optimizer.lr": 1e-4,
    "trainer.optimizer.weight_decay": 1e-6,
    "trainer.schedule._target_": "mlsuperb.training.schedules.Constant",
    "trainer.accumulate": 4,
    "trainer.grad_clip": 5.0,
    "trainer.precision": "fp32",
    "trainer.max_epochs": 30,
    "trainer.keep_best": 5,
    "trainer.select_by": "valid_loss",
    "trainer.patience": None,
    "seed": 0,
    "data.max_duration_s": 20.0,
}
MULTI = {"task.normaliser": "v1", "task.units": "char", "task.monolingual": False, "data.few_shot": "official"}
TRACKS: dict[str, dict[str, Any]] = {
    "mono_asr": {"task.name": "asr", "task.normaliser": "v1_mono", "task.monolingual": True},
    "multi_asr": {"task.name": "asr"} | MULTI,
    "lid": {"task.name": "lid"} | MULTI,
    "asr_lid": {"task.name": "asr_lid"} | MULTI,
}
ITERATIONS = {("mono_asr", "10min"): 500, ("mono_asr", "1h"): 500} | {
    (track, size): number
    for track in ("multi_asr", "lid", "asr_lid")
    for size, number in (("10min", 10_000), ("1h", 20_000))
}


@pytest.mark.parametrize(("track", "size"), list(ITERATIONS))
def test_v1_is_the_documented_recipe(track: str, size: str) -> None:
    config = compose([f"+exp=v1/{track}", f"data=ml_superb_{size}", "data.root=."])
    expected = V1 | TRACKS[track] | {"trainer.iterations_per_epoch": ITERATIONS[track, size], "data.size": size}
    assert {key: _at(config, key) for key in expected} == expected


# ml_superb.md 3.3; what has no source there says "unverified" in its file
WARM_UP = {"trainer.schedule._target_": "mlsuperb.training.schedules.Warmup", "trainer.schedule.updates": 25_000}
V2: dict[str, Any] = {
    "task.name": "asr_lid",
    "head.projection": 80,
    "head.frontend": "conv2d2",
    "loading.train.batch_size": 16,
    "trainer.optimizer._target_": "torch.optim.Adam",
    "trainer.optimizer.lr": 1e-4,
    "trainer.optimizer.weight_decay": 1e-6,
    "trainer.accumulate": 2,
    "trainer.iterations_per_epoch": 10_000,
    "trainer.max_epochs": 20,
    "trainer.keep_best": 2,
    "trainer.max_trainable_params": 100_000_000,
}
DEEP = {"head.size": 512, "head.num_heads": 8, "head.ffn_size": 2048, "objective.name": "ctc"} | WARM_UP
FINE_TUNED = {  # of XLS-R, the default
    "loading.train.batch_size": 4,
    "trainer.precision": "fp32",
    "trainer.accumulate": 4,
    "trainer.iterations_per_epoch": 20_000,
    "trainer.max_epochs": 30,
    "trainer.keep_best": 5,
}
ATTENTION = {
    "objective.ctc_weight": 0.3,
    "objective.label_smoothing": 0.1,
    "objective.num_blocks": 6,
    "objective.ffn_size": 2048,
    "objective.num_heads": 4,
    "head.num_blocks": 12,
    "head.size": 256,
    "head.ffn_size": 1024,
    "decoding.beam_size": 20,
    "decoding.ctc_weight": 0.3,
    "trainer.optimizer.lr": 5e-4,
    "trainer.schedule.updates": 5_000,
    "trainer.accumulate": 4,
    "trainer.keep_best": 10,
    "trainer.select_by": "valid_attention_error_rate",
}
V2_SETTINGS: dict[str, dict[str, Any]] = {
    "frozen": {"trainer.optimizer.lr": 2e-4, "head.name": "transformer", "adaptation.name": "frozen"},
    "frozen_transformer": DEEP | {"head.num_blocks": 24},
    "frozen_conformer": DEEP | {"head.num_blocks": 12},
    "frozen_e_branchformer": DEEP | {"head.num_blocks": 12, "head.cgmlp_size": 3072, "head.cgmlp_kernel": 31},
    "espnet_2026": DEEP
    | {
        "upstream.name": "mms_1b",
        "upstream.conventions": "s3prl_hf",
        "featurizer.name": "weighted_sum",
        "head.name": "e_branchformer",
        "head.num_blocks": 12,
        "head.cgmlp_size": 3072,
        "head.cgmlp_kernel": 31,
        "head.merge_kernel": 31,
        "head.macaron": False,
        "data.name": "ml_superb_hf",
        "data.labels": "cleaned",
        "task.normaliser": "raw",
    },
    "frozen_transformer_attention": ATTENTION,
    "frozen_conformer_attention": ATTENTION,
    "frozen_e_branchformer_attention": ATTENTION | {"head.cgmlp_size": 1024},
    "full": FINE_TUNED | {"adaptation.name": "full", "trainer.max_trainable_params": None},
    "partial_bottom": FINE_TUNED | {"adaptation.layers": "bottom"},
    "partial_middle": FINE_TUNED | {"adaptation.layers": "middle"},
    "partial_top": FINE_TUNED | {"adaptation.layers": "top"},
    "adapter": {"adaptation.name": "houlsby", "adaptation.width": 64} | WARM_UP,
    "lora": {"adaptation.rank": 16, "adaptation.alpha": 16} | WARM_UP,
    "qlora": {"adaptation.rank": 16, "adaptation.alpha": 16, "adaptation.name": "qlora"} | WARM_UP,
    "whisper": {"upstream.name": "whisper_medium", "trainer.optimizer.lr": 2e-4},
    "owsm": {"upstream.name": "owsm_v3_1_medium", "head.frontend": "linear", "trainer.optimizer.lr": 2e-4},
}


@pytest.mark.parametrize("name", [one for one in EXPERIMENTS if one.startswith("v2/") and one.count("/") == 1])
def test_v2_is_the_documented_recipe(name: str) -> None:
    config = compose([f"+exp={name}", "data.root=."])
    expected = V2 | V2_SETTINGS[name.removeprefix("v2/")]
    assert {key: _at(config, key) for key in expected} == expected
    upstreams = [] if name in ("v2/whisper", "v2/owsm") else ["upstream=mms_1b"]
    assert find_problems(compose([f"+exp={name}", "data=synthetic", *upstreams])) == []


def test_fine_tuning_has_the_batches_of_its_model() -> None:
    for upstream, size in (("xls_r_300m", 4), ("mms_300m", 8)):
        config = compose(["+exp=v2/full", "data.root=.", f"upstream={upstream}"])
        assert config["loading"]["train"]["batch_size"] == size
        assert config["benchmark"]["experiment"] == "v2/full"


def test_the_v2_table_is_whole() -> None:
    names = {one.removeprefix("v2/") for one in EXPERIMENTS if one.startswith("v2/") and one.count("/") == 1}
    assert names == set(V2_SETTINGS)


def test_full_fine_tuning_alone_lifts_the_cap() -> None:
    for adaptation, cap in (("full", None), ("partial_middle", 100_000_000), ("frozen", 100_000_000)):
        config = compose(["+exp=v2/first/middle_against_full", "data.root=.", f"adaptation={adaptation}"])
        assert config["trainer"]["max_trainable_params"] == cap


@pytest.mark.parametrize(("mono", "units"), [("eng1", "char"), ("jpn", "phoneme"), ("cmn", "phoneme"), ("xty", "char")])
def test_jpn_and_cmn_are_monolingual_runs_in_phonemes(mono: str, units: str) -> None:
    config = compose(["+exp=v1/mono_asr", "data=ml_superb_1h", "data.root=.", f"data.mono={mono}"])
    assert config["task"]["units"] == units
    assert f"mono_asr-{mono}-ml_superb_1h" in config["run_id"]


# papers/peft-and-layer-analysis.md, section 2.2; the pairs are those of the study's code
PEFT_PAIRS = {
    "eng": "mls", "fra": "mls", "deu": "swc", "rus": "M-AILABS", "swa": "ALFFA", "swe": "NST", "xty": "mexico-el"
}  # fmt: skip
PEFT_STUDY: dict[str, Any] = {
    "upstream.name": "hubert_base",
    "adaptation.name": "frozen",
    "featurizer.name": "weighted_sum",
    "head.frontend": "conv1d2",
    "head.num_blocks": 2,
    "head.size": 256,
    "head.num_heads": 8,
    "head.ffn_size": 1024,
    "loading.train.batch_size": 8,
    "trainer.optimizer._target_": "torch.optim.Adam",
    "trainer.optimizer.lr": 1e-4,
    "trainer.optimizer.weight_decay": 1e-6,
    "trainer.accumulate": 4,
    "data.size": "10min",
}


@pytest.mark.parametrize("track", ["mono_asr", "multi_asr", "lid", "asr_lid"])
def test_the_peft_study_is_the_documented_one(track: str) -> None:
    config = compose([f"+exp=peft_study/{track}", "data.root=."])
    expected = PEFT_STUDY | {"task.name": track.removeprefix("mono_").removeprefix("multi_")}
    assert {key: _at(config, key) for key in expected} == expected
    iterations = config["trainer"]["iterations_per_epoch"] * config["trainer"]["max_epochs"]
    assert iterations == (15_000 if track == "mono_asr" else 30_000)
    assert config["objective"]["name"] == ("classifier" if track == "lid" else "ctc")
    for adaptation in ("lora_peft_study", "qlora_peft_study"):
        node = compose([f"adaptation={adaptation}"])["adaptation"]
        assert (node["rank"], node["alpha"], node["attention"]) == (8, 32, ["k", "q", "v"])


def test_the_pairs_of_the_peft_study_follow_the_run_and_the_corpus() -> None:
    for language, dataset in PEFT_PAIRS.items():
        overrides = ["+exp=peft_study/mono_asr", f"benchmark.run={language}"]
        assert compose([*overrides, "data.root=."])["data"]["pairs"] == [[language, dataset]]
        assert compose([*overrides, "data=synthetic"])["data"]["pairs"] == [[language, "studio"]]
    for track in ("multi_asr", "lid", "asr_lid"):
        config = compose([f"+exp=peft_study/{track}", "data.root=."])
        assert config["data"]["pairs"] == [list(pair) for pair in PEFT_PAIRS.items()]
        config = compose([f"+exp=peft_study/{track}", "data=synthetic", "upstream=tiny", "trainer=debug"])
        assert config["data"]["pairs"] == [[language, "studio"] for language in PEFT_PAIRS]
        assert config["trainer"]["iterations_per_epoch"] == 2
        assert find_problems(config) == []


def test_transfer_trains_on_one_language_or_one_dataset() -> None:
    for overrides, datasets, train in [
        (["+exp=transfer", "data.root=."], ["mls"], None),
        (["+exp=transfer", "data=synthetic", "upstream=tiny"], ["studio"], None),
        (["+exp=transfer_datasets", "data.root=."], None, ["mls"]),
        (["+exp=transfer_datasets", "data=synthetic", "upstream=tiny"], None, ["studio"]),
    ]:
        config = compose([*overrides, "data.languages=[por]"])
        data = config["data"]
        assert (data["languages"], data["datasets"], data["train_datasets"]) == (["por"], datasets, train)
        assert "-por-" in config["run_name"]
        assert config["benchmark"] is None


def test_a_debug_trainer_replaces_the_published_schedule() -> None:
    config = compose(["+exp=v1/multi_asr", "data=synthetic", "upstream=tiny", "trainer=debug"])
    assert config["trainer"]["iterations_per_epoch"] == 2


@pytest.mark.parametrize("name", [one for one in EXPERIMENTS if one.startswith("v2/")])
def test_v2_is_tried_out_with_a_debug_trainer_and_other_batches_and_keeps_its_cap(name: str) -> None:
    config = compose([f"+exp={name}", "data=synthetic", "upstream=tiny", "trainer=debug", "loading=bucketed"])
    assert find_problems(config) == []
    assert config["trainer"]["iterations_per_epoch"] * config["trainer"]["max_epochs"] == 4
    assert config["trainer"]["max_trainable_params"] == (
        None if config["adaptation"]["name"] == "full" else 100_000_000
    )


def _at(config: dict[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node[name]
    return node


def test_all_problems_are_listed_at_once() -> None:
    config = compose(
        [
            "+exp=v1/asr_lid",
            "data=ml_superb_10min",
            "data.root=/does/not/exist",
            "data.languages=[eng,xx1]",
            "head.num_blocks=two",
            "head.dropout=1.5",
            "trainer.device=cuda:99",
            "trainer.iterations_per_epoch=7",
            "+trainer.warp=9",
            "+colour=blue",
            "+head.input_size=80",
            "+objective.blank=3",
        ]
    )
    with pytest.raises(ValueError, match="this configuration cannot run") as raised:
        check(config)
    message = str(raised.value)
    for expected in (
        "data.root=/does/not/exist: there is no such folder",
        "xx1",
        "head.num_blocks='two' should be a valid integer",
        "head.dropout=1.5 should be less than 1",
        "nothing reads the setting 'trainer.warp'",
        "nothing reads the setting 'colour'",
        "head.input_size is known from the other parts; remove it",
        "nothing reads the setting 'objective.blank'",
    ):
        assert expected in message, message


def test_a_missing_value_is_named() -> None:
    problems = find_problems(compose(["data=ml_superb_10min"]), groups=("data",))
    assert problems[0].startswith("data.root is missing: give data.root=")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.optimizer.lr=-1", "AdamW: lr=-1 is negative"),
        ("+trainer.optimizer.betas=[2,0.9]", "AdamW: betas=[2, 0.9] must be from 0 to below 1"),
        ("run_name=a/b", "run_name=a/b has a '/'"),
        ("run_id=a/b", "run_id=a/b has a '/'"),
    ],
)
def test_what_would_fail_late_or_get_lost_is_found_at_once(override: str, message: str) -> None:
    (problem,) = find_problems(compose([override]))
    assert message in problem


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=classifier", "task=asr_lid", "decoding=argmax"], "has text; use task=lid"),
        (["objective=classifier", "task=lid", "decoding=greedy"], "decoding=greedy does not read objective=classifier"),
        (["decoding=argmax"], "use greedy or prefix_beam"),
        (["decoding=joint_beam"], "objective=ctc does not have; use decoding=prefix_beam, or objective=ctc_attention"),
        (["objective=ctc_attention", "task=lid", "decoding=argmax"], "use greedy or prefix_beam"),
        (["trainer.select_by=valid_attention_error_rate"], "select_by=valid_attention_error_rate is no figure of this"),
        (["task=asr", "trainer.select_by=valid_lid_error_rate"], "one of valid_loss, valid_token_error_rate"),
    ],
)
def test_parts_that_do_not_go_together(overrides: list[str], message: str) -> None:
    (problem,) = find_problems(compose(overrides))
    assert message in problem


@pytest.mark.parametrize(
    ("overrides", "figures"),
    [
        ([], "valid_loss, valid_token_error_rate, valid_lid_error_rate"),
        (["job=pretrain", "targets.run=x"], "valid_loss"),
        (["job=vocoder", "targets.run=x"], "valid_mel_l1, valid_duration_error"),
        (["job=translation"], "valid_loss, valid_speech_loss"),
    ],
)
@pytest.mark.parametrize("chosen", ["valid_speech_accuracy", "valid_masked_accuracy", "nonsense"])
def test_epochs_are_chosen_by_what_is_better_where_it_is_lower(overrides: list[str], figures: str, chosen: str) -> None:
    def said(*more: str) -> list[str]:
        config = compose([*overrides, *more])
        job = job_class(config)
        return [problem for problem in job.misfits(config, job.groups) if "select_by" in problem]

    wanted = (
        f"trainer.select_by={chosen} is no figure of this validation of which lower is better; use one of {figures}"
    )
    assert said(f"trainer.select_by={chosen}") == [wanted]
    assert not any(said(f"trainer.select_by={one}") for one in figures.split(", "))
    assert not said()


def test_ctc_attention_goes_with_every_decoder_of_sequences() -> None:
    for decoding in ("greedy", "prefix_beam", "joint_beam"):
        chosen = ["objective=ctc_attention", f"decoding={decoding}", "trainer.select_by=valid_attention_error_rate"]
        assert not find_problems(compose(chosen))
    (problem,) = find_problems(compose(["objective=ctc_attention", "objective.ctc_weight=1"]))
    assert problem == "objective.ctc_weight=1 should be less than 1"


def test_a_text_cannot_be_longer_than_it_may_be() -> None:
    joint = ["objective=ctc_attention", "decoding=joint_beam"]
    for ratios in (["decoding.min_length_ratio=1"], ["decoding.min_length_ratio=0.6", "decoding.max_length_ratio=0.5"]):
        (problem,) = find_problems(compose([*joint, *ratios]))
        assert problem.startswith("decoding.min_length_ratio is ")
    assert not find_problems(compose([*joint, "decoding.min_length_ratio=1.5", "decoding.max_length_ratio=2"]))


def test_an_unknown_choice_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="upstream/nonsense"):
        compose(["upstream=nonsense"])


@pytest.mark.parametrize(
    ("upstream", "said_by", "group", "chosen", "message"),
    [
        (
            "tiny",
            {},
            "adaptation=partial",
            "adaptation.layers=[2, 4]",
            "adaptation.layers is [2, 4], but this upstream has 3",
        ),
        (
            "hf",
            {"hubert": "num_hidden_layers"},
            "adaptation=lora",
            "adaptation.layers=2-5",
            "adaptation.layers is '2-5'",
        ),
        (
            "hf",
            {"hubert": "num_hidden_layers"},
            "featurizer=one_layer",
            "featurizer.layer=4",
            "featurizer.layer is 4, but",
        ),
        (
            "whisper",
            {"whisper": "encoder_layers"},
            "featurizer=one_layer",
            "featurizer.layer=-5",
            "featurizer.layer is -5",
        ),
        (
            "seamless_m4t",
            {"seamless_m4t_v2": "speech_encoder_layers"},
            "adaptation=houlsby",
            "adaptation.layers=4",
            "is 4, but",
        ),
    ],
)
def test_layers_that_are_not_there_are_found_without_weights(
    upstream: str, said_by: dict[str, str], group: str, chosen: str, message: str, tmp_path: Path
) -> None:
    for model_type, name in said_by.items():
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, name: 3, "decoder_layers": 9}))
    checkpoint = [f"upstream.checkpoint={tmp_path}"] if said_by else []
    assert not find_problems(compose([f"upstream={upstream}", *checkpoint, group, chosen.partition("=")[0] + "=3"]))
    (problem,) = find_problems(compose([f"upstream={upstream}", *checkpoint, group, chosen]))
    assert message in problem
