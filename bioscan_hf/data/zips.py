"""Members of a zip archive of any size, read in place.

An archive of BIOSCAN-5M has up to 5,150,850 members in 39 GB. `zipfile` makes a Python object of each. Here the
directory becomes five arrays, 28 bytes a member. Format: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3 (ZIP64).
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bioscan_hf.data.messages import shown

LARGEST_MEMBER = 64 << 20
"""Bytes that a member may have; a larger one is not an image of a specimen."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s2xHH4x12xHH")
_LENGTHS = struct.Struct("<3H")
_ENTRY = np.dtype(
    {
        "names": ["signature", "crc", "compressed", "size", "name", "extra", "disk", "offset"],
        "formats": ["S4", "<u4", "<u4", "<u4", "<u2", "<u2", "<u2", "<u4"],
        "offsets": [0, 16, 20, 24, 28, 30, 34, 42],
        "itemsize": 46,
    }
)
_IN_ZIP64 = 0xFFFFFFFF  # stands for a number that is in the ZIP64 field
_STORED, _DEFLATED = 0, 8
_BLOCK_BYTES = 4 << 20
_MANY = 1 << 20
# Bytes read beyond what a member needs at least: its local header has extra fields of a length not known before.
_EXTRA_BYTES = 64


def climbs_out(name: str) -> bool:
    r"""Whether a member's name is no plain path below its folder.

    >>> climbs_out("images/val/a..b.jpg"), climbs_out("images/../../a"), climbs_out("C:a"), climbs_out("..\\a")
    (False, True, True, True)
    """
    return "\\" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/")


