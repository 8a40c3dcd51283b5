"""What the program is told: lines of a verb and key=value arguments."""

from urllib.parse import unquote_plus


class Command:
    """One line of standard input. Values are URL-encoded."""

    def __init__(self, line):
        words = line.split()
        self.verb = words[0]
        self._arguments = {}
        for word in words[1:]:
            key, _, value = word.partition("=")
            self._arguments[key] = unquote_plus(value)

    def text(self, key, otherwise=None):
        """An argument, or `otherwise`; without that it must be there."""
        value = self._arguments.get(key, otherwise)
        if value is None:
            raise ValueError(f"{self.verb} needs {key}=…")
        return value

    def number(self, key, otherwise=0):
        """A whole number."""
        return int(self._arguments.get(key, otherwise))

    def with_prefix(self, prefix):
        """Every argument whose name begins with `prefix`, by the rest of its name."""
        return {key[len(prefix):]: value for key, value in self._arguments.items() if key.startswith(prefix)}
