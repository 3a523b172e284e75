"""Language codes: ISO 639-3, plus the labels that ML-SUPERB made up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

BENCHMARK_LABELS = {"org_jpn": "Japanese (Common Voice, ML-SUPERB's second folder)"}


def is_language(code: str, extra: Collection[str] = ()) -> bool:
    """Whether `code` is an ISO 639-3 code, a label of ML-SUPERB's own, or one of `extra`."""
    return code in extra or code in BENCHMARK_LABELS or _iso_name(code) is not None


def language_name(code: str) -> str:
    """The English name of a language, or the code itself where there is none."""
    return BENCHMARK_LABELS.get(code) or _iso_name(code) or code


def nearest(code: str) -> str | None:
    """The ISO 639-3 code that was probably meant by a two-letter code (`no`), a bibliographic one (`ger`), a locale
    (`pt-BR`) or an English name; None where there is no such language."""
    from pycountry import languages

    stem = code.strip().lower().replace("_", "-").split("-")[0]
    for key in ("alpha_2", "alpha_3", "bibliographic"):
        if language := languages.get(**{key: stem}):
            return language.alpha_3
    try:
        return languages.lookup(code.strip()).alpha_3
    except LookupError:
        return None


def language_problems(
    codes: Iterable[Any], *, setting: str, extra: Collection[str] = (), group: str = "data"
) -> list[str]:
    """One sentence for every item of `codes` that is no language code; YAML's and Hydra's traps are explained. `group`:
    where the setting `extra_languages` stands that allows more."""
    return [
        _explain(code, setting=setting, group=group)
        for code in codes
        if not isinstance(code, str) or not is_language(code, extra)
    ]


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
