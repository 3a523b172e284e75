"""Language codes of corpora and of models that write many languages."""

from __future__ import annotations

from collections.abc import Mapping

# ISO 639-3 code (or a benchmark's own label) -> codes that models use for it: of macrolanguages, the member that is meant
ALIASES: dict[str, tuple[str, ...]] = {
    "ara": ("arb",), "aze": ("azj",), "est": ("ekk",), "fas": ("pes",), "ful": ("fuv",), "kur": ("ckb", "kmr"), "lav": ("lvs",),
    "mlg": ("plt",), "mon": ("khk",), "msa": ("zsm", "zlm"), "nep": ("npi",), "nor": ("nob",), "ori": ("ory",), "orm": ("gaz",),
    "org_jpn": ("jpn",), "pus": ("pbt",), "que": ("quy",), "sqi": ("als",), "swa": ("swh",), "uzb": ("uzn",), "yid": ("ydd",),
    "zho": ("cmn",),
}  # fmt: skip


def with_aliases(codes: Mapping[str, int], own: Mapping[str, str]) -> dict[str, int]:
    """Code -> token for the codes of a model, their aliases, and those that the user names.

    Args:
        codes: of the model.
        own: code of the data -> code of the model.

    Raises:
        ValueError: the user names a code that the model does not have.
    """
    if unknown := sorted(set(own.values()) - set(codes)):
        raise ValueError(f"model.language_codes names {', '.join(unknown)}; the model has {', '.join(sorted(codes))}")
    aliases = {code: next((one for one in there if one in codes), None) for code, there in ALIASES.items()}
    known = {code: codes[one] for code, one in aliases.items() if one is not None and code not in codes}
    # and a member of a macrolanguage that the model has one code for (Whisper's `zho` is Mandarin)
    known |= {there[0]: codes[code] for code, there in ALIASES.items() if code in codes and there[0] not in codes}
    return {**codes, **known, **{code: codes[one] for code, one in own.items()}}


def code_problems(new: Mapping[str, str]) -> list[str]:
    """What can be said against new languages without a model."""
    return [
        f"model.new_languages: {code!r} is no code of a language: give an ISO 639-3 code (three small letters), such as bem"
        for code in new
        if not code.isidentifier()
    ]
