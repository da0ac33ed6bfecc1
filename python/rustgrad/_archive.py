"""The zip archives of checkpoints: stored members whose data starts at a multiple of 64 bytes."""

from __future__ import annotations

import mmap as _mmap
import os
import struct
import zlib
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zipfile

ALIGNMENT = 64
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_UTF8, _SIZES_FOLLOW = 0x0800, 0x0008  # general purpose flags: how names are coded; sizes come after the data

_HELP = (
    " This is an internal miniz error. If you are seeing this error, there is a high likelihood that your checkpoint "
    "file is corrupted. This can happen if the checkpoint was not saved properly, was transferred incorrectly, or the "
    "file was modified after saving."
)


def _corrupt(what: str) -> RuntimeError:
    return RuntimeError(f"PytorchStreamReader failed {what}.{_HELP}")


class Writer:
    """Writes members one after the other, then the directory. Nothing is ever read or sought."""

    def __init__(self, file: IO[bytes], folder: str) -> None:
        self._file, self._folder, self._position = file, folder, 0
        self._directory: list[tuple[bytes, int, int, int]] = []
        self._names = self._sums = 0

    def _put(self, data: Any) -> None:
        self._file.write(data)
        self._position += len(data)

    def add(self, name: str, data: bytes | memoryview) -> None:
        path, start, size, crc = f"{self._folder}/{name}".encode(), self._position, len(data), zlib.crc32(data)
        wide = struct.pack("<HHQQ", 1, 16, size, size) if size >= _MAX32 else b""
        brief = _MAX32 if wide else 0
        fixed = start + 30 + len(path) + len(wide) + 4
        padding = -fixed % ALIGNMENT
        extra = wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        flags = _UTF8 | (_SIZES_FOLLOW if size else 0)
        head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, flags, 0, 0, 0, 0, brief, brief, len(path), len(extra))
        self._put(head + path + extra)
        if size:
            self._put(data)
            self._put(struct.pack("<IIQQ" if wide else "<IIII", 0x08074B50, crc, size, size))
        self._directory.append((path, start, size, crc))
        self._names = zlib.crc32(path, self._names)
        self._sums = zlib.crc32(struct.pack("<I", crc), self._sums)

    def serialization_id(self) -> bytes:
        """Forty digits that follow from the members' names and contents."""
        return f"{self._names:020}{self._sums:020}".encode()

    def close(self) -> None:
        begin = self._position
        for path, start, size, crc in self._directory:
            big = [n for n in (size, size, start) if n >= _MAX32]
            extra = struct.pack(f"<HH{len(big)}Q", 1, 8 * len(big), *big) if big else b""
            few, at = min(size, _MAX32), min(start, _MAX32)
            flags = _UTF8 | (_SIZES_FOLLOW if size else 0)
            head = (0x02014B50, 0, 0, flags, 0, 0, 0, crc, few, few, len(path), len(extra), 0, 0, 0, 0, at)
            self._put(struct.pack("<IHHHHHHIIIHHHHHII", *head) + path + extra)
        count, length, end = len(self._directory), self._position - begin, self._position
        self._put(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0x031E, 45, 0, 0, count, count, length, begin))
        self._put(struct.pack("<IIQI", 0x07064B50, 0, end, 1))
        few = min(count, _MAX16)
        tail = (0x06054B50, 0, 0, few, few, min(length, _MAX32), min(begin, _MAX32), 0)
        self._put(struct.pack("<IHHHHIIH", *tail))


class Reader:
    """Reads members by their name inside the archive's one folder."""

    def __init__(self, file: IO[bytes], mapped: bool = False) -> None:
        import zipfile  # only now: importing it takes a good part of the time of importing this package

        self._stored, self._bad = zipfile.ZIP_STORED, zipfile.BadZipFile
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, struct.error, OSError, NotImplementedError) as error:
            raise _corrupt("reading zip archive: failed finding central directory") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        folders = set()
        for info in self._zip.infolist():
            folder, _, name = info.filename.partition("/")
            folders.add(folder)
            if name in self._members:
                raise _corrupt(f"reading zip archive: member {name} occurs twice")
            self._members[name] = info
        if len(folders) != 1:
            raise _corrupt("reading zip archive: expected one folder in the archive")
        self._length = file.seek(0, os.SEEK_END)
        self._map: memoryview | None = None
        if mapped:
            self._map = memoryview(_mmap.mmap(file.fileno(), 0, access=_mmap.ACCESS_COPY))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self._members:
            raise _corrupt(f"locating file {name}: file not found")
        return self._members[name]

    def size(self, name: str) -> int:
        return self._info(name).file_size

    def read(self, name: str) -> bytes:
        """A member's bytes, its checksum verified."""
        info = self._info(name)
        stored = info.compress_type == self._stored
        if info.compress_size > self._length or (stored and info.file_size != info.compress_size):
            raise _corrupt(f"reading file {name}: its size goes beyond the archive")
        try:
            data = self._zip.read(info)
        except (self._bad, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise _corrupt(f"reading file {name}: {error}") from error
        if len(data) != info.file_size:
            raise _corrupt(f"reading file {name}: the archive ends early")
        return data

    def view(self, name: str) -> Any:
        """A member's bytes; straight from the mapped file where it was opened so and the member is stored."""
        info = self._info(name)
        if self._map is None or info.compress_type != self._stored:
            return self.read(name)
        at = info.header_offset
        head = bytes(self._map[at : at + 30])
        if len(head) != 30 or head[:4] != b"PK\x03\x04" or info.flag_bits & 1:
            raise _corrupt(f"reading file {name}: bad local header")
        path, extra = struct.unpack("<HH", head[26:30])
        start = at + 30 + path + extra
        if info.file_size != info.compress_size or start + info.file_size > self._length:
            raise _corrupt(f"reading file {name}: its size goes beyond the archive")
        return self._map[start : start + info.file_size]
