"""Every bad input that we thought of, and the test (in tests/) that shows what becomes of it: one clear
message, or a count.

| bad input | test |
|---|---|
| corrupt audio, empty file, cut file, values that are not finite | data/test_audio.py::test_bad_files_are_named |
| bad audio in a corpus, on_bad=skip | data/test_manifest.py::test_what_cannot_be_used_is_counted_by_reason_and_split |
| bad audio in a corpus, on_bad=error | data/test_manifest.py::test_on_bad_error_stops |
| missing audio in an ML-SUPERB tree | data/test_ml_superb.py::test_missing_audio_is_counted |
| audio gone bad since it was prepared | data/test_dataset.py::test_audio_that_went_bad_is_named_whoever_reads_it |
| audio gone bad since it was prepared, in a run | test_bad_input.py::test_audio_that_went_bad_stops_a_run_by_its_name |
| audio that has come or changed since it was prepared | data/test_stored_manifest.py::test_changed_audio_is_looked_at_again |
| table of rows, columns or cells that are none | data/test_table_faults.py::test_refused_with_file_line_and_remedy |
| columns of which none, or more than one, may be the text | data/test_hf.py::test_columns_that_cannot_be_told |
| data set of the hub that is not there, or a hub that does not answer | data/test_hf.py::test_a_hub_that_does_not_answer |
| split that a data set of the hub does not have | data/test_hf.py::test_a_split_that_is_missing_is_counted_or_held_out |
| manifest of lhotse with broken lines | data/test_lhotse.py::test_broken_cuts_are_named |
| cuts that are no part of one file | data/test_lhotse.py::test_cuts_that_are_no_part_of_one_file_are_counted |
| label of a language that is no code | data/test_own.py::test_what_the_user_gave_counts_for_more |
| folder in no known form | commands/test_data_new.py::test_unknown_forms_are_told_what_is_known |
| null audio in a Parquet file | data/test_ml_superb_hf.py::test_null_audio_is_counted_as_a_null_text_is |
| hypotheses in another encoding | runs/test_hypotheses.py::test_another_encoding_is_named_with_its_line |
| unreadable audio to transcribe | test_run.py::test_transcribe_reads_any_file |
| one bad file among those to transcribe | runs/test_transcribe_files.py::test_one_bad_file_does_not_take_the_others_along |
| another sampling rate, resample=false, in a corpus | data/test_manifest.py::test_errors |
| another sampling rate, resample=false, when it is read | data/test_audio.py::test_resampling_keeps_a_tone |
| empty transcript | data/test_manifest.py::test_what_cannot_be_used_is_counted_by_reason_and_split |
| transcript line without text, transcript file missing | data/test_ml_superb.py::test_the_tree_is_read |
| transcript that is not UTF-8 | data/test_ml_superb.py::test_a_transcript_in_another_encoding_is_named |
| transcript of punctuation alone, in training | test_bad_input.py::test_a_batch_of_empty_targets_has_a_loss |
| transcript of punctuation alone, in validation | benchmark/test_recogniser.py::test_texts_without_any_token_can_be_validated |
| no training text at all | test_bad_input.py::test_training_without_any_text_is_refused |
| too short audio | objectives/test_ctc_objective.py::test_utterances_too_short_for_their_text_are_counted_and_weigh_nothing |
| too little audio for its text, in a run | test_bad_input.py::test_audio_too_short_for_its_text_is_counted_in_the_result |
| audio shorter than a frame | upstreams/test_all_upstreams.py::test_very_short_audio_goes_forward_and_backward |
| unknown language in a corpus | data/test_manifest.py::test_errors |
| unknown language asked for, YAML's `no` and `nan` | data/test_languages.py::test_problems_explain_the_traps |
| language that training did not have | benchmark/test_recogniser.py::test_a_language_that_training_did_not_have_is_always_wrong |
| few-shot utterances that are not there | data/test_ml_superb.py::test_the_tree_is_read |
| id that occurs twice | data/test_manifest.py::test_errors |
| wrong corpus folder | data/test_ml_superb.py::test_a_wrong_root_is_explained |
| loss that is not finite | training/test_trainer.py::test_a_non_finite_loss_names_its_batch_and_keeps_the_checkpoint |
| gradient that is not finite | training/test_trainer.py::test_a_non_finite_gradient_is_found_although_the_loss_is_finite |
| full disk, checkpoint | training/test_trainer.py::test_a_full_disk_is_one_clear_error_and_loses_nothing |
| full disk, while decoding | benchmark/test_recogniser.py::test_a_full_disk_while_decoding_names_the_file |
| full disk, hypotheses | runs/test_hypotheses.py::test_a_failed_write_keeps_the_earlier_file |
| full disk, result | test_bad_input.py::test_a_full_disk_for_the_result_costs_nothing_but_another_start |
| full disk, status and log | test_bad_input.py::test_a_full_disk_does_not_hide_what_went_wrong |
| checkpoint of another run | training/test_trainer.py::test_a_foreign_checkpoint_is_refused |
| weights of another run, to evaluate | test_run.py::test_foreign_weights_are_refused |
| folder that is no run | test_run.py::test_a_folder_without_a_model_is_refused |
| other settings, other data in a run's folder | runs/test_run_folder.py::test_other_settings_in_the_same_folder_are_refused |
| data that changed under a run | runs/test_run_folder.py::test_changed_data_are_refused |
| two processes in one run | runs/test_run_folder.py::test_two_processes_do_not_share_a_run |
| upstream of a family that is not known | upstreams/test_huggingface.py::test_other_models_are_refused |
| upstream with the weights of another model | upstreams/test_huggingface.py::test_foreign_weights_are_named |
| upstream folder that is missing or no model | upstreams/test_huggingface.py::test_a_missing_folder_and_an_empty_one |
| upstream folder with damaged files or code | test_bad_input.py::test_a_damaged_checkpoint_is_refused_and_runs_no_code |
| upstream for another sampling rate | upstreams/test_huggingface.py::test_other_sampling_rates_are_refused |
| hub, offline by choice and not in the cache | upstreams/test_huggingface.py::test_a_hub_that_cannot_be_reached |
| hub that does not answer | test_bad_input.py::test_a_hub_that_does_not_answer_is_one_clear_error |
| CUDA where there is none | training/test_trainer.py::test_problems_are_seen_before_training |
| extra that is not installed: synthetic | data/test_synthetic_corpus.py::test_absent_packages_are_a_problem |
| extra that is not installed: phonemes | test_bad_input.py::test_phonemes_without_their_extra |
| extra that is not installed: wandb | test_bad_input.py::test_wandb_without_its_extra |
| unknown names on the command line | config/test_options.py::test_unknown_names_are_answered_with_the_nearest |
| --config-dir that is not there | test_bad_input.py::test_a_config_folder_that_is_not_there |
| several problems in one configuration | config/test_settings.py::test_all_problems_are_listed_at_once |
| several problems, as a user meets them | test_bad_input.py::test_a_command_with_several_problems_lists_them_all |
| hypotheses that are none | runs/test_hypotheses.py::test_what_is_wrong_is_named_with_file_and_line |
| hypotheses that were removed | runs/test_finished_runs.py::test_removed_hypotheses_are_decoded_again_from_the_weights |
| data of an evaluation that changed | runs/test_finished_runs.py::test_an_evaluation_of_changed_data_is_made_anew |
| output folder that cannot be written | runs/test_finished_runs.py::test_the_output_folder_must_be_one_that_can_be_written |
| terminal that is not UTF-8 | runs/test_finished_runs.py::test_a_terminal_without_unicode_gets_what_it_can_show |
| paths with signs of Hydra's grammar | config/test_values.py::test_paths_are_taken_as_they_are |
| names with markup, control characters, formulas | scoring/test_escaping.py::test_a_terminal_shows_names_as_they_are |
| links in the folder of somebody else | runtime/test_whole_folder.py::test_nothing_is_written_through_a_link |
| decoding that was cut off within a letter | benchmark/test_recogniser.py::test_a_line_may_be_cut_within_a_letter |
"""

