"""Mutations of the bytes, lines, rows, cells and values of a file that describes a corpus: each returns what it did, and the new
content."""

from __future__ import annotations

import re
from random import Random
from typing import Any

ODD_CELLS = [
    "", " ", "nan", "inf", "-1", "1e999", "1e-9", "7", "null", "[]", '["a", "b"]', '{"a": 1}', '"', '""', 'a"b', '"a"', "a,b",
    "a\tb", "a\nb", "\r", "\0", "\u2028", "\ufeff", "\ud83d", "😀", "../../x.wav", "/nowhere/x.wav", ".", "x" * 5000, "[[", "eng",
]  # fmt: skip
ODD_VALUES = [
    None, True, 7, 1.5, float("nan"), float("inf"), 10**30, [], ["a", "b"], {"a": 1}, [[[]]], b"a", *ODD_CELLS,
]  # fmt: skip
ODD_BYTES = [
    b'"', b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe4", b"\\ud83d", b"[", b"{", b"}", b"|",
]  # fmt: skip


def mutated_bytes(content: bytes, rng: Random) -> tuple[str, bytes]:
    at, end = sorted(rng.choices(range(len(content) + 1), k=2))
    odd = rng.choice(ODD_BYTES)
    kinds = {
        "flip a bit": lambda: content[:at] + bytes(one ^ 1 << end % 8 for one in content[at : at + 1]) + content[at + 1 :],
        "delete a byte": lambda: content[:at] + content[at + 1 :],
        f"insert {odd!r}": lambda: content[:at] + odd + content[at:],
        f"replace by {odd!r}": lambda: content[:at] + odd + content[at + 1 :],
        "cut off": lambda: content[:at],
        "delete a piece": lambda: content[:at] + content[end:],
        "repeat a piece": lambda: content[:end] + content[at:],
        "carriage returns": lambda: content.replace(b"\n", rng.choice([b"\r\n", b"\r"])),
        "another encoding": lambda: content.decode(errors="replace").encode(rng.choice(["utf-16", "utf-16-le", "utf-8-sig"])),
        "Latin-1": lambda: content.decode(errors="replace").encode("latin-1", errors="replace"),
    }  # fmt: skip
    name = rng.choice(list(kinds))
    return name, kinds[name]()


def mutated_lines(content: bytes, rng: Random) -> tuple[str, bytes]:
    lines = content.splitlines(keepends=True) or [b""]
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    line = lines[at]
    middle = rng.randrange(len(line) + 1)
    kinds = {
        "drop a line": [],
        "repeat a line": [line, line],
        "break a line": [line[:middle], b"\n", line[middle:]],
        "join a line to the next": [line.rstrip(b"\n")],
        "a blank line before": [rng.choice([b"\n", b" \n", b"\t\n", b",,\n"]), line],
        "copy another line": [lines[other]],
        "a foreign line before": [rng.choice([b"[]\n", b"{}\n", b"7\n", b'"\n', b"null\n", b"a b c d e\n"]), line],
    }
    name = rng.choice(list(kinds))
    return name, b"".join([*lines[:at], *kinds[name], *lines[at + 1 :]])


def mutated_rows(content: bytes, rng: Random, separator: str) -> tuple[str, bytes]:
    """The same in every row below the heading, as a program would do it."""
    heading, *lines = content.split(b"\n")
    sign, odd = separator.encode(), rng.choice(ODD_BYTES)
    kinds = {
        "a separator more in every text": lambda line: re.sub(rb"w\d+w", rb"\g<0>" + sign + b"x", line),
        "a separator more at every end": lambda line: line + sign,
        "no last cell": lambda line: line.rpartition(sign)[0],
        "columns turned round": lambda line: sign.join(reversed(line.split(sign))),
        f"{odd!r} in every text": lambda line: re.sub(rb"w\d+w", lambda found: found[0] + odd, line),
    }
    name = rng.choice(list(kinds))
    return name, b"\n".join([heading, *(kinds[name](line) if line else line for line in lines)])


def mutated_cells(content: bytes, rng: Random, separator: str) -> tuple[str, bytes]:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    cells = lines[at].split(separator.encode())
    place, odd = rng.randrange(len(cells)), rng.choice(ODD_CELLS).encode(errors="surrogatepass")
    kinds = {
        f"a cell is {odd[:20]!r}": [odd],
        "one cell less": [],
        "one cell more": [cells[place], odd[:9]],
        "a quotation mark before": [b'"' + cells[place]],
        "a quotation mark behind": [cells[place] + b'"'],
        "in quotation marks": [b'"' + cells[place] + b'"'],
    }
    name = rng.choice(list(kinds))
    lines[at] = separator.encode().join([*cells[:place], *kinds[name], *cells[place + 1 :]])
    return name, b"\n".join(lines)


def mutated_values(listed: list[dict[str, Any]], rng: Random) -> str:
    """Change, drop or rename a value of an object in place."""
    row = rng.choice(listed)
    key, odd = rng.choice(list(row) or ["x"]), rng.choice(ODD_VALUES)
    if rng.random() < 0.2:
        row.pop(key, None)
        return f"no {key}"
    row[key] = odd
    return f"{key} is {str(odd)[:20]!r}"
