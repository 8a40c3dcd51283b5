"""The program's own account: JSON lines, written by a thread of their own, so that a slow reader never shows in the times of
a send."""

import json
import queue
import sys
import threading
import time


class Log:
    """Writes events to standard output, in the order in which they happened."""

    def __init__(self):
        self._events = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def write(self, event, **fields):
        """Adds one line."""
        self._events.put({"event": event, **fields})

    def close(self):
        """Writes what is left."""
        self._events.put(None)
        self._thread.join(10)

    def _drain(self):
        while (event := self._events.get()) is not None:
            sys.stdout.write(json.dumps(event) + "\n")
            if self._events.empty():
                sys.stdout.flush()
        sys.stdout.flush()


def now():
    """Wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()