from __future__ import annotations

import ast
import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import transformers
from corpus_trees import spoil

from mlsuperb.benchmark import build
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data import phonemes
from mlsuperb.objectives.ctc import CTC
from mlsuperb.run import run_experiment
from mlsuperb.runs.run import Run
from mlsuperb.tasks.asr import ASR
from mlsuperb.types import BLANK, Encoded
from mlsuperb.upstreams.huggingface import HuggingFace

ROOT = Path(__file__).resolve().parents[1]
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def test_every_test_of_the_table_exists() -> None:
    assert __doc__ is not None
    rows = re.findall(r"^\| (.+?) \| (\S+\.py)::(\w+) \|$", __doc__, flags=re.MULTILINE)
    assert len(rows) == __doc__.count("::") >= 50, "every row names one test"
    known: dict[str, set[str]] = {}
    for bad_input, file, test in rows:
        if file not in known:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            known[file] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test in known[file], f"{bad_input}: {file} has no {test}"


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Configuration of a tiny run on a corpus of given texts: `corpus(["a b", "c"], "task=asr")`."""

    def make(texts: list[str], *overrides: str) -> dict[str, Any]:
        settings = ["data=table", "data.language=eng", f"output_root={tmp_path}/exp"]
        for split in ("train", "dev", "test"):
            lines = ["audio,text"]
            for number, text in enumerate(texts if split == "train" else ["a b", "b"]):
                noise = torch.randn(8_000, generator=torch.Generator().manual_seed(number)).numpy() / 10
                soundfile.write(tmp_path / f"{split}{number}.wav", noise, 16_000)
                lines.append(f"{split}{number}.wav,{text}")
            (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            settings.append(f"data.{split}={tmp_path}/{split}.csv")
        head = ["head=transformer_light", "head.size=16", "head.ffn_size=16", "head.num_heads=2", "decoding=greedy"]
        return compose([*settings, *head, "trainer=debug", "trainer.trackers=[]", "loading.num_workers=0", *overrides])

    return make


def folder_of(config: dict[str, Any]) -> Path:
    return Path(config["output_root"]) / config["run_id"]


def test_audio_that_went_bad_stops_a_run_by_its_name(corpus: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    config = corpus(["a b", "b a"])
    build.read_data(config)
    spoil(tmp_path / "train1.wav")
    with pytest.raises(ValueError, match=r"train1\.wav: cannot be read as audio .*Get the file again"):
        run_experiment(config)
    status = json.loads((folder_of(config) / "status.json").read_text(encoding="utf-8"))
    assert status["state"] == "failed"
    assert "train1.wav" in status["error"]


@pytest.mark.parametrize(
    ("texts", "task", "message"),
    [
        (["", " "], "asr_lid", "data=table has no train utterance after filtering"),
        (["?!", "[x]"], "asr", "the training split holds no text to build a vocabulary from"),
    ],
)
def test_training_without_any_text_is_refused(
    texts: list[str], task: str, message: str, corpus: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match=message):
        run_experiment(corpus(texts, f"task={task}"))


def test_a_batch_of_empty_targets_has_a_loss() -> None:
    """Its only path is the one of blanks; it must not stop a training."""
    objective = CTC(input_size=6, vocab_size=5).eval()
    encoded = Encoded(torch.randn(2, 4, 6), torch.tensor([4, 2]))
    result = objective(encoded, torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0]))
    blanks_BF = objective.log_probs(encoded).values[..., BLANK]
    assert result.loss.item() == pytest.approx(-(blanks_BF[0].sum() + blanks_BF[1, :2].sum()).item() / 2, rel=1e-5)
    assert int(result.counts["num_unaligned"]) == 0


def test_audio_too_short_for_its_text_is_counted_in_the_result(
    corpus: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    config = corpus(["a b", "abc " * 60, "b"])
    run_experiment(config)
    result = json.loads((folder_of(config) / "result.json").read_text(encoding="utf-8"))
    assert result["cost"]["utterances"] == 12, "3 utterances in each of 4 iterations"
    assert result["training"]["num_unaligned"] == 4
    assert "4 times a training example had fewer frames than tokens" in " ".join(capsys.readouterr().out.split())


@contextmanager
def full_disk_for(name: str) -> Iterator[None]:
    """Inside, nothing can be written to the temporary file that is to become `name`."""
    open_file = Path.open

    def open_full(self: Path, mode: str = "r", *rest: Any, **settings: Any) -> Any:
        full = self.name.startswith(f".{name}.") and mode == "wb"
        return open_file(Path("/dev/full") if full else self, mode, *rest, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        yield


@needs_dev_full
def test_a_full_disk_for_the_result_costs_nothing_but_another_start(corpus: Callable[..., dict[str, Any]]) -> None:
    config = corpus(["a b", "b a"])
    folder = folder_of(config)
    with (
        full_disk_for("result.json"),
        pytest.raises(OSError, match=r"could not write .*result\.json: No space left.*start the same command again"),
    ):
        run_experiment(config)
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "failed"
    assert not (folder / "result.json").exists()
    before = (folder / "model.safetensors").read_bytes()
    run_experiment(config)
    assert (folder / "result.json").is_file()
    assert (folder / "model.safetensors").read_bytes() == before


@needs_dev_full
def test_a_full_disk_does_not_hide_what_went_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"run_id": "r", "output_root": str(tmp_path), "seed": 0}
    run = Run(config)
    full = ExitStack()

    def fail() -> None:
        full.enter_context(full_disk_for("status.json"))
        raise ValueError("no audio")

    with full, pytest.raises(ValueError, match="no audio"), run:
        fail()
    assert "No space left" in caplog.text
    with (
        full,
        pytest.raises(OSError, match=r"could not write .*status\.json: No space left.*free some space") as raised,
        Run(config),
    ):
        full.enter_context(full_disk_for("status.json"))
    assert raised.value.errno == errno.ENOSPC


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    config = transformers.HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", r"config\.json is not JSON"),
        ("config.json", b"\xff\xfe", r"config\.json is not JSON"),
        ("config.json", b"[]", r"config\.json holds no JSON object"),
        ("preprocessor_config.json", b"{", r"preprocessor_config\.json is not JSON"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1", "weights cannot be read.*git-lfs pointer"),
        ("model.safetensors", None, "weights cannot be read.*cut short"),
        ("pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1", "weights cannot be read"),
        (
            "pytorch_model.bin",
            None,
            "weights cannot be read.*a pickle with more in it than tensors, which is never loaded",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_runs_no_code(
    name: str, content: bytes | None, message: str, checkpoint: Path, tmp_path: Path
) -> None:
    folder, harm = tmp_path / "model", tmp_path / "harm"
    shutil.copytree(checkpoint, folder)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    elif name == "pytorch_model.bin":
        torch.save({"a": Evil(harm)}, folder / name)
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-500])
    with pytest.raises(ValueError, match=message) as raised:
        HuggingFace(checkpoint=str(folder))
    assert "hf download" in str(raised.value)
    assert "weights_only" not in str(raised.value), "torch's advice to switch the safety off is not passed on"
    assert not harm.exists()
    if name == "config.json":
        assert re.search(message, HuggingFace.problems(checkpoint=str(folder))[0]), "seen before anything is loaded"


def test_a_hub_that_does_not_answer_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr("transformers.utils.cached_file", unreachable)
    with pytest.raises(
        ValueError, match=r"nobody/nothing \(main\) could not be read: We couldn't connect.*hf download"
    ):
        HuggingFace(checkpoint="nobody/nothing")


def test_phonemes_without_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phonemes, "find_spec", lambda name: None)
    task = ASR(units="phoneme", normaliser="v1_mono", monolingual=True)
    for language, package in phonemes.PHONEME_LANGUAGES.items():
        with pytest.raises(
            ValueError, match=rf"'{language}' need the package {package}: pip install 'mlsuperb\[phonemes\]'"
        ):
            task.check_languages({language})


def test_wandb_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find_spec(name, *rest)
    )
    (problem,) = find_problems(compose(["trainer.trackers=[wandb]"]), groups=("trainer",))
    assert problem == "trainer.trackers has wandb, which is not installed: pip install 'mlsuperb[wandb]'"


def start(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(cwd),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, "-m", "mlsuperb.run", *arguments],
        capture_output=True, text=True, cwd=cwd, env=environment, check=False,
    )  # fmt: skip


def test_a_command_with_several_problems_lists_them_all(tmp_path: Path) -> None:
    done = start(
        "data=table", "data.train=/no/train.csv", "data.dev=null", "data.test=null", "upstream=hubert_base",
        "trainer.device=cuda", "trainer.accumulate=3", "head.num_heads=7", "task.units=phoneme", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for expected in (
        "this configuration cannot run:\n  1. ",
        "HF_HUB_OFFLINE is set and facebook/hubert-base-ls960 (main) is not in the cache",
        "trainer.device=cuda was asked for, but torch",
        "trainer.iterations_per_epoch=500 must be a multiple of trainer.accumulate=3",
        "head.num_heads",
        "task.units=phoneme is for monolingual ASR",
        "/no/train.csv",
    ):
        assert expected in done.stderr, done.stderr[-3000:]


def test_a_config_folder_that_is_not_there(tmp_path: Path) -> None:
    done = start("--config-dir", "/no/such/folder", "upstream=fbank", cwd=tmp_path)
    assert done.returncode == 1
    assert "/no/such/folder" in done.stderr
    assert "Traceback" not in done.stderr
