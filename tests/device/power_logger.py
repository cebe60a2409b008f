"""A stand-in for the host's power logger, as the device meets it: whatever it is asked is remembered."""

import socket
import threading

from dime.contract import power_protocol as protocol
from dime.contract.timebase import monotonic_ns

OFFSET_NS = 1700000000 * 10**9


class Logger(object):
    """Listens on a free port of the loopback.

    Args:
        published: Whether it knows the published messages only.
        period_s: The meter's period.
        power_w: Called with the middle of a window on the device's clock; its power, or None where there is none.
        token: What a client must say.
        there: Names of logs that it refuses to overwrite.
        dies_at: A message whose arrival it does not survive.
    """

    def __init__(self, published=False, period_s=0.005, power_w=lambda ns: 2.0, token="", there=(), dies_at=None):
        self.published, self.period_s, self.power_w, self.token = published, period_s, power_w, token
        self.there, self.dies_at = set(there), dies_at
        self.heard, self.connections = [], 0
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(5)
        self.port = self._listener.getsockname()[1]
        thread = threading.Thread(target=self._listen)
        thread.daemon = True
        thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def verbs(self):
        """What was asked, but for clock exchanges and energies."""
        return [one for one in self.heard if one.split(",")[0] not in ("clock", "energy")]

    def _listen(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except EnvironmentError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.daemon = True
            thread.start()

    def _serve(self, client):
        with client:
            if self.published:
                client.sendall(self._answer(client.recv(1024).decode(), False).encode())
                return
            trusted, rest, nonce = not self.token, b"", "0123abcd"
            while True:
                piece = client.recv(65536)
                if not piece:
                    return
                lines = (rest + piece).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    text = line.decode()
                    if text == self.dies_at:
                        return
                    if not trusted and text == "hello,1":
                        client.sendall("challenge,{}\n".format(nonce).encode())
                        continue
                    if not trusted and text == "proof," + protocol.proof(self.token, nonce):
                        trusted, text = True, "hello,1"
                    client.sendall((self._answer(text, trusted) + "\n").encode())

    def _answer(self, text, trusted):
        received_ns = monotonic_ns() + OFFSET_NS
        self.heard.append(text)
        verb, _, rest = text.partition(",")
        if not self.published and not trusted:
            return protocol.REFUSED + "the token is wrong"
        if verb == "start" and rest in self.there:
            return "{}{} is there already; nothing was overwritten".format(protocol.REFUSED, rest)
        known = {"start": protocol.STARTED, "stop": protocol.STOPPED, "shutdown": protocol.ACK_SHUTDOWN}
        if not self.published:
            known["hello"] = "hello,1,fake,{}".format(int(self.period_s * 1e9))
            known["clock"] = "clock,{},{},{}".format(rest, received_ns, monotonic_ns() + OFFSET_NS)
            known["energy"] = "energy," + self._energies(rest) if verb == "energy" else ""
        return known.get(verb, protocol.BAD_MESSAGE)

    def _energies(self, rest):
        edges = [int(part) for part in rest.split(",")][1:]
        return ",".join(self._energy(*pair) for pair in zip(edges[::2], edges[1::2]))  # noqa: B905

    def _energy(self, start_ns, end_ns):
        power_w = self.power_w((start_ns + end_ns) // 2 - OFFSET_NS)
        if power_w is None:
            return "none/before the log began"
        joules = power_w * (end_ns - start_ns) * 1e-9
        return "{!r}/{!r}/20".format(joules, 0.001 * joules)
