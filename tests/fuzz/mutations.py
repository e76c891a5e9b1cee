"""Files that are nearly right: seeds with some of what goes wrong in real files, and some of what is meant to."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

TOKENS = (
    *(b"\0", b"\n", b"\r", b"\r\n", b"\t", b",", b'"', b">", b"|", b";", b"=", b"\x1b[2J\x1b]0;owned\x07", b"\x9b31m"),
    *(
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xed\xa0\x80",
        "\u202e\u2028\x85É".encode(),
        b"\\ud800",
        b"\\n",
        b"\\u0000",
    ),
    *(b"nan", b"NaN", b"-inf", b"1e999", b"1" * 400, b"-0", b"0x10", b"None", b"../../../x", b"/dev/zero", b"C:\\x"),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b'"' * 7,
        b"," * 3000,
        b"\n" * 3000,
        b"A" * 5000,
        b"=cmd|'/c calc'!A1",
        b"$\\frac{$",
    ),
    *(b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff" * 8, b"PK\x01\x02", b"PK\x05\x06", b"PAR1"),
)
_Edit = Callable[[bytes, int, int, bytes], bytes]


def _flipped(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :] if data else token


def _cut_out(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[:at] + data[at + length :]


def _cut_off(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[:at]


def _doubled(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[: at + length] + data[at:]


def _moved(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[at : at + length] + data[:at] + data[at + length :]


def _inserted(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[:at] + token + data[at:]


def _overwritten(data: bytes, at: int, length: int, token: bytes) -> bytes:
    return data[:at] + token + data[at + len(token) :]


_EDITS: tuple[_Edit, ...] = (_flipped, _cut_out, _cut_off, _doubled, _moved, _inserted, _overwritten)


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 4) -> bytes:
    """One of the seeds after up to `most` edits."""
    data = draw(st.sampled_from(list(seeds)))
    for _ in range(draw(st.integers(0, most))):
        edit, token = draw(st.sampled_from(_EDITS)), draw(st.sampled_from(TOKENS) | st.binary(max_size=8))
        # Small numbers are found first when an example is made simpler, and all places are as likely.
        at, length = draw(st.integers(0, max(len(data) - 1, 0))), draw(st.integers(1, 64))
        data = edit(data, at, length, token)
    return data


def encoded(texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The texts in the encodings and with the ends of lines that programs write."""

    def written(text: bytes, way: str) -> bytes:
        letters = text.decode("utf-8", "replace")
        if way == "bom":
            return codecs.BOM_UTF8 + text
        if way in ("crlf", "cr"):
            return text.replace(b"\n", b"\r\n" if way == "crlf" else b"\r")
        return letters.encode(way, "replace")

    ways = st.sampled_from(["bom", "crlf", "cr", "utf-16", "utf-16-le", "latin-1", "utf-8"])
    return texts | st.builds(written, texts, ways)
