"""Issuers that publish their keys, well or badly, at /ISSUER/jwks.json. Says its ports: in clear, over TLS. Others tell it:
/ISSUER/publish/KID,KID: what is published from now on; /ISSUER/token/KID/USER: a token of that key; /ISSUER/is/MOOD: how it answers;
/ISSUER/fetches: how often its keys were asked for."""

import json
import ssl
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

certificate, key = sys.argv[1:]
keys = defaultdict(lambda: ec.generate_private_key(ec.SECP256R1()))
published = defaultdict(list)
moods = defaultdict(lambda: "well")
fetches = defaultdict(int)
lock = threading.Lock()


def public(issuer, kid):
    return {**json.loads(ECAlgorithm.to_jwk(keys[issuer, kid].public_key())), "kid": kid, "use": "sig"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, *fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        issuer, verb, *words = self.path.strip("/").split("/")
        with lock:
            if verb == "jwks.json":
                fetches[issuer] += 1
                mood = moods[issuer]
            elif verb == "publish":
                published[issuer] = words[0].split(",") if words else []
                return self.say(200, b"")
            elif verb == "is":
                moods[issuer] = words[0]
                return self.say(200, b"")
            elif verb == "fetches":
                return self.say(200, str(fetches[issuer]).encode())
            else:
                kid, user = words
                claims = {"sub": user, "exp": time.time() + 600}
                token = jwt.encode(claims, keys[issuer, kid], "ES256", headers={"kid": kid})
                return self.say(200, token.encode())
            jwks = {"keys": [public(issuer, kid) for kid in published[issuer]]}
        getattr(self, mood)(jwks)

    def well(self, jwks):
        self.say(200, json.dumps(jwks).encode(), ("Cache-Control", "max-age=600"))

    def hangs(self, _):
        time.sleep(30)

    def drips(self, _):
        self.send_response(200)
        self.end_headers()
        for _ in range(30):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(1)

    def redirects(self, _):
        self.say(302, b"", ("Location", "/good/jwks.json"))

    def fails(self, jwks):
        self.say(500, json.dumps(jwks).encode())

    def floods(self, _):
        """100 MB, if somebody reads them."""
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b" " * 1_000_000)
        except OSError:
            pass
        self.close_connection = True

    def multiplies(self, _):
        """10,000 keys."""
        one = public("many", "0")
        text = json.dumps({"keys": [{"kty": one["kty"], "kid": str(number)} for number in range(10_000)]})
        self.say(200, text.encode())

    def babbles(self, _):
        self.say(200, b"<html>login</html>")

    def shares(self, _):
        """A set with a shared secret, which each reader could sign with."""
        self.say(200, json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}).encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


plain, secured = Server(("127.0.0.1", 0), Handler), Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
# In the thread of each connection: a client that does not greet keeps no other from being served.
secured.socket = context.wrap_socket(secured.socket, server_side=True, do_handshake_on_connect=False)
for server in (plain, secured):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(plain.server_port, secured.server_port, flush=True)
sys.stdin.read()
