from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb import __version__
from mlsuperb.config import answers
from mlsuperb.config.options import check_overrides, completions, conf_dir, options


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("upstream=hubrt_base", "upstream has no option 'hubrt_base'; nearest: hubert_base"),
        ("+exp=v1/mult_asr", "exp has no option 'v1/mult_asr'; nearest: v1/multi_asr"),
        ("upstream=fbank,nothing_like_it", "upstream has no option 'nothing_like_it'; options: "),
        ("trainer.max_epoch=3", "there is no setting 'trainer.max_epoch'; nearest: trainer.max_epochs"),
        ("trainer.optimizer.lrr=1", "there is no setting 'trainer.optimizer.lrr'; nearest: trainer.optimizer.lr"),
        ("sead=3", "there is no setting 'sead'; nearest: seed"),
        ("job=benchmrk", "job has no option 'benchmrk'; nearest: benchmark"),
        ("benchmrk=1", "there is no setting 'benchmrk'; nearest: benchmark"),
        ("upstrem=fbank", "there is no setting 'upstrem'; nearest: upstream"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(override: str, message: str) -> None:
    (answer,) = check_overrides([override])
    assert answer.startswith(message)


@pytest.mark.parametrize(
    "override",
    [
        "upstream=fbank",
        "+exp=v1/lid",
        "-m",
        "upstream=fbank,tiny",
        "upstream=glob(*)",
        "seed=range(3)",
        "trainer.optimizer.lr=1e-3",
        "data.languages=[eng,'nan']",
        "upstream.num_mels=40",
        "~trainer.patience=1",
        "hydra/launcher=joblib",
        "data.root=../some=where",
    ],
)
def test_known_names_pass(override: str) -> None:
    assert check_overrides([override]) == []


def test_own_files_count(tmp_path: Path) -> None:
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / "mine.yaml").write_text("name: mine\nsize: 3\n")
    for flag in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert check_overrides([*flag, "upstream=mine", "upstream.size=4"]) == []


def test_settings_of_a_second_part_of_a_group_are_known() -> None:
    assert check_overrides(["job=translation", "text_loading.train.max_batch_s=1600"]) == []
    (message,) = check_overrides(["job=translation", "text_loading.train.max_batch=1600"])
    assert "there is no setting 'text_loading.train.max_batch'; nearest: text_loading.train.max_batch_s" in message
    assert "text_loading.train.max_batch_s=" in completions("text_loading.tr", ["job=translation"])


def test_settings_of_an_own_job_are_known(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "mine.yaml").write_text("# @package _global_\njob:\n  name: mine\nzebra:\n  run: null\n")
    own = ["--config-dir", str(tmp_path)]
    assert check_overrides([*own, "job=mine", "zebra.run=exp/x", "job.name=other"]) == []
    (message,) = check_overrides([*own, "job=mine", "zebra.rn=exp/x"])
    assert message == "there is no setting 'zebra.rn'; nearest: zebra.run, zebra"


def test_no_override_is_no_problem() -> None:
    assert check_overrides([]) == []


def test_options_lists_sub_folders() -> None:
    assert {"demo", "v1/lid"} <= set(options("exp", [conf_dir()]))


def test_an_unknown_name_is_answered_without_torch() -> None:
    code = """import sys
sys.argv[1:] = ["upstream=hubrt"]
from mlsuperb import run
try:
    run.cli()
except SystemExit as answer:
    print(answer)
print("torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "upstream has no option 'hubrt'; nearest: " in done.stdout
    assert done.stdout.rstrip().endswith("False")


@pytest.mark.parametrize("flag", ["-sc", "--shell-completion", "--shell_completion"])
def test_hydras_completion_is_answered_with_ours(flag: str) -> None:
    with pytest.raises(ValueError, match="completion comes from `mlsuperb completion bash`"):
        answers.answer([flag, "install=bash"])


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        answers.answer(["--version"])
    assert capsys.readouterr().out == f"mlsuperb {__version__}\n"


def test_launchers_without_their_plugin_are_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsuperb.config.options.find_spec", lambda _: None)
    assert check_overrides(["-m", "+exp=v1/lid", "hydra/launcher=slurm"]) == [
        "hydra/launcher=slurm needs hydra-submitit-launcher, which is not installed here: pip install 'mlsuperb[slurm]'"
    ]
    assert check_overrides(["-m", "+exp=v1/lid", "hydra/launcher=basic"]) == []
    (local,) = check_overrides(["-m", "+exp=v1/lid", "hydra/launcher=local"])
    assert local.endswith("needs hydra-joblib-launcher, which is not installed here: pip install 'mlsuperb[sweep]'")
    monkeypatch.setattr("mlsuperb.config.options.find_spec", lambda name: name)
    assert check_overrides(["-m", "+exp=v1/lid", "hydra/launcher=slurm"]) == []


def test_a_sweep_is_not_started_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert check_overrides(["+exp=v1/lid", "upstream=fbank"]) == []
    (message,) = check_overrides(["-m", "+exp=v1/lid", "upstream=fbank,tiny"])
    assert message.startswith("a sweep (-m) is started once, not by 4 processes")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["featurizer=weighted_sum", "featurizer.layer=3"], "featurizer=weighted_sum has no setting 'layer', unlike featurizer="),
        (["featurizer.layer=3"], "featurizer=weighted_sum has no setting 'layer', unlike featurizer=one_layer"),
        (["+exp=demo", "upstream=hf", "upstream.num_mels=4"], "upstream=hf has no setting 'num_mels', unlike upstream=fbank, "),
    ],
)  # fmt: skip
def test_a_setting_of_another_option_names_those_that_have_it(words: list[str], message: str) -> None:
    (found,) = check_overrides(words)
    assert found.startswith(message)


def test_a_setting_that_some_option_or_the_experiment_has_passes() -> None:
    assert check_overrides(["-m", "featurizer=weighted_sum,one_layer", "featurizer.layer=3"]) == []
    assert check_overrides(["+exp=real_speech", "head=linear", "head.frontend=linear"]) == []  # exp/demo gives it
    assert check_overrides(["+exp=demo", "trainer.optimizer.eps=1e-3"]) == []  # what a class takes is Hydra's to say
