import pytest

from mlsuperb.data.text import LanguageTokens
from mlsuperb.tasks.asr import ASR
from mlsuperb.tasks.asr_lid import ASRLID
from mlsuperb.tasks.lid import LID
from mlsuperb.types import Utterance


def utterance(text: str, language: str = "eng") -> Utterance:
    return Utterance(
        id="x", audio="x.wav", start_s=0.0, duration_s=1.0, text=text, language=language, dataset="d", split="train"
    )


def test_targets_of_the_three_tracks() -> None:
    hello = utterance("[noise] Hi,  a!")
    assert ASR().target(hello) == ["H", "I", "<space>", "A"]
    assert LID().target(hello) == ["[eng]"]
    assert ASRLID().target(hello) == ["[eng]", "<space>", "H", "I", "<space>", "A"]


def test_a_text_that_is_empty_once_normalised_leaves_the_language_to_train_on() -> None:
    """As in ESPnet's stage 4, which drops lines with nothing behind the id: `[iso]` stands there."""
    silent = utterance("[noise] ...!?")
    assert (ASR().keeps(silent.text), ASRLID().keeps(silent.text), LID().keeps(silent.text)) == (False, True, True)
    assert (ASRLID().target(silent), LID().target(silent)) == (["[eng]"], ["[eng]"])
    assert all(task.keeps("A ...!?") for task in (ASR(), ASRLID(), LID()))


@pytest.mark.parametrize("task", [ASR(), LID(), ASRLID()])
def test_text_spells_the_target(task: ASR | LID | ASRLID) -> None:
    text = task.text(task.target(utterance("Hi a", "org_jpn")))
    assert text == {"asr": "HI A", "lid": "[org_jpn]", "asr_lid": "[org_jpn] HI A"}[task.name]
    assert task.language(text, LanguageTokens(["org_jpn"])) == (None if task.name == "asr" else "org_jpn")


def test_mandarin_phonemes_are_initials_and_toned_finals() -> None:
    pytest.importorskip("pypinyin")
    task = ASR(units="phoneme", normaliser="v1_mono")
    tokens = task.target(utterance("中国", "cmn"))
    assert tokens == ["zh", "ong1", "g", "uo2"]
    assert task.text(tokens) == "zh ong1 g uo2"


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("你好，世界。", "n i3 h ao3 ， sh i4 j ie4 。"),
        ("鱼 元云 学，军", "ü2 üan2 ün2 x üe2 ， j ün1"),
        ("女旅略虐", "n v3 l v3 l ve4 n ve4"),
        ("一五 王 有 牛鬼论", "i1 u3 uang2 iou3 n iou2 g uei3 l uen4"),
        ("哟", "io1"),
        ("了吗", "l e m a"),  # the neutral tone has no digit
        ("花儿", "h ua1 er2"),
        ("嗯", "n"),  # no final: the tone alone is no phone
        ("：“好", "：“ h ao3"),
        ("ABC，我", "ABC， uo3"),
        ("K歌 A中", "K g e1 A zh ong1"),
        ("25℃ 25 二5", "25℃ 25 er4"),  # one segment up to the next syllable; a number alone is no phone
    ],
)
def test_mandarin_phones_are_those_of_espnet(text: str, phones: str) -> None:
    """By its `pypinyin_g2p_phone` with pypinyin 0.44, worked out by hand."""
    pytest.importorskip("pypinyin")
    assert ASR(units="phoneme", normaliser="v1_mono").target(utterance(text, "cmn")) == phones.split()


def test_japanese_phonemes() -> None:
    pytest.importorskip("pyopenjtalk")
    assert ASR(units="phoneme", normaliser="v1_mono").target(utterance("猫", "jpn")) == ["n", "e", "k", "o"]


@pytest.mark.parametrize(("kind", "language"), [(ASR, ""), (ASRLID, "[deu] ")])
def test_phones_are_what_spaces_part(kind: type[ASR | ASRLID], language: str) -> None:
    task = kind(units="phone", normaliser="raw")
    tokens = task.target(utterance("ˈa  t͡ʃ ɪ ː g", "deu"))
    assert tokens == [*language.split(), "a", "t͡ʃ", "ɪ", "ː", "ɡ"]
    assert task.text(tokens) == f"{language}a t͡ʃ ɪ ː ɡ"
    assert task.language(task.text(tokens), LanguageTokens(["deu"])) == (language[1:4] or None)
    assert task.keeps("a")
    task.check_languages({"deu", "swa", "cmn"})
    facts = task.facts
    assert (facts.units, facts.unit_name, facts.normaliser) == ("phone", "PER", "raw")


def test_phones_are_not_normalised() -> None:
    (problem,) = ASR.problems(normaliser="v1", units="phone")
    assert "set task.normaliser=raw" in problem
    assert ASRLID.problems(normaliser="raw", units="phone") == []
    assert ASR(units="phone").facts.normaliser == "raw", "of lists of others, to which no setting belongs"


def test_words_are_no_phones() -> None:
    task = ASR(units="phone", normaliser="raw")
    task.check_texts(["HH AH0 L OW1", "tˤ͡ʃʰː", ""])
    task.check_texts([])
    with pytest.raises(ValueError, match=r"words and no phones \('sentence', 4.5 letters .*\+data/phones=espeak"):
        task.check_texts(["this whole sentence", "a"])
    ASR().check_texts(["this whole sentence"])


def test_phonemes_go_with_the_monolingual_track_alone() -> None:
    (problem,) = ASRLID.problems(normaliser="v1", units="phoneme")
    assert "task.units=phoneme is for monolingual ASR in jpn and cmn" in problem
    with pytest.raises(ValueError, match="no phonemes are defined for language 'eng'"):
        ASR(units="phoneme", normaliser="v1_mono").check_languages({"eng"})


def test_a_monolingual_task_refuses_several_languages() -> None:
    with pytest.raises(ValueError, match=r"the data hold 2 languages \(deu, eng \.\.\.\).*data.mono=eng1"):
        ASR(monolingual=True).check_languages({"eng", "deu"})
