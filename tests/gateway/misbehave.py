"""A TLS 1.3 client that breaks the rules, one connection for each rule: tlslite-ng, which lets one do so.

misbehave.py PORT    prints a line for each case: suite, case, and what the server at 127.0.0.1 made of it

    404           the request was answered
    alert N       a fatal alert with that description
    close_notify  the clean end of TLS
    eof, reset    the end of the socket, without a word
"""

import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
from tlslite.messages import Message

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
KEY_UPDATE = bytes([24, 0, 0, 1, 0])
KEY_UPDATE_REQUESTED = bytes([24, 0, 0, 1, 1])
CLOSE_NOTIFY = bytes([1, 0])
USER_CANCELED = bytes([1, 90])
REQUEST = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_S = 20


class Wire:
    """Stands where tlslite expects a socket, and keeps what it sends while `is_held`."""

    def __init__(self, sock):
        self.sock, self.held, self.is_held = sock, b"", False

    def send(self, data):
        if self.is_held:
            self.held += bytes(data)
            return len(data)
        return self.sock.send(data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Peer:
    def __init__(self, port, suite):
        self.wire = Wire(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
        self.tls = TLSConnection(self.wire)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 4)
        settings.cipherNames = [suite]
        settings.keyShares = ["x25519"]
        self.tls.handshakeClientCert(settings=settings)
        self.tls.closeSocket = False

    def record(self, content_type, content, padding=0):
        """The wire form of a record; nothing is sent."""
        layer = self.tls._recordLayer
        layer.padding_cb = lambda *_: padding
        self.tls.sock.flush()
        self.wire.is_held, self.wire.held = True, b""
        for _ in layer.sendRecord(Message(content_type, bytearray(content))):
            pass
        self.tls.sock.flush()
        self.wire.is_held = False
        return self.wire.held

    def update(self):
        """What follows is sealed with the next key."""
        session = self.tls.session
        session.cl_app_secret, session.sr_app_secret = self.tls._recordLayer.calcTLS1_3KeyUpdate_reciever(
            session.cipherSuite, session.cl_app_secret, session.sr_app_secret)

    def say(self, *records):
        self.wire.sock.sendall(b"".join(records))

    def key_update(self, message=KEY_UPDATE, cut=0):
        pieces = [piece for piece in (message[:cut], message[cut:]) if piece]
        self.say(*[self.record(HANDSHAKE, piece) for piece in pieces])
        self.update()

    def data(self, content=REQUEST, padding=0):
        return self.record(DATA, content, padding)

    def answer(self):
        answer = bytearray()
        try:
            while b"\r\n\r\n" not in answer:
                piece = self.tls.read(max=4096, min=1)
                if not piece:
                    return "close_notify"
                answer += piece
            return answer.split(b" ")[1].decode()
        except TLSRemoteAlert as alert:
            return "alert %d" % alert.description
        except TLSAbruptCloseError:
            return "eof"
        except ConnectionError:
            return "reset"


def spoiled(record, at):
    return record[:at] + bytes([record[at] ^ 1]) + record[at + 1:]


def forged(peer):
    peer.say(spoiled(peer.data(), 9))


def forged_tag(peer):
    record = peer.data()
    peer.say(spoiled(record, len(record) - 1))


def replayed(peer):
    record = peer.data(b"GET ")
    peer.say(record, record)


def reordered(peer):
    first, second = peer.data(b"GET "), peer.data(b"/ ")
    peer.say(second, first)


def lost(peer):
    peer.data(b"GET ")
    peer.say(peer.data())


def cut_short(peer):
    record = peer.data()
    peer.say(record[:3] + (len(record) - 6).to_bytes(2, "big") + record[5:-1])


def stops_in_a_record(peer):
    peer.say(peer.data()[:-1])
    peer.wire.sock.shutdown(socket.SHUT_WR)


def stops_after_a_record(peer):
    peer.say(peer.data(b"GET "))
    peer.wire.sock.shutdown(socket.SHUT_WR)


def oversized(peer):
    peer.say(peer.data(b"x" * (2**14 + 1)))


def oversized_by_padding(peer):
    peer.say(peer.data(padding=2**14 - len(REQUEST) + 1))


def oversized_header(peer):
    peer.say(bytes([23, 3, 3, 72, 0]))


def full_by_padding(peer):
    peer.say(peer.data(padding=2**14 - len(REQUEST)))


def padded(peer):
    peer.say(*[peer.data(bytes([byte]), padding=7) for byte in REQUEST])


def only_padding(peer):
    peer.say(peer.record(0, b"", padding=30))


def some_empty(peer):
    peer.say(*[peer.data(b"") for _ in range(32)], peer.data())


def flood_of_empty(peer):
    peer.say(*[peer.data(b"") for _ in range(33)], peer.data())


def key_updates(peer):
    for _ in range(5):
        peer.key_update()
    peer.say(peer.data())


def key_updates_requested(peer):
    for _ in range(5):
        peer.key_update(KEY_UPDATE_REQUESTED)
    peer.say(peer.data())


def key_update_in_pieces(peer):
    peer.key_update(KEY_UPDATE_REQUESTED, cut=2)
    peer.say(peer.data())


def flood_of_key_updates(peer):
    for _ in range(33):
        peer.key_update()
    peer.say(peer.data())


def key_updates_between_empty_records(peer):
    for _ in range(12):
        peer.key_update()
        peer.say(peer.data(b""))
    peer.say(peer.data())


def key_update_without_new_key(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE), peer.data())


