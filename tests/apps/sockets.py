"""Applications that take their client's connection over: the path names one of the functions below."""

import os
import socket
import threading

PLAIN = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
HEADERS = [("Upgrade", "echo"), ("Connection", "Upgrade"), ("X-Own", "1")]
kept = []


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def answer(start_response, text):
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]


def serve(sock):
    """Sends each line back, until the client ends or says bye."""
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line)
            if line == b"bye\n":
                break


def echo(environ, start_response):
    sock = environ["gunicorn.socket"]
    sock.sendall(PLAIN)
    serve(sock)
    return []


def stops(environ, start_response):
    echo(environ, start_response)
    raise StopIteration


def fails(environ, start_response):
    echo(environ, start_response)
    raise ValueError("after the take-over")


def yields(environ, start_response):
    yield b""
    echo(environ, start_response)
    yield b"nothing of this is sent"


def none(environ, start_response):
    echo(environ, start_response)


def answers_too(environ, start_response):
    echo(environ, start_response)
    write = start_response("200 OK", [])
    try:
        write(b"too late")
    except OSError as error:
        environ["wsgi.errors"].write(f"refused: {error}\n")
    return [b"too late"]


def switches(environ, start_response):
    start_response("101 Switching Protocols", HEADERS)
    serve(environ["gunicorn.socket"])
    return []


def switches_only(environ, start_response):
    start_response("101 Switching Protocols", HEADERS)
    return []


def too_late(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])(b"no")
    try:
        environ["gunicorn.socket"].send(b"x")
    except OSError:
        return [b"ne"]
    return [b"??"]


def looks(environ, start_response):
    """Uses nothing of it."""
    repr(environ)
    sock = environ.get("gunicorn.socket")
    return answer(start_response, str(isinstance(sock, socket.socket)))


def facts(environ, start_response):
    sock = environ["gunicorn.socket"]
    sock.sendall(PLAIN)
    blocks = os.get_blocking(sock.fileno())
    refused = []
    try:
        sock.getpeername()
        environ["wsgi.input"].read()
    except Exception as error:
        refused.append(error)
    sock.sendall(f"{blocks} {sock.gettimeout()} {sock.family.name} {refused}\n".encode())
    return []


def hands_on(environ, start_response):
    """Returns at once: a thread goes on with the socket."""
    sock = environ["gunicorn.socket"]
    sock.sendall(PLAIN)

    def work():
        with sock:
            serve(sock)

    threading.Thread(target=work, daemon=True).start()
    return []


def early(environ, start_response):
    sock = environ["gunicorn.socket"]
    sock.sendall(PLAIN)
    parts = [sock.recv(2, socket.MSG_PEEK), sock.recv(2)]
    room = bytearray(3)
    parts.append(bytes(room[: sock.recv_into(room)]))
    parts.append(sock.recv(100))
    sock.sendall(b"|".join(parts) + b"\n")
    serve(sock)
    return []


def other_thread(environ, start_response):
    errors = []

    def work():
        try:
            environ["gunicorn.socket"].send(b"x")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return answer(start_response, errors[0])


def keeps(environ, start_response):
    kept.append(environ["gunicorn.socket"])
    return answer(start_response, "kept")


def uses_kept(environ, start_response):
    try:
        kept.pop().send(b"x")
    except ValueError as error:
        return answer(start_response, str(error))
    return answer(start_response, "sent")
