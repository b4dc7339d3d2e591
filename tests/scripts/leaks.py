#!/usr/bin/env python3
"""Holds a worker to this: nothing of a request stays when it is over.

usage: leaks.py SERVE COUNT [ROUNDS] [-- FLAGS ...]

COUNT requests of three usual shapes are sent, and a tenth as many of seven others: streams, exceptions
before and during iteration, disconnects, uploads, chunked bodies and malformed heads. That is done in ROUNDS parts (5).
After each part, and a collection of Python's garbage, the worker tells how many objects, blocks of memory, descriptors
and threads it has, and how much memory (smaps_rollup in proc_pid_smaps(5)). Ends with status 0 if all of that is flat in
the second half of the parts. FLAGS go to the server.
"""

import json
import socket
import sys
import threading

from serving import check, connect, eventually, serving, split

CLIENTS = 8
# What may come and go by chance. Memory is in KiB for each thread, whose allocator keeps what its largest request took.
ROOM = {"objects": 20, "blocks": 200, "descriptors": 0, "threads": 0, "rss": 512}


class Client:
    """One kept connection, opened again where it was ended."""

    def __init__(self, port):
        self.port, self.sock = port, None

    def open(self):
        if self.sock is None:
            self.sock = connect(self.port)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.sock

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def head(self, method, path, fields=""):
        return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()

    def response(self):
        """Reads to the end of one response, or of the connection; gives its status and its body."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                self.close()
                return None, data
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        fields = head.lower()
        length = None
        if b"content-length: " in fields:
            length = int(fields.split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length if length is not None else not body.endswith(b"0\r\n\r\n"):
            more = self.sock.recv(65536)
            if not more:
                self.close()
                return status, body
            body += more
        if b"connection: close" in fields:
            self.close()
        return status, body

    def ask(self, method, path, fields="", body=b"", status=200):
        self.open().sendall(self.head(method, path, fields) + body)
        seen, content = self.response()
        assert seen == status, (path, seen, content[:200])
        return content


def upload(client):
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 100_000 + b"\r\n--b--\r\n"
    client.ask("POST", "/upload", f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n", form)


def leaves(client):
    """Goes while the response is being sent, and while the request is."""
    client.open().sendall(client.head("GET", "/long"))
    client.sock.recv(100)
    client.close()
    client.open().sendall(client.head("POST", "/hello", "Content-Length: 10000\r\n") + b"x" * 100)
    client.close()


def cut(client):
    client.open().sendall(client.head("GET", "/raises_midway"))
    assert client.response()[0] == 200
    client.close()


def malformed(client):
    client.ask("GET", "/hello", "Bad Name: x\r\n", status=400)


def chunked(client):
    client.ask("POST", "/echo", "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" * 20 + b"0\r\n\r\n")


def fields(client):
    more = "".join(f"X-Field-{number}: value {number}\r\n" for number in range(20))
    client.ask("GET", "/fields", more + "Cookie: a=1; b=2\r\n")


USUAL = [
    lambda client: client.ask("GET", "/hello"),
    lambda client: client.ask("POST", "/echo", "Content-Length: 9\r\n", b'{"a": 1}\n'),
    fields,
]
OTHERS = [
    lambda client: client.ask("GET", "/stream"),
    lambda client: client.ask("GET", "/raises", status=500),
    cut,
    leaves,
    upload,
    chunked,
    malformed,
]


def send(port, shapes, count):
    errors = []

    def work(share):
        client = Client(port)
        try:
            for number in range(share):
                shapes[number % len(shapes)](client)
        except Exception as error:
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(count // CLIENTS + 1,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def settled(port, before=None):
    """What the worker has, once it has noticed that all clients have gone."""
    client = Client(port)

    def state():
        seen = json.loads(client.ask("GET", "/state"))
        return seen if before is None or seen["descriptors"] <= before["descriptors"] else None

    state = eventually("there are as few descriptors as before", state)
    client.close()
    return state


def main(arguments):
    own, flags = split(arguments)
    if len(own) not in (2, 3):
        sys.exit(__doc__)
    server, count, rounds = own[0], int(own[1]), int(own[2]) if own[2:] else 5
    check("at least 3 rounds", rounds >= 3)
    states = []
    with serving(server, "leaks:app", flags) as (_, port, _):
        for shape in USUAL + OTHERS:
            send(port, [shape], 2 * CLIENTS)
        before = settled(port)
        for number in range(rounds):
            send(port, USUAL, count // rounds)
            send(port, OTHERS, count // 10 // rounds)
            states.append(settled(port, before))
            print(f"{number + 1}: {states[-1]}", flush=True)
    # The first parts fill what is filled once.
    first, last = states[rounds // 2], states[-1]
    for name, room in ROOM.items():
        grown = last[name] - first[name]
        if name == "rss":
            room *= last["threads"]
        check(f"{grown} more {name} in the last {rounds - rounds // 2 - 1} parts", grown <= room)
    print("flat")


if __name__ == "__main__":
    main(sys.argv[1:])
