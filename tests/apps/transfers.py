"""What tests/scripts/transfer.py sends to and fetches from."""

import os
import zlib

MIB = 1 << 20


def app(environ, start_response):
    return {"/upload": upload, "/file": file, "/generator": generator}[environ["PATH_INFO"]](environ, start_response)


def upload(environ, start_response):
    size, checksum = 0, 0
    while block := environ["wsgi.input"].read(65536):
        size, checksum = size + len(block), zlib.crc32(block, checksum)
    start_response("200 OK", [])
    return [b"%d %d" % (size, checksum)]


def file(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(os.environ["FILE"], "rb"))


def generator(environ, start_response):
    start_response("200 OK", [])
    block = b"".join(b"%015d\n" % n for n in range(MIB // 16))
    return (block[at : at + 65536] for _ in range(int(os.environ["MIB"])) for at in range(0, MIB, 65536))
