"""A module that needs another one, which is not there."""

import no_such_dependency

app = no_such_dependency.app
