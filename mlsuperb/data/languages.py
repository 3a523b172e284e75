"""Language codes: ISO 639-3, the labels that ML-SUPERB made up, and whatever other codes a user's data have."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from mlsuperb.data.text import ML_SUPERB_CODE

BENCHMARK_LABELS = {"org_jpn": "Japanese (Common Voice, ML-SUPERB's second folder)"}


def is_language(code: str, extra: Collection[str] = ()) -> bool:
    """Whether `code` is an ISO 639-3 code, a label of ML-SUPERB's own, or one of `extra`."""
    return code in extra or code in BENCHMARK_LABELS or _iso_name(code) is not None


def language_name(code: str) -> str:
    """The English name of a language, or the code itself where there is none."""
    return BENCHMARK_LABELS.get(code) or _iso_name(code) or code


@cache
def iso_639_3(code: str) -> str | None:
    """The ISO 639-3 code of a language that is named by a code of two letters (`no`) or a locale (`pt-BR`, `cmn_hans_cn`); three
    small letters are taken for one as they are. None where there is no such language."""
    if len(code) == 3 and code.isascii() and code.isalpha() and code.islower():
        return code
    return None if code in BENCHMARK_LABELS else _language_of_stem(code)


def _language_of_stem(code: str) -> str | None:
    from pycountry import languages

    stem = code.strip().lower().replace("_", "-").split("-")[0]
    found = (languages.get(**{key: stem}) for key in ("alpha_2", "alpha_3", "bibliographic"))
    return next((language.alpha_3 for language in found if language), None)


def nearest(code: str) -> str | None:
    """The ISO 639-3 code that was probably meant by a code of another form (`no`, `ger`, `pt-BR`) or an English name; None where
    there is no such language."""
    from pycountry import languages

    if known := _language_of_stem(code):
        return known
    try:
        return languages.lookup(code.strip()).alpha_3
    except LookupError:
        return None


def hub_languages(codes: Iterable[str]) -> list[str]:
    """The languages as the filters of the Hugging Face hub know them: the code of ISO 639-1 (`de`), or that of 639-3 where there
    is none (`wol` is `wo`, `kea` stays); codes of neither are left out."""
    from pycountry import languages

    found = (languages.get(alpha_3=code.split("_")[-1] if code in BENCHMARK_LABELS else code) for code in codes)
    return sorted({getattr(one, "alpha_2", one.alpha_3) for one in found if one})


def looks_like_code(text: str) -> bool:
    """Whether a text has the form of ML-SUPERB's codes (`eng`, `org_jpn`), or begins as the code of a language does (`en`,
    `zh-CN`), in small letters."""
    return bool(ML_SUPERB_CODE.fullmatch(text)) or (text[:2].islower() and iso_639_3(text) is not None)


def can_be_token(code: str) -> bool:
    """Whether `[code]` can stand in an output and be found there: no bracket, no white space, nothing invisible, not empty."""
    return code.isprintable() and not any(one in "[]" or one.isspace() for one in code) and code != ""


def language_problems(
    codes: Iterable[Any], *, setting: str, extra: Collection[str] = (), group: str = "data"
) -> list[str]:
    """One sentence for every item of `codes` that is no language code; YAML's and Hydra's traps are explained. `group`:
    where the setting `extra_languages` stands that allows more."""
    return [
        _explain(code, setting=setting, group=group)
        for code in codes
        if not isinstance(code, str) or not can_be_token(code) or not is_language(code, extra)
    ]


def extra_problems(codes: Iterable[Any], *, group: str) -> list[str]:
    """One sentence for every item of the setting `extra_languages` of a group that cannot be a language code of any kind."""
    bad = [code for code in codes if not isinstance(code, str) or not can_be_token(code)]
    return [_explain(code, setting=f"{group}.extra_languages", group=group) for code in bad]


def _explain(code: Any, *, setting: str, group: str) -> str:
    if isinstance(code, bool):
        return (
            f"{setting} holds the truth value {code}, not a language: an unquoted `no`, `yes`, `on` or `off` is read "
            'as one. Write the ISO 639-3 code in quotes, such as "nor" for Norwegian.'
        )
    if isinstance(code, float):
        return (
            f"{setting} holds the number {code}, not a language: an unquoted `nan` is read as `not a number`. Quote "
            f'it: "nan" in YAML, \'{setting}=["nan"]\' on the command line.'
        )
    if not isinstance(code, str):
        return f'{setting} holds {code!r}, which is no text. Write ISO 639-3 codes in quotes, such as "eng".'
    if not can_be_token(code):
        return (
            f"{setting}: {code!r} cannot be a language code: models write it in brackets, as in [eng], so it must not be empty "
            "or hold brackets, white space or control characters. Give the language another code."
        )
    meant = nearest(code)
    hint = f" Did you mean {meant!r} ({language_name(meant)})?" if meant else ""
    return (
        f"{setting}: {code!r} is not an ISO 639-3 language code (three letters, such as 'eng').{hint} A code outside "
        f"ISO 639-3 can be allowed with '{group}.extra_languages=[{code}]'."
    )


@cache
def _iso_name(code: str) -> str | None:
    from pycountry import languages

    language = languages.get(alpha_3=code) if len(code) == 3 and code.islower() else None
    return language.name if language else None
