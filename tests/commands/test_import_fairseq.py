"""`mlsuperb import_fairseq` and `mlsuperb export fairseq`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fairseq_models import HubertModel, save, settings, state

from mlsuperb.__main__ import main
from mlsuperb.pretraining.fairseq_file import read_checkpoint
from mlsuperb.pretraining.head import HEAD_FILE


def call(*arguments: str | Path) -> str | int | None:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder, back = save(tmp_path / "checkpoint.pt", state("large")), tmp_path / "hubert", tmp_path / "back.pt"
    assert not call("import_fairseq", file, folder)
    said = capsys.readouterr().out
    assert f"{folder} holds the HuBERT of {file} after 1,234 updates, with its prediction head" in said
    assert f"upstream=hf upstream.checkpoint={folder} ..." in said
    assert not call("export", "fairseq", folder, back)
    assert capsys.readouterr().out == f"{back} is the checkpoint, with a prediction head for 7 units\n"
    tensors, original = read_checkpoint(back).tensors, HubertModel("large").state_dict()
    assert tensors.keys() == original.keys()
    assert all(torch.equal(tensor, original[name]) for name, tensor in tensors.items())
    (folder / HEAD_FILE).unlink()
    back.unlink()
    assert not call("export", "fairseq", folder, back)
    assert capsys.readouterr().out == f"{back} is the checkpoint, without a prediction head\n"


def test_a_head_that_is_left_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "checkpoint.pt", state(cfg=settings("base", target_glu=True), optimizer_history=[]))
    assert not call("import-fairseq", file, tmp_path / "hubert")
    said = capsys.readouterr().out
    assert f"the HuBERT of {file}, without its prediction head (its embeddings of labels go through a gated" in said


def test_mistakes_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = save(tmp_path / "wav2vec.pt", state(cfg=settings("base", _name="wav2vec2")))
    folder = tmp_path / "hubert"
    for arguments, message in (
        (("import_fairseq", tmp_path / "none.pt", folder), "none.pt is not a file"),
        (("import_fairseq", other, folder), "holds fairseq's model 'wav2vec2', and only 'hubert' can be imported"),
        (("import_fairseq", other, tmp_path), "give another folder, or remove it yourself"),
        (("export", "fairseq", folder, tmp_path / "back.pt"), "hubert is not a folder"),
        (("export", "fairseq", folder, other), "wav2vec.pt is there already"),
    ):
        code = call(*arguments)
        shown = capsys.readouterr()
        assert message in f"{code}{shown.err}"
        assert not shown.out
    assert not folder.exists()
    assert call("import_fairseq", other) == 2
    assert "the following arguments are required: DIR" in capsys.readouterr().err
