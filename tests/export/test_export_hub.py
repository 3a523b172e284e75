from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hub_rules
import huggingface_hub
import numpy as np
import pytest
import soundfile
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import safe_open
from tiny_checkpoints import write_checkpoint
from trained_runs import add_result, trained_run

import mlsuperb
from mlsuperb.benchmark import build
from mlsuperb.commands import evaluate, transcribe
from mlsuperb.commands.export import main
from mlsuperb.config.build import instantiate
from mlsuperb.export.hub import export_hub
from mlsuperb.runs.hub import PATTERNS, hub_id, run_folder

WAVE_T = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with LoRA on a checkpoint of this machine."""
    place = tmp_path_factory.mktemp("somebody")
    checkpoint = write_checkpoint(place / "checkpoint", "hubert_base")
    folder = trained_run(
        place / "exp" / "lora-1a2b3c4d", "upstream=hf", f"upstream.checkpoint={checkpoint}", "adaptation=lora",
        f"cache.folder={place}/features", data={"root": str(place / "speech")},
    )  # fmt: skip
    config = build.load_config(folder)
    upstream = build.load_recogniser(folder, config).model.upstream
    instantiate(config["adaptation"]).export(upstream, folder)
    add_result(folder, languages={"train": ["deu", "spa"]})
    (folder / "hypotheses.jsonl").write_text("{}")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "state.pt").write_bytes(b"pickle")
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, moved."""
    made = export_hub(run, tmp_path_factory.mktemp("made") / "lora")
    return Path(shutil.move(made, tmp_path_factory.mktemp("elsewhere") / "lora"))