class ZipIndex:
    """The directory of a zip archive, and its members' content.

    Threads and forked processes may share it: reading moves no file position. Names are told apart by their hash
    (`hash`, which differs between processes), and compared in full when a member is read.

    Args:
        path: The archive. Its directory is read now, its members when they are asked for.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a whole zip archive on one disk, or a member has a name that climbs out of its folder
            or that another has, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        file = path.open("rb", buffering=0)
        weakref.finalize(self, file.close)
        self._descriptor = file.fileno()
        start, size, count = self._find_directory(file.seek(0, os.SEEK_END))
        self._hashes = np.empty(count, np.int64)
        self._offsets = np.empty(count, np.int64)
        self._compressed = np.empty(count, np.uint32)
        self._sizes = np.empty(count, np.uint32)
        self._crcs = np.empty(count, np.uint32)
        self._read_directory(start, size)
        order = np.argsort(self._hashes)
        for column in (self._hashes, self._offsets, self._compressed, self._sizes, self._crcs):
            column[:] = column[order]
        self._same_hash = self._members_of_same_hash()

    def __reduce__(self) -> tuple[type[ZipIndex], tuple[Path]]:
        # Hashes and the open file are this process's own.
        return ZipIndex, (self.path,)

    def __len__(self) -> int:
        return len(self._hashes)

    def sizes(self, names: Sequence[str]) -> np.ndarray:
        """Size of each member in bytes, int64; -1 where there is no such member."""
        rows = self._rows([name.encode() for name in names])
        sizes = np.full(len(rows), -1, np.int64)
        sizes[rows >= 0] = self._sizes[rows[rows >= 0]]
        return sizes

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Content of each member, None where there is no such member.

        Raises:
            ValueError: If a member is damaged, encrypted, compressed by another method than deflate, or too large.
        """
        encoded = [name.encode() for name in names]
        rows = self._rows(encoded)
        contents: list[bytes | None] = [None] * len(names)
        present = np.flatnonzero(rows >= 0)
        # In the order of the file, so that a disk reads forward.
        present = present[np.argsort(self._offsets[rows[present]])]
        rows = rows[present]
        columns = (present, self._offsets[rows], self._compressed[rows], self._sizes[rows], self._crcs[rows])
        for i, *entry in zip(*(column.tolist() for column in columns), strict=True):
            contents[i] = self._read_member(encoded[i], *entry)
        return contents

    def _fault(self, reason: str, name: bytes | None = None) -> ValueError:
        member = "" if name is None else f" ({shown(name.decode(errors='replace'))})"
        return ValueError(f"'{self.path}'{member} {reason}")

    def _pread(self, size: int, offset: int) -> bytes:
        """Bytes from `offset` on; fewer than `size` only at the end of the file."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def _find_directory(self, file_size: int) -> tuple[int, int, int]:
        """Start of the directory, its size in bytes, and the number of members, from the record at the file's end."""
        tail_start = max(0, file_size - _END.size - 0xFFFF - _END64_LOCATOR.size)
        tail = self._pread(file_size - tail_start, tail_start)
        at = tail.rfind(b"PK\x05\x06")
        while at >= 0 and not _ends_here(tail, at):
            at = tail.rfind(b"PK\x05\x06", 0, at)
        if at < 0:
            if self._pread(2, 0) != b"PK":
                raise self._fault("is not a zip archive.")
            raise self._fault("is a truncated zip archive: it does not end with an end record; download it again.")
        end = tail_start + at
        _, *disks, here, count, size, start, _ = _END.unpack_from(tail, at)
        at -= _END64_LOCATOR.size
        if at >= 0 and tail.startswith(b"PK\x06\x07", at):
            _, _, end, number_of_disks = _END64_LOCATOR.unpack_from(tail, at)
            record = self._pread(_END64.size, end) if end < file_size else b""
            if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
                raise self._fault("is a damaged zip archive: its ZIP64 end record is not where it should be.")
            _, _, _, _, *disks, here, count, size, start = _END64.unpack(record)
            disks.append(max(number_of_disks, 1) - 1)
        if any(disks) or here != count:
            raise self._fault("is a part of a zip archive on several disks; unite the parts first.")
        if start + size > end:
            raise self._fault("is a truncated or damaged zip archive: its directory would lie beyond its end record.")
        if count * _ENTRY.itemsize > size:
            raise self._fault(f"is a damaged zip archive: {count:,} members do not fit in {size:,} bytes of directory.")
        # Before memory is taken for so many.
        if count > _MANY and self._pread(4, start) != b"PK\x01\x02":
            raise self._fault(f"is a damaged zip archive: its directory is no list of {count:,} members.")
        return start, size, count

    def _read_directory(self, start: int, size: int) -> None:
        """Fill the columns, in the order of the directory."""
        damaged = self._fault(f"is a damaged zip archive: its directory is no list of {len(self):,} members.")
        listed = 0
        for block, starts, names in self._directory_blocks(start, size):
            data = np.frombuffer(block, np.uint8)
            entries = sliding_window_view(data, _ENTRY.itemsize)[starts].view(_ENTRY)[:, 0]
            rows = slice(listed, listed + len(names))
            if (entries["signature"] != b"PK\x01\x02").any() or rows.stop > len(self):
                raise damaged
            sizes, compressed, offsets = _zip64_resolved(data, starts, entries)
            # Sums of 64-bit numbers wrap around, but not if both are less than `start`.
            beyond = (offsets > start) | (compressed > start)
            for bad in np.flatnonzero(beyond | (offsets + compressed + _LOCAL.size + entries["name"] > start)):
                raise self._fault("lies beyond the end of the members: truncated or damaged archive.", names[bad])
            for bad in np.flatnonzero((entries["disk"] != 0) & (entries["disk"] != 0xFFFF)):
                raise self._fault("lies on another disk of the archive; unite the parts first.", names[bad])
            self._refuse_climbing_names(names)
            self._hashes[rows] = _hashes(names)
            self._offsets[rows] = offsets
            self._compressed[rows] = np.minimum(compressed, _IN_ZIP64)
            self._sizes[rows] = np.minimum(sizes, _IN_ZIP64)
            self._crcs[rows] = entries["crc"]
            listed = rows.stop
        if listed < len(self):
            raise damaged

    def _directory_blocks(self, start: int, size: int) -> Iterator[tuple[bytes, np.ndarray, list[bytes]]]:
        """Pieces of the directory, with the starts and the names of the whole entries in each."""
        rest = b""
        for at in range(start, start + size, _BLOCK_BYTES):
            block = rest + self._pread(min(_BLOCK_BYTES, start + size - at), at)
            starts, names, position = [], [], 0
            while position + _ENTRY.itemsize <= len(block):
                name_length, extra, comment = _LENGTHS.unpack_from(block, position + 28)
                name_start = position + _ENTRY.itemsize
                following = name_start + name_length + extra + comment
                if following > len(block):
                    break
                starts.append(position)
                names.append(block[name_start : name_start + name_length])
                position = following
            rest = block[position:]
            if starts:
                yield block, np.array(starts), names
        if rest:
            raise self._fault("is a damaged zip archive: its directory ends inside an entry.")

    def _refuse_climbing_names(self, names: list[bytes]) -> None:
        joined = b"\n" + b"\n".join(names)
        # Four fast searches pass nearly every block; only a suspicious one is looked through name by name.
        if any(mark in joined for mark in (b"..", b"\\", b":", b"\n/")):
            for name in names:
                if climbs_out(name.decode(errors="replace")):
                    raise self._fault("has a name that climbs out of its folder; the archive is refused.", name)

    def _members_of_same_hash(self) -> dict[bytes, int]:
        """Rows of the members whose hash another member has, too; usually none."""
        equal = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        rows: dict[bytes, int] = {}
        for row in np.union1d(equal, equal + 1).tolist():
            header = self._pread(_LOCAL.size + 0xFFFF, int(self._offsets[row]))
            name = header[_LOCAL.size :][: _LOCAL.unpack_from(header)[3]]
            # Writers may list a folder more than once, which does no harm.
            if name in rows and not name.endswith(b"/"):
                raise self._fault("occurs more than once in the archive.", name)
            rows[name] = row
        return rows

    def _rows(self, names: list[bytes]) -> np.ndarray:
        """Row of each member, -1 where there is none."""
        if not len(self):
            return np.full(len(names), -1)
        hashes = _hashes(names)
        rows = np.minimum(np.searchsorted(self._hashes, hashes), len(self) - 1)
        rows[self._hashes[rows] != hashes] = -1
        if self._same_hash:
            rows = np.array([self._same_hash.get(name, row) for name, row in zip(names, rows, strict=True)])
        return rows

    def _read_member(self, name: bytes, offset: int, compressed: int, size: int, crc: int) -> bytes | None:
        """Content of a member; None if the archive has another member, whose name has the same hash."""
        if max(size, compressed) > LARGEST_MEMBER:
            raise self._fault(
                f"has {max(size, compressed):,} bytes, more than the {LARGEST_MEMBER:,} of any image.", name
            )
        data = self._pread(_LOCAL.size + len(name) + _EXTRA_BYTES + compressed, offset)
        signature, flags, method, name_length, extra = _LOCAL.unpack_from(data.ljust(_LOCAL.size))
        found = data[_LOCAL.size : _LOCAL.size + name_length]
        if signature != b"PK\x03\x04" or found != name:
            if signature == b"PK\x03\x04" and (_hashes([found]) == _hashes([name])).all():
                return None
            raise self._fault("is not where the directory says: damaged archive.", name)
        if flags & 1:
            raise self._fault("is encrypted; expected an archive without a password.", name)
        begin = _LOCAL.size + name_length + extra
        content = data[begin : begin + compressed]
        if len(content) < compressed:
            content = self._pread(compressed, offset + begin)
        if method == _DEFLATED:
            content = self._inflated(content, size, name)
        elif method != _STORED:
            raise self._fault(f"is compressed by method {method}; expected stored (0) or deflated (8).", name)
        if len(content) != size:
            raise self._fault(f"has {len(content):,} bytes instead of {size:,}: damaged archive.", name)
        if zlib.crc32(content) != crc:
            raise self._fault("does not match its CRC-32: damaged archive; download it again.", name)
        return content

    def _inflated(self, content: bytes, size: int, name: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated = inflater.decompress(content, size + 1)
        except zlib.error as error:
            raise self._fault(f"cannot be inflated ({error}): damaged archive.", name) from error
        if len(inflated) > size:
            raise self._fault(f"inflates to more than the {size:,} bytes that it should have; refused.", name)
        return inflated


def _hashes(names: list[bytes]) -> np.ndarray:
    return np.fromiter(map(hash, names), np.int64, len(names))


def _ends_here(tail: bytes, at: int) -> bool:
    """Whether the end record at `at`, with its comment, reaches exactly to the end of the file."""
    return at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail)


