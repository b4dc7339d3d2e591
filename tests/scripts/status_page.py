#!/usr/bin/env python3
"""The page of the side listener in a real browser, at three widths, in light and in dark.

    status_page.py SERVER FOLDER

SERVER is examples/serve. The pictures go to FOLDER; docs/status has those of the last run. It needs Chromium (Debian:
chromium), and makes the pictures smaller where Pillow is installed.
"""

import http.client
import os
import shutil
import signal
import sys
import subprocess
import tempfile
import threading
import time

from side_listener import Server, wait, write

APP = """
import time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    time.sleep({"/report": 30, "/search": 0.05}.get(path, 0.005))
    start_response("404 Not Found" if path == "/nowhere" else "200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""
SIZES = {"wide": (1280, 960), "middle": (800, 1180), "narrow": (400, 2000)}


def ask(server, paths, ends):
    while not ends.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for path in paths:
            try:
                connection.request("GET", path)
                connection.getresponse().read()
            except OSError:
                break
        connection.close()


def browse(chromium, *flags):
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *flags]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()


def main():
    program, pictures = sys.argv[1:]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        print("Chromium is not installed: the page was not looked at")
        return
    os.makedirs(pictures, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder, "-w", "3", "--threads", "2")
        write(os.path.join(folder, "shop.py"), APP)
        os.kill(server.state()["pid"], signal.SIGHUP)
        wait("no new workers", lambda: server.state()["generation"] == 2 and server.state()["state"] == "serving")
        ends = threading.Event()
        for paths in (["/", "/search?q=secret"] * 40, ["/", "/nowhere"] * 25, ["/report?token=secret"]):
            threading.Thread(target=ask, args=(server, paths, ends), daemon=True).start()
        time.sleep(20)
        os.kill(server.state()["workers"][-1]["pid"], signal.SIGKILL)
        time.sleep(10)
        url = f"http://127.0.0.1:{server.status}/"
        # Long enough for the page's script to have read it again.
        after = browse(chromium, "--virtual-time-budget=5000", "--dump-dom", url)
        if "<svg" not in after or "secret" in after or after.count("<main>") != 1:
            raise SystemExit(f"FAILED: {after}")
        for name, (width, height) in SIZES.items():
            for scheme, flags in (("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
                path = os.path.join(os.path.abspath(pictures), f"{name}-{scheme}.png")
                browse(chromium, *flags, f"--window-size={width},{height}", f"--screenshot={path}", url)
                try:
                    from PIL import Image

                    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
                except ImportError:
                    pass
                size = os.path.getsize(path)
                print(f"{path}: {size} bytes")
                if not 5_000 < size < 200_000:
                    raise SystemExit("FAILED: that is no picture of the page")
        ends.set()
        server.stop()


if __name__ == "__main__":
    main()