@pytest.fixture
def hub(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """A hub with one repository, `me/lora`; returns what it was asked for."""
    asked: list[dict[str, Any]] = []

    def download(repo: str, **options: Any) -> str:
        asked.append({"repo": repo, **options})
        if repo != "me/lora":
            raise LocalEntryNotFoundError("it cannot be reached")
        snapshot = tmp_path / "cache" / "0123456789abcdef"
        shutil.copytree(exported, snapshot, dirs_exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    return asked


def test_the_export_is_whole_and_names_no_place(run: Path, exported: Path) -> None:
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "config.json", "config.yaml", "mlsuperb_export.json", "model.safetensors", "result.json", "tokens.txt",
        "training.json", "upstream.json", "upstream/config.json", "upstream/model.safetensors",
        "upstream/preprocessor_config.json", "peft_adapter/README.md", "peft_adapter/adapter_config.json",
        "peft_adapter/adapter_model.safetensors",
    }  # fmt: skip
    for path in exported.rglob("*.*"):
        assert b"somebody" not in path.read_bytes(), path
        assert str(Path.home()).encode() not in path.read_bytes(), path
    assert all(any(path.match(pattern) for pattern in PATTERNS) for path in exported.rglob("*") if path.is_file())
    config = yaml.safe_load((exported / "config.yaml").read_text())
    assert config["upstream"]["checkpoint"] == "upstream"
    assert (config["data"]["root"], config["cache"]["folder"]) == ("speech", "features")
    about = json.loads((exported / "config.json").read_text())
    assert (about["task"], about["languages"], about["settings"]) == ("asr_lid", ["deu", "spa"], "config.yaml")


def test_the_export_is_the_run(run: Path, exported: Path) -> None:
    one, other = (mlsuperb.load(folder, device="cpu") for folder in (run, exported))
    for what in ("features", "posteriors"):
        first, second = (getattr(model, what)(WAVE_T, rate=16_000).values for model in (one, other))
        np.testing.assert_array_equal(first, second)
    assert one.transcribe(WAVE_T, rate=16_000) == other.transcribe(WAVE_T, rate=16_000)


def test_the_adapter_opens_in_peft(exported: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    opened = PeftModel.from_pretrained(AutoModel.from_pretrained(exported / "upstream"), exported / "peft_adapter")
    assert sum("lora_A" in name for name, _ in opened.named_parameters()) > 0
    with safe_open(exported / "peft_adapter" / "adapter_model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["mlsuperb"])["checkpoint"] == "checkpoint"
    settings = json.loads((exported / "peft_adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "checkpoint"


def test_the_cards_are_what_the_hub_takes(exported: Path) -> None:
    cards = sorted(exported.rglob("README.md"))
    assert len(cards) == 2
    for path in cards:
        assert hub_rules.problems(path.read_text()) == []
    card = ModelCard.load(exported / "README.md")
    assert card.data.language == ["de", "es"]
    assert "mlsuperb transcribe lora recording.wav" in card.text
    assert ModelCard.load(exported / "peft_adapter" / "README.md").data.library_name == "peft"


def test_an_id_of_the_hub_is_taken_as_a_folder_is(
    hub: list[dict[str, Any]], exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE_T, 16_000, subtype="FLOAT")
    transcribe.main([str(exported), "a.wav"])
    expected = capsys.readouterr().out
    transcribe.main(["me/lora", "a.wav"])
    assert capsys.readouterr().out == expected
    transcript = mlsuperb.load("me/lora@v1.0", device="cpu").transcribe("a.wav")
    assert expected == f"a.wav\t{transcript.language or '-'}\t{transcript.text}\n"
    assert [(one["repo"], one["revision"]) for one in hub] == [("me/lora", None), ("me/lora", "v1.0")]
    assert not any("bin" in pattern or "pt" in pattern for one in hub for pattern in one["allow_patterns"])


def test_other_data_are_evaluated_outside_of_the_hubs_cache(hub: list[dict[str, Any]], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE_T, 16_000)
    (tmp_path / "test.csv").write_text("audio,text,language\na.wav,eins,deu\n")
    evaluate.main(
        ["me/lora", "data=table", "data.train=test.csv", "data.dev=test.csv", "data.test=test.csv", "--device=cpu"]
    )
    (found,) = (tmp_path / "exp" / "hub" / "me--lora-01234567" / "evaluations").iterdir()
    assert found.name.startswith("table-")
    assert json.loads((found / "result.json").read_text())["protocols"]["v1"]["counts"]["test"]
    assert not (tmp_path / "cache" / "0123456789abcdef" / "evaluations").exists()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("me/lora", ("me/lora", None)),
        ("me/lora@v1.0", ("me/lora", "v1.0")),
        ("me/lora@refs/pr/1", ("me/lora", "refs/pr/1")),
        ("exp/demo-1a2b3c4d", None),  # exp is here: a run that was mistyped
        ("exp", None),
        ("lora", None),
        ("./me/lora", None),
        ("/me/lora", None),
        ("../me/lora", None),
        ("me/lora/x", None),
        ("~/lora", None),
    ],
)
def test_what_is_an_id(name: str, found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exp").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub_id(name) == found
    if found is None:
        assert run_folder(name) == Path(name)


def test_what_the_hub_does_not_have_is_told(hub: list[dict[str, Any]]) -> None:
    message = r"there is no folder me/other, and no run at v2 by this id can be had from the hub: it cannot be reached"
    with pytest.raises(ValueError, match=message):
        mlsuperb.load("me/other@v2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"head": {"_target_": "stranger.Head"}},
            r"names what is no part of mlsuperb \(head\._target_: stranger\.Head\)",
        ),
        (
            {"cache": {"folder": "/home/you/features"}},
            r"me/lora on the hub is refused: .*cache\.folder=/home/you/features",
        ),
        (
            {"upstream": {"checkpoint": "../../secret"}},
            r"names files of a machine \(upstream\.checkpoint=\.\./\.\./secret\)",
        ),
        ({"output_root": "~/exp"}, r"output_root=~/exp"),
    ],
)
def test_a_repository_of_a_stranger_is_refused(
    hub: list[dict[str, Any]],
    exported: Path,
    change: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config = yaml.safe_load((exported / "config.yaml").read_text())
    theirs = tmp_path / "theirs"
    shutil.copytree(exported, theirs)
    changed = {key: {**config[key], **one} if isinstance(one, dict) else one for key, one in change.items()}
    (theirs / "config.yaml").write_text(yaml.safe_dump(config | changed))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(theirs))
    with pytest.raises(ValueError, match=message):
        mlsuperb.load("me/lora")


def test_pushing_is_private_and_names_the_repository(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, Any]] = []

    class Api:
        def create_repo(self, repo: str, **options: Any) -> str:
            calls.append((repo, options))
            if repo.startswith("other/"):
                raise LocalEntryNotFoundError("you have no rights there")
            if repo.startswith("far/"):  # the error of the HTTP client, which is none of the hub's
                raise next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")(
                    "connection refused"
                )
            return f"https://huggingface.co/{repo}"

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
            calls.append((repo_id, Path(folder_path).name))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    main(["hub", str(run), str(tmp_path / "made"), "--push", "me/lora"])
    assert calls == [("me/lora", {"private": True, "exist_ok": True}), ("me/lora", "made")]
    assert "https://huggingface.co/me/lora, which is private" in capsys.readouterr().out
    assert "mlsuperb transcribe me/lora recording.wav" in (tmp_path / "made" / "README.md").read_text()
    with pytest.raises(
        ValueError, match=r"made is written, but could not be pushed to other/lora: you have no rights there"
    ):
        main(["hub", str(run), str(tmp_path / "made"), "--push", "other/lora"])
    with pytest.raises(ValueError, match=r"could not be pushed to far/lora: connection refused"):
        main(["hub", str(run), str(tmp_path / "made"), "--push", "far/lora"])


