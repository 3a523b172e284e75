from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mlsuperb.espnet.folder import choose_weights, only, open_folder, read_tokens, read_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a recipe leaves it: an average under two names, an epoch, what the optimiser needs."""
    model = tmp_path / "exp" / "asr_train"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text("encoder: transformer", encoding="utf-8")
    for name in ("valid.loss.ave_5best.pth", "12epoch.pth", "checkpoint.pth"):
        torch.save({name: torch.zeros(1)}, model / name)
    (model / "valid.loss.ave.pth").symlink_to("valid.loss.ave_5best.pth")
    return model


def pack(root: Path, **listed: Any) -> Path:
    (root / "meta.yaml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    return root


FILES = {"lm_file": "lm.pth", "s2t_model_file": "exp/asr_train/12epoch.pth"}
YAML_FILES = {"lm_train_config": "lm.yaml", "s2t_train_config": "exp/asr_train/config.yaml"}


def test_a_recipes_folder(folder: Path) -> None:
    found = open_folder(folder)
    assert (found.config, found.config_path) == ({"encoder": "transformer"}, folder / "config.yaml")
    names = ["12epoch.pth", "valid.loss.ave.pth", "valid.loss.ave_5best.pth"]
    assert [path.name for path in found.weights] == names
    assert choose_weights(found, None).name == "valid.loss.ave.pth"
    assert choose_weights(found, "12epoch.pth").name == "12epoch.pth"
    with pytest.raises(ValueError, match=r"--weights 9epoch\.pth: there is no such file"):
        choose_weights(found, "9epoch.pth")
    with pytest.raises(
        ValueError, match=r"2 files of weights \(12epoch\.pth, valid\.loss\.ave\.pth\): leave one there"
    ):
        only(found.weights, folder, what="weights")


def test_a_configuration_further_below_must_be_the_only_one(folder: Path) -> None:
    root = folder.parents[1]
    assert open_folder(root).config_path == folder / "config.yaml"
    shutil.copytree(folder, root / "exp" / "other")
    with pytest.raises(
        ValueError, match=r"2 files of config\.yaml \(exp/asr_train/config\.yaml, exp/other/config\.yaml\)"
    ):
        open_folder(root)
    shutil.copy(folder / "config.yaml", root)
    assert open_folder(root).config_path == root / "config.yaml"


def test_a_packed_folder_names_its_files(folder: Path) -> None:
    root = pack(folder.parents[1], files=FILES, yaml_files=YAML_FILES)
    found = open_folder(root)
    assert (found.config_path, found.weights) == (folder / "config.yaml", [folder / "12epoch.pth"])


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"files": FILES, "yaml_files": {"asr_train_config": "x"}}, "names None as configuration"),
        ({"files": {"lm_file": "lm.pth"}, "yaml_files": YAML_FILES}, "names None as configuration and None as weights"),
        ({"files": ["a_model_file"], "yaml_files": YAML_FILES}, "and None as weights"),
        (
            {"files": {"s2t_model_file": "gone.pth"}, "yaml_files": YAML_FILES},
            r"gone\.pth as weights, which are not both",
        ),
    ],
)
def test_a_packed_folder_with_less_in_it_is_refused(listed: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        open_folder(pack(folder.parents[1], **listed))


def test_weights_are_read_without_constants(tmp_path: Path) -> None:
    constants = {"frontend.logmel.melmat": torch.zeros(2), "encoder.embed.out.1.pe": torch.zeros(2)}
    torch.save({"module": {"a.weight": torch.ones(2), **constants}}, tmp_path / "mp_rank_00.pth")  # DeepSpeed's
    assert list(read_weights(tmp_path / "mp_rank_00.pth")) == ["a.weight"]


def test_a_folder_that_espnet3_packed(folder: Path) -> None:
    """It copies the experiment, and the recipe's code with settings of its own."""
    root = folder.parents[1]
    (root / "dataset").mkdir()
    (root / "dataset" / "config.yaml").write_text("recipe_name: x", encoding="utf-8")
    (root / "data" / "char_15").mkdir(parents=True)
    (root / "data" / "char_15" / "tokens.txt").write_text("<blank>\na\n")
    found = open_folder(pack(root, schema_version=1, files={}, yaml_files={"training_config": "conf/training.yaml"}))
    assert found.config_path == folder / "config.yaml"
    assert choose_weights(found, None).name == "valid.loss.ave.pth"
    elsewhere = {"token_list": "/home/them/recipe/data/char_15/tokens.txt"}
    assert read_tokens(replace(found, config=elsewhere)) == ["<blank>", "a"]