def key_update_for_nothing_known(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:4] + b"\x07"))


def two_key_updates_in_one_record(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE * 2))


def data_inside_a_key_update(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), peer.data())


def finished_again(peer):
    peer.say(peer.record(HANDSHAKE, bytes([20, 0, 0, 32]) + b"f" * 32))


def change_cipher_spec(peer):
    peer.say(bytes([20, 3, 3, 0, 1, 1]))


def protected_change_cipher_spec(peer):
    layer = peer.tls._recordLayer
    # tlslite would send it in the clear.
    content = layer._encryptThenSeal(bytearray([1, CHANGE_CIPHER_SPEC]), DATA)
    peer.say(bytes([23, 3, 3]) + len(content).to_bytes(2, "big") + bytes(content))


def unknown_type(peer):
    peer.say(peer.record(99, b"what"))


def another_protocol(peer):
    peer.say(REQUEST)


def fatal_alert(peer):
    peer.say(peer.record(ALERT, bytes([2, 80])))


def warning(peer):
    peer.say(peer.record(ALERT, bytes([1, 100])))


def alert_in_the_clear(peer):
    peer.say(bytes([21, 3, 3, 0, 2, 2, 80]))


def alert_of_another_level(peer):
    peer.say(peer.record(ALERT, bytes([7, 0])))


def half_an_alert(peer):
    peer.say(peer.record(ALERT, bytes([1])))


def user_canceled(peer):
    peer.say(*[peer.record(ALERT, USER_CANCELED) for _ in range(4)], peer.data())


def flood_of_user_canceled(peer):
    peer.say(*[peer.record(ALERT, USER_CANCELED) for _ in range(5)], peer.data())


def close(peer):
    peer.say(peer.record(ALERT, CLOSE_NOTIFY))


def data_after_close(peer):
    peer.say(peer.record(ALERT, CLOSE_NOTIFY), peer.data(), spoiled(peer.data(), 9), b"anything")


def request_and_close(peer):
    peer.say(peer.data(), peer.record(ALERT, CLOSE_NOTIFY))


CASES = [
    forged, forged_tag, replayed, reordered, lost, cut_short, stops_in_a_record, stops_after_a_record, oversized,
    oversized_by_padding, oversized_header, full_by_padding, padded, only_padding, some_empty, flood_of_empty,
    key_updates, key_updates_requested, key_update_in_pieces, flood_of_key_updates, key_updates_between_empty_records, key_update_without_new_key,
    key_update_for_nothing_known, two_key_updates_in_one_record, data_inside_a_key_update, finished_again,
    change_cipher_spec, protected_change_cipher_spec, unknown_type, another_protocol, fatal_alert, warning,
    alert_in_the_clear, alert_of_another_level, half_an_alert, user_canceled, flood_of_user_canceled, close,
    data_after_close, request_and_close,
]
# Pure Python is slow: what depends on the cipher is tried with each.
OF_EACH_SUITE = [forged, replayed, padded, key_updates_requested, close]


def main():
    port = int(sys.argv[1])
    for suite in ("aes128gcm", "aes256gcm", "chacha20-poly1305"):
        for case in CASES if suite == "aes128gcm" else OF_EACH_SUITE:
            peer = Peer(port, suite)
            case(peer)
            print(suite, case.__name__, peer.answer(), flush=True)
            peer.wire.sock.close()


main()
