"""A shared library of Linux x86-64 (ELF64) read as data, on any platform: nothing of it is loaded or run."""

import struct

import numpy as np

SECTION = np.dtype(
    [
        *(("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"), ("size", "<u8")),
        *(("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entry", "<u8")),
    ]
)
SEGMENT = np.dtype(
    [
        ("type", "<u4"),
        ("flags", "<u4"),
        *((n, "<u8") for n in ("offset", "address", "physical", "size", "memory", "align")),
    ]
)
SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
RELOCATION = np.dtype([("address", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
LOAD, RELA, DYNSYM = 1, 4, 11  # types of a segment and of sections
TO_SYMBOL, RELATIVE = 1, 8  # R_X86_64_64, R_X86_64_RELATIVE


class ElfData:
    """The data of a library by address, and its pointers as the loader would set them.

    Args:
        data: the bytes of the file.

    Raises:
        ValueError: it is no ELF64 for x86-64, or truncated.
    """

    def __init__(self, data: bytes):
        if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64 or data[18:20] != b"\x3e\x00":
            raise ValueError("expected a shared library of Linux, x86-64")
        self._data = data
        segments_at, sections_at = struct.unpack_from("<QQ", data, 32)
        segment_count, section_count = struct.unpack_from("<H", data, 56)[0], struct.unpack_from("<H", data, 60)[0]
        segments = np.frombuffer(data, SEGMENT, segment_count, segments_at)
        self._segments = segments[segments["type"] == LOAD]
        sections = np.frombuffer(data, SECTION, section_count, sections_at)
        self._symbols: dict[str, int] = {}
        self._pointers: dict[int, int] = {}
        values: list[int] = []
        for section in sections[sections["type"] == DYNSYM]:
            values = self._read_symbols(section, sections)
        for section in sections[sections["type"] == RELA]:
            count = int(section["size"]) // RELOCATION.itemsize
            for row in np.frombuffer(data, RELOCATION, count, int(section["offset"])):
                if row["type"] in (TO_SYMBOL, RELATIVE):
                    base = values[int(row["symbol"])] if row["type"] == TO_SYMBOL else 0
                    self._pointers[int(row["address"])] = base + int(row["addend"])

    def symbol(self, name: str) -> int:
        """Return the address of a symbol that the library exports.

        Raises:
            ValueError: it has none of that name.
        """
        if name not in self._symbols:
            raise ValueError(f"it exports no {name}")
        return self._symbols[name]

    def pointer(self, address: int) -> int:
        """Return the address that the pointer at an address holds once the library is loaded.

        Raises:
            ValueError: there is none.
        """
        if address not in self._pointers:
            raise ValueError("a pointer is missing")
        return self._pointers[address]

    def array(self, address: int, dtype: str, count: int) -> np.ndarray:
        """Return a copy of `count` values at an address.

        Raises:
            ValueError: they are not all in the file.
        """
        for segment in self._segments:
            first, size = int(segment["address"]), int(segment["size"])
            if first <= address and address + count * np.dtype(dtype).itemsize <= first + size:
                offset = address - first + int(segment["offset"])
                return np.frombuffer(self._data, dtype, count, offset).copy()
        raise ValueError("an address is outside of the file")

    def _read_symbols(self, section: np.ndarray, sections: np.ndarray) -> list[int]:
        names = int(sections[int(section["link"])]["offset"])
        count = int(section["size"]) // SYMBOL.itemsize
        symbols = np.frombuffer(self._data, SYMBOL, count, int(section["offset"]))
        for symbol in symbols:
            start = names + int(symbol["name"])
            self._symbols[self._data[start : self._data.index(b"\0", start)].decode("latin-1")] = int(symbol["value"])
        return [int(value) for value in symbols["value"]]
