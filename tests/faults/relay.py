"""A TCP relay for connections that network.py leads here: it delays, loses, damages and holds.

It runs in a thread of its own with an event loop; rules are given and taken while it runs. A rule
speaks of one link, "tm-1>broker": connections that tm-1 began to the broker.

    delay     {"ms": [50, 200]}   each piece of data, both ways, waits that long; order is kept;
                                  {"bytes_per_s": 375000} beside it: and no more than that passes
    damage    {"share": 0.05}     of that share of the pieces, both ways, a bit is flipped, all is
                                  there twice, or the halves have changed places
    swallow   {}                  answers do not come through; the requests do
    hold      {"kafka_api": 26}   requests of this Kafka API (26: EndTxn) wait until the rule goes
    reset     {}                  connections are reset, new ones refused
    freeze    {}                  nothing passes, nothing is refused; it goes on afterwards
"""

import asyncio
import random
import socket
import struct
import threading

_SO_ORIGINAL_DST = 80


class Rule:
    def __init__(self, link, mode, seed, **parameters):
        self.link, self.mode, self.parameters = link, mode, parameters
        self.dice = random.Random(seed)
        self.pieces = 0  # that it did something to
        self.over = asyncio.Event()


def flipped(piece, dice):
    spot = dice.randrange(len(piece))
    return piece[:spot] + bytes([piece[spot] ^ (1 << dice.randrange(8))]) + piece[spot + 1:]


def twice(piece, _):
    return piece + piece


def swapped(piece, _):
    return piece[len(piece) // 2:] + piece[:len(piece) // 2]


class Relay:
    def __init__(self, network):
        self.network = network
        self.rules = []
        self.routes = {}  # who is reached instead of whom
        self.connections = set()  # (link, writer of the client, writer of the server)
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "0.0.0.0", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    # Called by the test's thread.
    def add(self, link, mode, seed, **parameters):
        rule = Rule(link, mode, seed, **parameters)

        def begin():
            self.rules.append(rule)
            if mode == "reset":
                rule.pieces += self._abort(link)
        self.loop.call_soon_threadsafe(begin)
        return rule

    def route(self, name, instead):
        """New connections to `name` reach another; None: itself again."""
        self.routes[name] = instead

    def reset(self, link):
        """Breaks the connections of the link, once; they are broken when it returns."""
        done = threading.Event()

        def abort():
            self._abort(link)
            done.set()
        self.loop.call_soon_threadsafe(abort)
        done.wait()

    def _abort(self, link):
        broken = [c for c in self.connections if c[0] == link]
        for connection in broken:
            for writer in connection[1:]:
                writer.transport.abort()
        return len(broken)

    def remove(self, rule):
        def end():
            self.rules.remove(rule)
            rule.over.set()
            if rule.mode == "swallow":  # an answer does not get lost on a connection that lives on
                self._abort(rule.link)
        self.loop.call_soon_threadsafe(end)

    async def _serve(self, reader, writer):
        raw = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        port, packed = struct.unpack("!2xH4s8x", raw)
        address = socket.inet_ntoa(packed)
        target = self.network.name_of(address)
        link = f"{self.network.name_of(writer.get_extra_info('peername')[0])}>{target}"
        if self.routes.get(target):
            address = self.network.ip(self.routes[target])
        for rule in self._of(link, "reset"):
            rule.pieces += 1
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.transport.abort()
            return
        connection = (link, writer, up_writer)
        self.connections.add(connection)
        await asyncio.gather(self._pump(link, reader, up_writer, "request"),
                             self._pump(link, up_reader, writer, "answer"))
        self.connections.discard(connection)

    def _of(self, link, mode):
        return [rule for rule in self.rules if rule.link == link and rule.mode == mode]

    async def _pump(self, link, reader, writer, direction):
        try:
            while piece := await reader.read(65536):
                piece = await self._treat(link, piece, direction)
                if piece is not None:
                    writer.write(piece)
                    await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    async def _treat(self, link, piece, direction):
        for rule in self._of(link, "freeze"):
            rule.pieces += 1
            await rule.over.wait()
        for rule in self._of(link, "delay"):
            rule.pieces += 1
            await asyncio.sleep(rule.dice.uniform(*rule.parameters["ms"]) / 1000 +
                                len(piece) / rule.parameters.get("bytes_per_s", float("inf")))
        for rule in self._of(link, "hold"):
            if direction == "request" and len(piece) >= 6 and \
                    struct.unpack("!h", piece[4:6])[0] == rule.parameters["kafka_api"]:
                rule.pieces += 1
                await rule.over.wait()
        for rule in self._of(link, "damage"):
            if rule.dice.random() < rule.parameters["share"]:
                rule.pieces += 1
                piece = rule.dice.choice([flipped, twice, swapped])(piece, rule.dice)
        for rule in self._of(link, "swallow"):
            if direction == "answer":
                rule.pieces += 1
                return None
        return piece