def _zip64_resolved(
    data: np.ndarray, starts: np.ndarray, entries: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Size, compressed size and offset of entries, uint64, those that need 64 bits from the ZIP64 extra field."""
    columns = [entries[name].astype(np.uint64) for name in ("size", "compressed", "offset")]
    sizes, compressed, offsets = columns
    rows = np.flatnonzero((sizes == _IN_ZIP64) | (compressed == _IN_ZIP64) | (offsets == _IN_ZIP64))
    field = starts[rows] + _ENTRY.itemsize + entries["name"][rows]
    end = field + entries["extra"][rows]
    # One step per extra field, for all entries together: from each field that is not the ZIP64 one to the next.
    while len(rows):
        inside = field + 4 <= end
        rows, field, end = rows[inside], field[inside], end[inside]
        kind, length = _integers(data, field, "<u2"), _integers(data, field + 2, "<u2")
        value, limit = field + 4, np.minimum(field + 4 + length, end)
        for column in columns:
            here = (kind == 1) & (column[rows] == _IN_ZIP64) & (value + 8 <= limit)
            column[rows[here]] = _integers(data, value[here], "<u8")
            value = value + 8 * here
        others = kind != 1
        rows, field, end = rows[others], limit[others], end[others]
    return sizes, compressed, offsets


def _integers(data: np.ndarray, at: np.ndarray, dtype: str) -> np.ndarray:
    return sliding_window_view(data, np.dtype(dtype).itemsize)[at].view(dtype)[:, 0]
