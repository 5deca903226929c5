"""Where the state of a checkpoint lies, by its manifest: proto/checkpoint.proto, read by hand."""

import struct

_HEADER = struct.Struct("<8sIIQ")  # magic, version, features, length of the body


def _fields(message):
    """Number and value of each field; the value of one with a length as bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            length = varint()
            yield number, message[at:at + length]
            at += length
        else:
            at += {1: 8, 5: 4}[kind]


def _of(message, number):
    return [value for n, value in _fields(message) if n == number]


def extents(entry):
    """Of an entry of the checkpoint log: {file: [(offset, length), ...]}; a leader's, or what is
    no whole entry, names none."""
    if len(entry) < _HEADER.size or not entry.startswith(b"WEIRCKPT"):
        return {}
    length = _HEADER.unpack_from(entry)[3]
    found = {}
    for manifest in _of(entry[_HEADER.size:_HEADER.size + length], 1):
        for vertex in _of(manifest, 9):
            for subtask in _of(vertex, 6):
                handles = _of(subtask, 3) + _of(subtask, 5) + _of(subtask, 6)
                for operator in _of(subtask, 4):
                    handles += _of(operator, 6)
                for handle in handles:
                    file = _of(handle, 2)[0].decode() if _of(handle, 2) else ""
                    for extent in _of(handle, 3):
                        span = dict(_fields(extent))
                        if file and span.get(2):
                            found.setdefault(file, []).append((span.get(1, 0), span[2]))
    return found
