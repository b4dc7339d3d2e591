#!/usr/bin/env python3
"""Sends and fetches large bodies, and watches that the worker's memory stays flat.

usage: transfer.py SERVE [PERCENT] [-- FLAGS ...]

PERCENT (default 100) scales the bodies: 200 MiB up, with a length and chunked; 1 GiB down, from a file by
wsgi.file_wrapper and from a generator. FLAGS go to the server. Ends with status 0 if every byte is right and the
worker's peak is never more than 16 MiB above what it had before.
"""
import http.client
import pathlib
import sys
import tempfile
import time
import zlib

from serving import PATIENCE, check, memory_mib, serving, split

MIB = 1 << 20
# One MiB that no two of its pages share.
BLOCK = b"".join(b"%015d\n" % n for n in range(MIB // 16))
MOST_MIB = 16


def checksum(blocks):
    sum_ = 0
    for block in blocks:
        sum_ = zlib.crc32(block, sum_)
    return sum_


def upload(client, mib, chunked):
    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(mib * MIB)}
    client.request("POST", "/upload", (BLOCK for _ in range(mib)), headers, encode_chunked=chunked)
    answer = client.getresponse()
    right = f"{mib * MIB} {checksum(BLOCK for _ in range(mib))}"
    text = answer.read().decode()
    check(f"an upload: {answer.status} {text}, not {right}", (answer.status, text) == (200, right))


def download(client, mib, target):
    client.request("GET", target)
    answer = client.getresponse()
    size, sum_ = 0, 0
    while block := answer.read(MIB):
        size, sum_ = size + len(block), zlib.crc32(block, sum_)
    check(f"{target}: {answer.status}, {size} bytes", (answer.status, size) == (200, mib * MIB))
    check(f"{target}: other bytes than these", sum_ == checksum(BLOCK for _ in range(mib)))


def main():
    arguments, flags = split(sys.argv[1:])
    percent = int(arguments[1]) if len(arguments) > 1 else 100
    up, down = (max(32, mib * percent // 100) for mib in (200, 1024))
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(down):
            file.write(BLOCK)
        file.flush()
        environment = ["--env", f"FILE={file.name}", "--env", f"MIB={down}"]
        with serving(arguments[0], "transfers:app", [*environment, *flags]) as (_, port, worker):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE * 3)
            upload(client, 1, False)
            transfers = {
                f"{up} MiB up": lambda: upload(client, up, False),
                f"{up} MiB up, chunked": lambda: upload(client, up, True),
                f"{down} MiB down by wsgi.file_wrapper": lambda: download(client, down, "/file"),
                f"{down} MiB down by a generator": lambda: download(client, down, "/generator"),
            }
            for what, transfer in transfers.items():
                # Sets the peak back to what there is now (proc_pid_clear_refs(5)).
                pathlib.Path(f"/proc/{worker}/clear_refs").write_text("5")
                before, start = memory_mib(worker), time.monotonic()
                transfer()
                took, peak = time.monotonic() - start, memory_mib(worker, "VmHWM")
                print(f"{what}: {took:.2f} s; worker {before:.1f} MiB, at most {peak:.1f} MiB")
                check("the worker's memory grows with the body", peak - before <= MOST_MIB)
            client.close()
    print(f"ok: transfers, {' '.join(flags) or 'sync'}")


if __name__ == "__main__":
    main()
