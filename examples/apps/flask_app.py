"""A guestbook in Flask: sessions, forms, uploads, redirects, SQLite, static files, streaming.

    pip install flask
    serve --chdir examples/apps flask_app:app

What it stores is under $DEMO_DATA, by default a folder of the system's temporary directory.
"""

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from flask import Flask, abort, redirect, render_template_string, request, send_from_directory, session, url_for
from werkzeug.utils import secure_filename

DATA = Path(os.environ.get("DEMO_DATA") or Path(tempfile.gettempdir()) / "guestbook-flask")
UPLOADS = DATA / "uploads"
UPLOADS.mkdir(parents=True, exist_ok=True)

app = Flask(__name__)
# All workers must agree on it, or a session started in one is lost in the next.
app.secret_key = os.environ.get("SECRET_KEY", "only good enough for a demonstration")

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Guestbook</title>
<link rel="stylesheet" href="{{ url_for('static', filename='style.css') }}">
<h1>Guest<b>book</b></h1>
<p>Visit {{ session.visits }}{% if session.name %}, {{ session.name }}{% endif %}.
<form method="post" action="{{ url_for('sign') }}">
  <input name="name" placeholder="name" required>
  <input name="message" placeholder="message" required>
  <button>Sign</button>
</form>
<form method="post" action="{{ url_for('upload') }}" enctype="multipart/form-data">
  <input type="file" name="file" required>
  <button>Upload</button>
</form>
<ul>
{%- for name, message in entries %}
  <li>{{ message }} <small>{{ name }}</small>
{%- endfor %}
</ul>
<small>worker {{ pid }}, <a href="{{ url_for('stream') }}">a streamed page</a></small>
</html>
"""


def database():
    connection = sqlite3.connect(DATA / "guestbook.sqlite3", timeout=10)
    connection.execute("CREATE TABLE IF NOT EXISTS entry (name TEXT NOT NULL, message TEXT NOT NULL)")
    return connection


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    with closing(database()) as db:
        entries = db.execute("SELECT name, message FROM entry ORDER BY rowid DESC LIMIT 50").fetchall()
    return render_template_string(PAGE, entries=entries, pid=os.getpid())


@app.post("/sign")
def sign():
    session["name"] = request.form["name"]
    with closing(database()) as db, db:
        db.execute("INSERT INTO entry VALUES (?, ?)", (request.form["name"], request.form["message"]))
    return redirect(url_for("index"))


@app.post("/upload")
def upload():
    file = request.files["file"]
    name = secure_filename(file.filename or "") or abort(400)
    file.save(UPLOADS / name)
    return redirect(url_for("download", name=name))


@app.get("/uploads/<name>")
def download(name):
    return send_from_directory(UPLOADS, name, as_attachment=True)


@app.get("/stream")
def stream():
    def lines():
        for number in range(5):
            yield f"line {number}\n"
            time.sleep(1)

    return lines(), {"Content-Type": "text/plain; charset=utf-8"}


@app.get("/boom")
def boom():
    raise RuntimeError("the view that always fails")


@app.errorhandler(404)
def not_found(_):
    return render_template_string("<!doctype html><title>404</title><h1>No such page</h1>"), 404