def test_what_cannot_be_passed_on_is_refused(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())

    def refused(message: str, **changes: Any) -> None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config | changes))
        with pytest.raises(ValueError, match=message):
            export_hub(folder, tmp_path / "made")
        assert not (tmp_path / "made").exists()

    upstream = config["upstream"]
    pickles = tmp_path / "pickles"
    shutil.copytree(upstream["checkpoint"], pickles, ignore=shutil.ignore_patterns("*.safetensors"))
    (pickles / "pytorch_model.bin").write_bytes(b"pickle")
    pretrain = {"name": "pretrain", "_target_": "mlsuperb.pretraining.job.Pretraining"}
    refused(r"run is a run of job=pretrain; only runs of job=benchmark", job=pretrain)
    refused(r"with an adapter \(upstream\.adapter=x\), which is not passed on", upstream=upstream | {"adapter": "x"})
    refused(r"weights in .*pickles are no safetensors", upstream=upstream | {"checkpoint": str(pickles)})
    (folder / "result.json").unlink()
    refused(r"there is no file .*result\.json")


def test_a_run_on_a_published_checkpoint_brings_no_upstream(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "tiny-1a2b3c4d", "upstream=tiny")
    add_result(run)
    folder = export_hub(run, tmp_path / "made")
    assert not (folder / "upstream").exists()
    assert not (folder / "peft_adapter").exists()
    assert mlsuperb.load(folder, device="cpu").features(WAVE_T, rate=16_000).values.any()


def test_a_model_that_a_run_of_ours_pretrained_is_brought_along(tmp_path: Path) -> None:
    pretrained = tmp_path / "pretrain-1a2b3c4d"
    write_checkpoint(pretrained / "huggingface", "hubert_base")
    about = {
        "run_id": "pretrain-1a2b3c4d",
        "upstream": {"checkpoint": str(tmp_path / "before")},
        "pretrained_on": [],
        "data": {},
    }
    (pretrained / "huggingface" / "mlsuperb_export.json").write_text(json.dumps(about))
    run = trained_run(tmp_path / "run-1a2b3c4d", "upstream=pretrained", f"upstream.run={pretrained}")
    add_result(run)
    one = mlsuperb.load(run, device="cpu").posteriors(WAVE_T, rate=16_000)
    folder = export_hub(run, tmp_path / "made")
    shutil.rmtree(pretrained)
    other = mlsuperb.load(folder, device="cpu").posteriors(WAVE_T, rate=16_000)
    np.testing.assert_array_equal(one.values, other.values)
    config = yaml.safe_load((folder / "config.yaml").read_text())["upstream"]
    assert config["_target_"] == "mlsuperb.upstreams.huggingface.HuggingFace"
    assert "run" not in config
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
