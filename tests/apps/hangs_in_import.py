"""Never becomes an application."""

from hangs import app, sleeping

sleeping()
