"""A client of the applications of docs/login.md, through the gateway in front of them.

    snippets.py token PORT      the login sets a cookie with a token
    snippets.py forward PORT    the login sets a cookie with a session, and the server decides about each request
"""

import http.client
import json
import sys
from http.cookies import SimpleCookie

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PORT = int(sys.argv[2])
SECONDS = 10
STREAM = {"Accept": "text/event-stream"}


def expect(what, heard, expected):
    assert heard == expected, f"{what}: {heard!r} instead of {expected!r}"


def begin(path, headers={}, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    connection.request(method, path, body, headers)
    return connection, connection.getresponse()


def ask(*request):
    connection, answer = begin(*request)
    answer.text = answer.read().decode()
    connection.close()
    return answer


def open_socket(headers):
    return connect(f"ws://127.0.0.1:{PORT}/ws/7", additional_headers=headers, open_timeout=SECONDS)


def is_refused(headers, page_status):
    expect("a page", ask("/", headers).status, page_status)
    expect("an event stream", ask("/events/7", {**headers, **STREAM}).status, 401)
    try:
        open_socket(headers).close()
    except InvalidStatus as refused:
        expect("a WebSocket", refused.response.status_code, 401)
    else:
        raise AssertionError("a WebSocket opened")


def is_let_in(headers):
    """A page, an event stream and a WebSocket: the stream hears a message of the socket."""
    page = ask("/", headers)
    expect("a page", page.status, 200)
    expect("the user that the application sees", json.loads(page.text), {"user": "ann"})
    connection, stream = begin("/events/7", {**headers, **STREAM})
    expect("an event stream", (stream.status, stream.headers.get_content_type()), (200, "text/event-stream"))
    with open_socket(headers) as socket:
        socket.send("hello")
        for line in stream:
            if line.startswith(b"data:"):
                expect("an event", line.strip(), b"data: hello")
                break
        else:
            raise AssertionError("the event stream ended")
    connection.close()


def log_in(cookie):
    """The value of the cookie that the login sets."""
    own = {"Content-Type": "application/json"}
    refused = ask("/login", own, "POST", json.dumps({"name": "ann", "password": "a guess"}))
    expect("a wrong password", (refused.status, refused.getheader("Set-Cookie")), (401, None))
    login = ask("/login", own, "POST", json.dumps({"name": "ann", "password": "secret"}))
    expect("a login", login.status, 204)
    set_cookie = SimpleCookie(login.getheader("Set-Cookie"))[cookie]
    assert set_cookie["httponly"] and set_cookie["secure"], login.getheader("Set-Cookie")
    expect("the cookie's SameSite and path", (set_cookie["samesite"].lower(), set_cookie["path"]), ("lax", "/"))
    return set_cookie.value


def token():
    is_refused({}, 401)
    session = log_in("session")
    is_let_in({"Cookie": f"session={session}"})
    is_let_in({"Authorization": f"Bearer {session}"})
    is_refused({"Authorization": f"Bearer {session[:-8]}AAAAAAAA"}, 401)


def forward():
    is_refused({}, 302)
    to_login = ask("/a?b=c").getheader("Location")
    assert to_login.startswith("/login?to=") and to_login.endswith("a%3Fb%3Dc"), to_login
    cookie = {"Cookie": f"sid={log_in('sid')}"}
    is_let_in(cookie)
    is_let_in({**cookie, "X-User": "root"})
    expect("a page of administrators", ask("/admin", cookie).status, 403)
    is_refused({"Cookie": "sid=a-guess"}, 302)


{"token": token, "forward": forward}[sys.argv[1]]()
