"""The C++ client under the control of a test, through its C interface.

It understands the same commands on standard input and writes the same JSON lines on standard output as the Java program
beside it (../java/TestClient.java has the list). Its sends cannot be told how often to retry.
"""

import os
import sys
import threading

from command import Command
from consuming import Consuming
from log import Log
from producing import Producing


class Client:
    """Everything that the commands so far have started."""

    def __init__(self, log):
        self._log = log
        self._producers = {}
        self._consumers = {}

    def run(self, command):
        """Carries out a command."""
        group = command.text("group")
        if command.verb == "producer":
            self._producers[group] = Producing(self._log, command)
        elif command.verb == "send":
            # In the background: a test gives the next command while this one is under way.
            producer = self._producers[group]
            threading.Thread(target=self._guarded, args=(producer.send, command)).start()
            return
        elif command.verb == "consumer":
            self._consumers[group] = Consuming(self._log, command)
        elif command.verb == "stop":
            for running in (self._consumers.pop(group, None), self._producers.pop(group, None)):
                if running:
                    running.stop()
        else:
            raise ValueError(f"unknown command {command.verb}")
        self._log.write("done", cmd=command.number("cmd"))

    def stop(self):
        """Stops everything in order."""
        for running in (*self._consumers.values(), *self._producers.values()):
            running.stop()

    def _guarded(self, work, command):
        try:
            work(command)
        except Exception as error:  # whatever it is, the test must hear of it
            self._log.write("command_failed", cmd=command.number("cmd"), error=repr(error))


def main():
    """Reads commands until the end of standard input."""
    log = Log()
    client = Client(log)
    log.write("started", pid=os.getpid())
    for line in sys.stdin:
        command = Command(line)
        try:
            client.run(command)
        except Exception as error:  # whatever it is, the test must hear of it
            log.write("command_failed", cmd=command.number("cmd"), error=repr(error))
    client.stop()
    log.close()
    # The library's threads do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
