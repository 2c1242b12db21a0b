"""Clients of the configurations of docs/edge.md.

    documented.py keys FOLDER            an issuer: its key set, and its private key
    documented.py shop TLS PLAIN         customers of the shop, by the ports of both listeners
    documented.py mobile TLS FOLDER      an app with tokens
    documented.py balancer TLS PLAIN     clients of a load balancer that passes TCP on, and of one that speaks HTTP
"""

import asyncio
import http.client
import json
import ssl
import sys
import time

import jwt
import websockets
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def ask(port, path, headers={}, method="GET", body=None, tls=True, host="shop.example"):
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=TLS) if tls else http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body, {"Host": host, **headers})
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def expect(what, heard, expected):
    assert heard == expected, f"{what}: {heard!r} instead of {expected!r}"


async def socket(port, path, headers={}, subprotocols=None):
    url = f"wss://shop.example{path}"
    return await websockets.connect(url, host="127.0.0.1", port=port, ssl=TLS, additional_headers=headers, subprotocols=subprotocols)


def keys(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    with open(f"{folder}/jwks.json", "w") as file:
        json.dump({"keys": [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "1", "use": "sig"}]}, file)
    with open(f"{folder}/issuer.pem", "wb") as file:
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write(key.private_bytes(serialization.Encoding.PEM, *form))


def shop(tls, plain):
    tls, plain = int(tls), int(plain)
    moved = ask(plain, "/a?b=c", tls=False)
    expect("to https", (moved.status, moved.getheader("Location")), (308, "https://shop.example/a?b=c"))
    expect("another host", ask(tls, "/", host="other.example").status, 421)
    expect("a customer who has not logged in", ask(tls, "/reports/headers").status, 401)
    login = ask(tls, "/login", method="POST")
    expect("the login of a POST is an echo", login.status, 200)
    login = ask(tls, "/login")
    cookies = "; ".join(value.split(";")[0] for name, value in login.getheaders() if name.lower() == "set-cookie")
    assert "session=" in cookies and "tg_web=" in cookies, cookies
    named = {"Cookie": cookies, "X-User": "root", "X_User": "root", "Connection": "X-User"}
    seen = json.loads(ask(tls, "/reports/headers", named).text)
    expect("the user that a service sees", (seen["x-user"], "x_user" in seen), ("ann", False))
    expect("the scheme and the host", (seen["x-forwarded-proto"], seen["host"]), ("https", "shop.example"))
    open_route = json.loads(ask(tls, "/headers", {"X-User": "root"}).text)
    assert "x-user" not in open_route, open_route
    first = ask(tls, "/small.txt", {"Cookie": cookies})
    expect("a file", first.status, 200)

    async def chat():
        try:
            await socket(tls, "/chat")
            raise AssertionError("a socket without a login")
        except websockets.InvalidStatus as refused:
            expect("a socket without a login", refused.response.status_code, 401)
        customer = await socket(tls, "/chat", {"Cookie": cookies})
        await customer.send("hello")
        expect("an echo of the chat", await customer.recv(), "hello")
        print("open", flush=True)
        # The test kills the chat.
        try:
            await customer.recv()
        except websockets.ConnectionClosed as closed:
            expect("a chat that was killed", closed.rcvd, None)

    asyncio.run(chat())
    expect("the chat is away", ask(tls, "/chat", {"Cookie": cookies}).status, 502)
    print("closed", flush=True)
    # The test kills one process of the web application.
    sys.stdin.readline()
    for _ in range(20):
        expect("the other process", ask(tls, "/small.txt", {"Cookie": cookies}).status, 200)


def mobile(tls, folder):
    tls = int(tls)
    with open(f"{folder}/issuer.pem") as file:
        key = file.read()

    def token(**changes):
        claims = {"iss": "https://id.example", "aud": "app", "sub": "ann", "scope": "app read", "rooms": ["room.1"], "exp": time.time() + 600}
        return jwt.encode({**claims, **changes}, key, "ES256", headers={"kid": "1"})

    bearer = {"Authorization": f"Bearer {token()}"}
    expect("health", ask(tls, "/health").status, 200)
    expect("no token", ask(tls, "/v1/headers").status, 401)
    expect("another scope", ask(tls, "/v1/headers", {"Authorization": f"Bearer {token(scope='web')}"}).status, 403)
    expect("another audience", ask(tls, "/v1/headers", {"Authorization": f"Bearer {token(aud='web')}"}).status, 401)
    seen = json.loads(ask(tls, "/v1/headers", bearer).text)
    expect("the user and the scope", (seen["x-user"], seen["x-scope"]), ("ann", "app read"))
    expect("a room of others", ask(tls, "/rooms/2", bearer).status, 403)

    async def rooms():
        client = await socket(tls, "/connect", bearer)
        await client.send(json.dumps({"id": 1, "connect": {}}))
        assert "connect" in json.loads((await client.recv()).split("\n")[0])
        for number, (room, is_allowed) in enumerate([("room.1", True), ("room.2", False)], 2):
            await client.send(json.dumps({"id": number, "subscribe": {"channel": room}}))
            reply = json.loads((await client.recv()).split("\n")[0])
            expect(room, "error" not in reply, is_allowed)
        await client.close()

    asyncio.run(rooms())
    statuses = [ask(tls, "/v1/small.txt", bearer).status for _ in range(40)]
    assert statuses[0] == 200 and 429 in statuses, statuses


def balancer(tls, plain):
    tls, plain = int(tls), int(plain)
    seen = json.loads(ask(tls, "/headers", host="a").text)
    expect("the client of a balancer of TCP", (seen["x-forwarded-for"], seen["x-forwarded-proto"]), ("127.0.0.1", "https"))
    client = {"X-Forwarded-For": "9.9.9.9, 203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    seen = json.loads(ask(plain, "/headers", client, tls=False).text)
    expect("the client of a balancer of HTTP", (seen["x-forwarded-for"], seen["x-forwarded-proto"]), ("203.0.113.7", "https"))
    statuses = [ask(plain, "/ready", client, tls=False).status for _ in range(60)]
    assert 429 in statuses, statuses
    other = {**client, "X-Forwarded-For": "203.0.113.8"}
    expect("another client", ask(plain, "/ready", other, tls=False).status, 200)


{"keys": keys, "shop": shop, "mobile": mobile, "balancer": balancer}[sys.argv[1]](*sys.argv[2:])