def test_checkpoints_of_lightning_are_taken_where_there_are_no_others(folder: Path) -> None:
    for path in folder.glob("*.pth"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no weights \(\*\.pth, or a \*\.ckpt\)"):
        choose_weights(open_folder(folder), None)
    tensors = {"model.encoder.a": torch.ones(2), "model.ctc.b": torch.ones(2)}
    torch.save({"epoch": 3, "state_dict": tensors, "optimizer_states": [{}]}, folder / "epoch3_step9_valid.loss.ckpt")
    (folder / "last.ckpt").symlink_to("epoch3_step9_valid.loss.ckpt")
    found = open_folder(folder)
    assert list(read_weights(choose_weights(found, None))) == ["encoder.a", "ctc.b"]
    torch.save({"state_dict": tensors}, folder / "epoch4_step12_valid.loss.ckpt")
    with pytest.raises(ValueError, match=r"2 files of weights .*: choose with --weights NAME"):
        choose_weights(open_folder(folder), None)
    torch.save({"state_dict": tensors | {"ctc.c": torch.ones(1)}}, folder / "mixed.ckpt")
    assert list(read_weights(folder / "mixed.ckpt")) == ["model.encoder.a", "model.ctc.b", "ctc.c"]


@pytest.mark.parametrize(
    "listed",
    [
        {"files": FILES | {1: 2}, "yaml_files": {"s2t_train_config": "../secret.yaml"}},
        {"files": FILES, "yaml_files": {"s2t_train_config": "SECRET"}},
        {"files": {"s2t_model_file": "exp/../../w.pth"}, "yaml_files": YAML_FILES},
    ],
)
def test_files_outside_of_the_folder_are_not_read(listed: dict[str, Any], folder: Path) -> None:
    """They are the user's own, and would be copied into the run."""
    root = folder.parents[1] / "exp"
    (root / "exp").symlink_to(root)
    secret = root.parent / "secret.yaml"
    secret.write_text("key: secret")
    (root.parent / "w.pth").write_bytes(b"")
    named = yaml.safe_load(yaml.safe_dump(listed).replace("SECRET", str(secret)))
    with pytest.raises(ValueError, match="which are not both there"):
        open_folder(pack(root, **named))
    found = open_folder(folder)
    for name in (str(secret), "../../secret.yaml"):
        with pytest.raises(ValueError, match="holds no list of tokens"):
            read_tokens(replace(found, config={"token_list": name}))
    (folder / "list.txt").write_text("<blank>\na\n")
    assert read_tokens(replace(found, config={"token_list": "list.txt"})) == ["<blank>", "a"]
    assert read_tokens(replace(found, config={"token_list": f"{folder}/list.txt"})) == ["<blank>", "a"]
    (folder / "list.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"list\.txt is no list of tokens in UTF-8"):
        read_tokens(replace(found, config={"token_list": "list.txt"}))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("as_zip", [True, False])
def test_weights_that_are_cut_are_one_sentence(as_zip: bool, share: float, folder: Path) -> None:
    path = folder / "cut.pth"
    torch.save({"a": torch.zeros(5000)}, path, _use_new_zipfile_serialization=as_zip)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"{path} cannot be read"):
        read_weights(path)
