"""A TLS 1.3 client that breaks the rules, one connection for each rule: tlslite-ng, which lets one do so.

The cases are those that tlsfuzzer's scripts try after a handshake (key updates, lengths, padding, empty records and alerts,
change_cipher_spec, alerts in the clear, messages of a handshake), and some more.

misbehave.py PORT    prints a line for each case: suite, case, and what the server at 127.0.0.1 made of it

    404           the request was answered
    alert N       a fatal alert with that description
    close_notify  the clean end of TLS
    eof, reset    the end of the socket, without a word
    silence       nothing, for so long that it fails a test
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
        except TimeoutError:
            return "silence"


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


def key_update_for_more_than_one(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:4] + b"\x02"))


def key_update_for_255(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:4] + b"\xff"))


def key_update_byte_by_byte(peer):
    peer.say(*[peer.record(HANDSHAKE, bytes([byte])) for byte in KEY_UPDATE_REQUESTED])
    peer.update()
    peer.say(peer.data())


def key_update_in_pieces_with_padding(peer):
    peer.say(*[peer.record(HANDSHAKE, piece, padding=300) for piece in (KEY_UPDATE[:3], KEY_UPDATE[3:])])
    peer.update()
    peer.say(peer.data())


def key_update_around_an_empty_record(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), peer.record(HANDSHAKE, b""), peer.record(HANDSHAKE, KEY_UPDATE[2:]))
    peer.update()
    peer.say(peer.data())


def key_update_around_empty_data(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), peer.data(b""), peer.record(HANDSHAKE, KEY_UPDATE[2:]))


def key_update_around_an_alert(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), peer.record(ALERT, USER_CANCELED))


def key_update_without_a_body(peer):
    peer.say(peer.record(HANDSHAKE, bytes([24, 0, 0, 0])))


def key_update_with_two_bytes(peer):
    peer.say(peer.record(HANDSHAKE, bytes([24, 0, 0, 2, 0, 0])))


def key_update_of_4_kib(peer):
    peer.say(peer.record(HANDSHAKE, bytes([24, 0, 16, 0]) + bytes(4096)))


def key_update_of_64_kib(peer):
    peer.say(peer.record(HANDSHAKE, bytes([24, 1, 0, 0])))


def key_update_with_data_behind_it(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE + REQUEST))


def key_update_and_the_old_key(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE_REQUESTED), peer.record(HANDSHAKE, KEY_UPDATE_REQUESTED))


def key_update_between_pieces_of_a_request(peer):
    peer.say(peer.data(REQUEST[:9]))
    peer.key_update(KEY_UPDATE_REQUESTED)
    peer.say(peer.data(REQUEST[9:]))


def key_update_and_close(peer):
    peer.key_update(KEY_UPDATE_REQUESTED)
    peer.say(peer.record(ALERT, CLOSE_NOTIFY))


def key_update_in_the_clear(peer):
    peer.say(bytes([22, 3, 3, 0, 5]) + KEY_UPDATE)


def two_key_updates_in_one_record(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE * 2))


def data_inside_a_key_update(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), peer.data())


def finished_again(peer):
    peer.say(peer.record(HANDSHAKE, bytes([20, 0, 0, 32]) + b"f" * 32))


def message(kind):
    """A message that has no place after the handshake."""
    def case(peer):
        peer.say(peer.record(HANDSHAKE, bytes([kind, 0, 0, 4]) + b"body"))
    case.__name__ = "message_%d" % kind
    return case


# HelloRequest, ClientHello, ServerHello, NewSessionTicket, EndOfEarlyData, EncryptedExtensions, Certificate,
# CertificateRequest, CertificateVerify, ClientKeyExchange, Finished, an unassigned one, message_hash.
MESSAGES = [message(kind) for kind in (0, 1, 2, 4, 5, 8, 11, 13, 15, 16, 20, 99, 254)]


def client_hello_in_the_clear(peer):
    peer.say(bytes([22, 3, 3, 0, 8, 1, 0, 0, 4]) + b"body")


def empty_handshake(peer):
    peer.say(peer.record(HANDSHAKE, b""), peer.data())


def empty_handshake_with_padding(peer):
    peer.say(peer.record(HANDSHAKE, b"", padding=100), peer.data())


def empty_alert(peer):
    peer.say(peer.record(ALERT, b""))


def empty_alert_with_padding(peer):
    peer.say(peer.record(ALERT, b"", padding=100))


def empty_with_most_padding(peer):
    peer.say(*[peer.data(b"", padding=2**14) for _ in range(3)], peer.data())


def empty_with_too_much_padding(peer):
    peer.say(peer.data(b"", padding=2**14 + 1))


def empty_between_pieces_of_a_request(peer):
    peer.say(*[peer.data(piece) for byte in REQUEST for piece in (bytes([byte]), b"")])


def data_in_the_clear(peer):
    peer.say(bytes([23, 3, 3]) + len(REQUEST).to_bytes(2, "big") + REQUEST)


def nothing_on_the_wire(peer):
    peer.say(bytes([23, 3, 3, 0, 0]))


def less_than_a_tag_on_the_wire(peer):
    peer.say(bytes([23, 3, 3, 0, 15]) + b"x" * 15)


def most_on_the_wire(peer):
    peer.say(bytes([23, 3, 3, 65, 0]) + b"x" * (2**14 + 256))


def one_more_on_the_wire(peer):
    peer.say(bytes([23, 3, 3, 65, 1]) + b"x" * (2**14 + 257))


def outside(at, value):
    """A record whose header has another byte here than it was sealed with."""
    def case(peer):
        record = bytearray(peer.data())
        record[at] = value
        peer.say(bytes(record))
    case.__name__ = "outside_%s_%d" % (("type", "major", "minor")[at], value)
    return case


OUTSIDE = [outside(*pair) for pair in ((0, 21), (0, 22), (0, 24), (1, 2), (2, 1), (2, 4))]


def change_cipher_spec(peer):
    peer.say(bytes([20, 3, 3, 0, 1, 1]))


def change_cipher_spec_of_another_value(peer):
    peer.say(bytes([20, 3, 3, 0, 1, 2]))


def change_cipher_spec_of_two_bytes(peer):
    peer.say(bytes([20, 3, 3, 0, 2, 1, 1]))


def empty_change_cipher_spec(peer):
    peer.say(bytes([20, 3, 3, 0, 0]))


def change_cipher_spec_in_a_key_update(peer):
    peer.say(peer.record(HANDSHAKE, KEY_UPDATE[:2]), bytes([20, 3, 3, 0, 1, 1]))


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


def empty_alert_in_the_clear(peer):
    peer.say(bytes([21, 3, 3, 0, 0]))


def unknown_alert(peer):
    peer.say(peer.record(ALERT, bytes([2, 255])))


def unknown_warning(peer):
    peer.say(peer.record(ALERT, bytes([1, 255])))


def no_renegotiation(peer):
    peer.say(peer.record(ALERT, bytes([1, 100])))


def alert_without_a_level(peer):
    peer.say(peer.record(ALERT, bytes([0, 0])))


def two_alerts_in_one_record(peer):
    peer.say(peer.record(ALERT, CLOSE_NOTIFY * 2))


def alert_in_pieces(peer):
    peer.say(*[peer.record(ALERT, bytes([byte])) for byte in CLOSE_NOTIFY])


def user_canceled_and_close(peer):
    peer.say(peer.record(ALERT, USER_CANCELED), peer.record(ALERT, CLOSE_NOTIFY))


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
    data_after_close, request_and_close, key_update_for_more_than_one, key_update_for_255, key_update_byte_by_byte,
    key_update_in_pieces_with_padding, key_update_around_an_empty_record, key_update_around_empty_data,
    key_update_around_an_alert, key_update_without_a_body, key_update_with_two_bytes, key_update_of_4_kib,
    key_update_of_64_kib, key_update_with_data_behind_it, key_update_and_the_old_key,
    key_update_between_pieces_of_a_request, key_update_and_close, key_update_in_the_clear, client_hello_in_the_clear,
    empty_handshake, empty_handshake_with_padding, empty_alert, empty_alert_with_padding, empty_with_most_padding,
    empty_with_too_much_padding, empty_between_pieces_of_a_request, data_in_the_clear, nothing_on_the_wire,
    less_than_a_tag_on_the_wire, most_on_the_wire, one_more_on_the_wire, change_cipher_spec_of_another_value,
    change_cipher_spec_of_two_bytes, empty_change_cipher_spec, change_cipher_spec_in_a_key_update,
    empty_alert_in_the_clear, unknown_alert, unknown_warning, no_renegotiation, alert_without_a_level,
    two_alerts_in_one_record, alert_in_pieces, user_canceled_and_close, *MESSAGES, *OUTSIDE,
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
