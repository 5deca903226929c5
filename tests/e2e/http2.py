"""Just enough HTTP/2 to send gRPC servers what no proper client would."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def call(method, message, compressed=0, length=None, stream=1):
    """The frames of one unary call; `length` is what the message's prefix says."""
    headers = b"".join(literal(*field) for field in (
        (":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "x"),
        ("te", "trailers"), ("content-type", "application/grpc")))
    prefix = struct.pack(">BI", compressed, len(message) if length is None else length)
    body = prefix + message
    frames = [frame(HEADERS, END_HEADERS, stream, headers)]
    for at in range(0, len(body), 16384):
        frames.append(frame(DATA, 0, stream, body[at:at + 16384]))
    return b"".join(frames) + frame(DATA, END_STREAM, stream)


def send(port, data, wait_s=0.2):
    """Sends, and reads until the server hangs up, answers with trailers, or says no more."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.settimeout(wait_s)
            while len(answer) < 1 << 20:
                got = connection.recv(65536)
                if not got:
                    break
                answer += got
        except OSError:
            pass  # it may hang up on us
    return answer
