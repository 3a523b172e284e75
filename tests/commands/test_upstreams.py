"""`mlsuperb upstreams`: what is known of every speech model, without loading one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsuperb.commands.upstreams import cards, main, table
from mlsuperb.config.options import conf_dir, options


def test_every_option_has_a_row() -> None:
    rows = {row[0]: row for row in table(cards()).rows}
    assert list(rows) == options("upstream", [conf_dir()])
    assert rows["whisper_base"] == (
        "whisper_base", "19.8", "7", "512", "50", "apache-2.0", "the real weights", "undisclosed"
    )  # fmt: skip
    assert rows["fbank_10ms"][1:5] == ("0", "1", "80", "100")  # builds on fbank
    assert rows["hf"][1:] == ("-",) * 7


def test_words_choose_and_a_whole_name_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    main(["mhubert_147"])
    printed = capsys.readouterr().out
    assert "utter-project/mHuBERT-147\n" in printed
    assert "VoxPopuli" in printed
    assert "2 upstreams" in printed
    assert "AISHELL-1, AISHELL-3, BibleTTS and 14 more" in printed
    assert "whisper" not in printed


def test_an_own_upstream_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "upstream").mkdir()
    text = "name: mine\ncheckpoint: me/mine\ncard: {params_m: 1.5, checked_on: Mars, pretrained_on: some}\n"
    (tmp_path / "upstream" / "mine.yaml").write_text(text, encoding="utf-8")
    main(["mine", "--config-dir", str(tmp_path), "--out", str(tmp_path / "table.md")])
    assert "me/mine" in capsys.readouterr().out
    row = "| mine | 1.5 | - | - | - | - | Mars | some |"
    assert row in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no upstream has 'wisper' in its name, licence or corpora; nearest: whisper"):
        cards(["wisper"])
    with pytest.raises(
        ValueError, match=r"no upstream has 'zzz' in its name, licence or corpora; mlsuperb upstreams lists them all"
    ):
        cards(["zzz"])
    assert "whisper_base" in cards(["Whisper"])


def test_licences_and_corpora_are_searched_too(capsys: pytest.CaptureFixture[str]) -> None:
    by_licence, by_corpus = cards(["apache"]), cards(["voxpopuli"])
    assert {"hubert_base", "whisper_base"} <= by_licence.keys()
    assert "xls_r_300m" in by_corpus
    assert "fbank" not in {**by_licence, **by_corpus}
    assert all("apache" in node["card"]["licence"] for node in by_licence.values())
    main(["fbank_10ms", "mfcc"])
    assert capsys.readouterr().out.count("no weights") >= 2
