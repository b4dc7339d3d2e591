# The objects that an environ holds as `gunicorn.socket`.
import os
import socket

__name__ = "oxicorn"


class Socket(socket.socket):
    """A client's connection that a call has taken over."""

    # The bytes that had come before, and until then what takes the connection over.
    __slots__ = ("_held",)


class EarlySocket(Socket):
    """One of which some bytes had come before: they are received first, and no poll of the descriptor tells of them."""

    __slots__ = ()

    def _take(self, size, flags):
        taken, left = self._held[:size], self._held[size:]
        if not flags & socket.MSG_PEEK:
            self._held = left
            if not left:
                self.__class__ = Socket
        return taken

    def recv(self, bufsize, flags=0):
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return self._take(bufsize, flags)

    def recvfrom(self, bufsize, flags=0):
        return self.recv(bufsize, flags), None

    def recvmsg(self, bufsize, ancbufsize=0, flags=0):
        return self.recv(bufsize, flags), [], 0, None

    def recv_into(self, buffer, nbytes=0, flags=0):
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        with memoryview(buffer) as view, view.cast("B") as room:
            taken = self._take(nbytes or len(room), flags)
            room[: len(taken)] = taken
        return len(taken)

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg_into(self, buffers, ancbufsize=0, flags=0):
        for buffer in buffers:
            if len(buffer):
                return self.recv_into(buffer, 0, flags), [], 0, None
        return 0, [], 0, None


class UnusedSocket(Socket):
    """One that its server has still: the first use takes it over."""

    __slots__ = ()

    def __new__(cls, take_over):
        self = super().__new__(cls)
        object.__setattr__(self, "_held", take_over)
        # What `socket.__init__` sets, which comes later.
        object.__setattr__(self, "_io_refs", 0)
        object.__setattr__(self, "_closed", False)
        return self

    def __init__(self, take_over):
        pass

    def __repr__(self):
        return "<gunicorn.socket of a connection that was not taken over>"

    def __getattribute__(self, name):
        # What looks at any object, such as `repr`, `isinstance` and `copy`, is no use.
        if not (name.startswith("__") and name.endswith("__")):
            _take_over(self)
        return object.__getattribute__(self, name)

    def __enter__(self):
        _take_over(self)
        return self


def _take_over(unused):
    descriptor, received = object.__getattribute__(unused, "_held")()
    unused.__class__ = EarlySocket if received else Socket
    unused._held = received
    try:
        unused.__init__(fileno=descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    # Whatever `socket.setdefaulttimeout` says.
    unused.settimeout(None)
