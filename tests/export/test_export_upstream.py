from __future__ import annotations

import json
from pathlib import Path

import hub_rules
import pytest
import torch
from tiny_checkpoints import READERS, write_checkpoint
from trained_runs import add_result, trained_run

from mlsuperb.benchmark import build
from mlsuperb.commands.export import main
from mlsuperb.export.upstream import export_upstream
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.huggingface import EXPORT_FILE, HuggingFace

# what is trained -> the family of its checkpoint (None: upstream=tiny)
CASES = {
    "adaptation=full": None,
    "adaptation=partial adaptation.layers=[2,3]": "xls_r",
    "adaptation=lora adaptation.rank=4 adaptation.gradient_checkpointing=true": "hubert_base",
    "adaptation=lora adaptation.dora=true adaptation.rslora=true adaptation.ffn=true": "mms",
    "adaptation=full adaptation.gradient_checkpointing=true": "w2v_bert",
    "adaptation=bitfit trainer.optimizer.lr=0.01": "omniasr",
}


def make(tmp_path: Path, overrides: str, family: str | None) -> Path:
    if family is None:
        return trained_run(tmp_path / "run", "upstream=tiny", *overrides.split())
    checkpoint = write_checkpoint(tmp_path / "checkpoint", family)
    option = ["upstream=omniasr_w2v_300m", "~upstream.card"] if family == "omniasr" else ["upstream=hf"]
    return trained_run(tmp_path / "run", *option, f"upstream.checkpoint={checkpoint}", *overrides.split())


def layers(upstream: Upstream) -> tuple[torch.Tensor, ...]:
    wave_BT = 0.3 * torch.randn(3, 24_000, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        return upstream.eval()(wave_BT, torch.tensor([24_000, 17_001, 900])).layers


@pytest.mark.parametrize(("overrides", "family"), CASES.items(), ids=CASES)
def test_the_exported_upstream_gives_the_layers_of_the_run(overrides: str, family: str | None, tmp_path: Path) -> None:
    run = make(tmp_path, overrides, family)
    done = export_upstream(run, tmp_path / "export")
    names = {path.name for path in done.folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", EXPORT_FILE}
    card = (done.folder / "README.md").read_text()
    assert hub_rules.problems(card) == []
    assert str(tmp_path) not in card
    trained = layers(build.load_recogniser(run, build.load_config(run)).model.upstream)
    exported = layers(HuggingFace(checkpoint=str(done.folder)))
    assert len(exported) == len(trained) >= 4
    for one, other in zip(exported, trained, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert done.difference < 1e-5
    if family is not None:  # and these are not the layers that it began with
        begun = layers(READERS[family][1](checkpoint=str(tmp_path / "checkpoint")))
        assert (begun[-1] - exported[-1]).abs().max() > 0.01


def test_s3prls_features_stay_s3prls(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "xls_r")
    run = trained_run(
        tmp_path / "run",
        "upstream=s3prl",
        f"upstream.checkpoint={checkpoint}",
        "upstream.kind=transformers",
        "adaptation=full",
    )
    done = export_upstream(run, tmp_path / "export")
    assert done.overrides.startswith("upstream=s3prl upstream.kind=transformers upstream.checkpoint=/")
    assert json.loads((done.folder / "preprocessor_config.json").read_text())["do_normalize"] is True


def test_the_conventions_of_a_run_stay_with_what_it_exports(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "xls_r")
    run = trained_run(
        tmp_path / "run",
        "upstream=hf",
        f"upstream.checkpoint={checkpoint}",
        "upstream.conventions=s3prl_hf",
        "adaptation=full",
    )
    done = export_upstream(run, tmp_path / "export")
    assert done.overrides.startswith("upstream=hf upstream.conventions=s3prl_hf upstream.checkpoint=/")
    assert json.loads((done.folder / "preprocessor_config.json").read_text())["do_normalize"] is True


def test_a_run_on_it_knows_where_it_is_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path, "adaptation=full", None)
    add_result(run, languages={"train": ["deu", "spa"]}, splits={"train": {"sha256": "1:ab"}})
    main(["upstream", str(run), str(tmp_path / "export")])
    said = capsys.readouterr().out
    assert "Use it: mlsuperb run upstream=hf upstream.checkpoint=" in said
    record = HuggingFace(checkpoint=str(tmp_path / "export")).record()
    assert record["exported_from"]["run_id"] == "run"
    assert record["exported_from"]["data"] == {
        "name": "synthetic", "synthetic": True, "release": None, "languages": ["deu", "spa"], "train_sha256": "1:ab"
    }  # fmt: skip
    second = trained_run(tmp_path / "second", "upstream=hf", f"upstream.checkpoint={tmp_path / 'export'}")
    assert json.loads((second / "upstream.json").read_text())["exported_from"]["run_id"] == "run"
    build.load_recogniser(second, build.load_config(second))


def test_another_folder_is_not_overwritten_and_its_own_is(tmp_path: Path) -> None:
    run = make(tmp_path, "adaptation=full", None)
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"mine is there already and holds no mlsuperb_export\.json"):
        export_upstream(run, foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    export_upstream(run, tmp_path / "export")
    (tmp_path / "export" / "stale").write_text("")
    export_upstream(run, tmp_path / "export")
    assert not (tmp_path / "export" / "stale").exists()
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("upstream=fbank adaptation=frozen", "Fbank is no HuBERT"),
        ("upstream=tiny adaptation=frozen", "nothing in it was trained"),
        ("upstream=tiny adaptation=houlsby", "no place"),
        ("upstream=tiny adaptation=lora_mixture", "no place"),
        ("upstream=tiny adaptation=qlora", "4 bits"),
    ],
)
def test_what_transformers_cannot_hold_is_refused(
    overrides: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained_run(tmp_path / "run", *overrides.split())
    with pytest.raises(ValueError, match=message):
        main(["upstream", str(run), str(tmp_path / "export")])
    assert not (tmp_path / "export").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the folder of a trained run"):
        main(["upstream", str(tmp_path), str(tmp_path / "export")])
