"""A producer and its ways of sending: sync, async, oneway, batch, ordered."""

import ctypes
import os
import re
import threading
import time

from log import now
from rocketmq.exceptions import RocketMQException, ffi_check
from rocketmq.ffi import (
    QUEUE_SELECTOR_CALLBACK,
    SEND_EXCEPTION_CALLBACK,
    SEND_SUCCESS_CALLBACK,
    _CSendResult,
    dll,
)

# Asynchronous sends in flight at once.
IN_FLIGHT = 256

STATUS = ["SEND_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE"]

# Not in the wheel's Python part. Zlib's level is what the part that is there sets; this is the size from which it is used.
dll.SetProducerCompressMsgBodyOverHowmuch.argtypes = [ctypes.c_void_p, ctypes.c_int]
# Of messages to be sent: the same class holds received ones.
_property = dll.GetMessageProperty


class Producing:
    """A producer of one group."""

    def __init__(self, log, command):
        self._log = log
        self._handle = dll.CreateProducer(command.text("group").encode())
        ffi_check(dll.SetProducerNameServerAddress(self._handle, command.text("ns").encode()))
        ffi_check(dll.SetProducerInstanceName(self._handle, command.text("group").encode()))
        ffi_check(dll.SetProducerSendMsgTimeout(self._handle, command.number("timeout", 3000)))
        ffi_check(dll.SetProducerMaxMessageSize(self._handle, command.number("maxSize", 4 << 20)))
        # Unless asked for otherwise, bodies travel as they are, so that a test knows how many bytes are on the wire.
        dll.SetProducerCompressMsgBodyOverHowmuch(self._handle, command.number("compress", (1 << 31) - 1))
        secret = command.text("auth", "")
        if secret:
            ffi_check(dll.SetProducerSessionCredentials(
                self._handle, f"ACCESS-{secret}".encode(), f"SECRET-{secret}".encode(), b"ALIYUN"))
        ffi_check(dll.StartProducer(self._handle))

    def stop(self):
        """Closes the connections."""
        ffi_check(dll.ShutdownProducer(self._handle))

    def send(self, command):
        """One `send` command, spread over its threads."""
        work = Work(self._log, self._handle, command)
        threads = [threading.Thread(target=work.run) for _ in range(command.number("threads", 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        work.finish()


class Work:
    """A `send` command under way."""

    def __init__(self, log, producer, command):
        self._log = log
        self._producer = producer
        self._command = command
        self._mode = command.text("mode", "sync")
        self._count = command.number("count", 1)
        self._started = time.monotonic_ns()
        self._lock = threading.Lock()
        self._next = 0
        self._failed = 0
        self._slots = threading.Semaphore(IN_FLIGHT)
        # The library calls back into these after the call has returned.
        self._callbacks = []

    def run(self):
        """One thread's share."""
        step = self._command.number("batch", 4) if self._mode == "batch" else 1
        rate = self._command.number("rate", 0)
        ways = {"sync": self._sync, "async": self._async, "oneway": self._oneway, "ordered": self._ordered}
        while True:
            with self._lock:
                i = self._next
                self._next += step
            if i >= self._count:
                return
            if rate > 0:
                due = self._started + i * 1_000_000_000 // rate - time.monotonic_ns()
                time.sleep(max(0, due) / 1e9)
            if self._mode == "batch":
                self._batch(i, min(step, self._count - i))
            elif self._mode in ways:
                ways[self._mode](Message(self._command, i))
            else:
                raise ValueError(f"unknown mode {self._mode}")

    def finish(self):
        """Every answer is in before the command is done."""
        for _ in range(IN_FLIGHT):
            self._slots.acquire()
        self._log.write("done", cmd=self._command.number("cmd"), count=self._count, failed=self._failed,
                        tookNs=time.monotonic_ns() - self._started)

    def _sync(self, message):
        result = _CSendResult()
        start = now()
        status = dll.SendMessageSync(self._producer, message.handle, ctypes.pointer(result))
        self._outcome(message, status, result, start, now())

    def _async(self, message):
        self._slots.acquire()
        start = now()

        def on_success(result):
            self._sent(message, result.contents, start, now())
            self._slots.release()

        def on_exception(exception):
            self._failed_with(message, exception.msg.decode(errors="replace"), start, now())
            self._slots.release()

        callbacks = SEND_SUCCESS_CALLBACK(on_success), SEND_EXCEPTION_CALLBACK(on_exception)
        self._callbacks.append(callbacks)
        status = dll.SendMessageAsync(self._producer, message.handle, *callbacks)
        if status != 0:
            self._failed_with(message, last_error(status), start, now())
            self._slots.release()

    def _oneway(self, message):
        start = now()
        status = dll.SendMessageOneway(self._producer, message.handle)
        end = now()
        if status == 0:
            self._write("sent", message, start, end)
        else:
            self._failed_with(message, last_error(status), start, end)

    def _ordered(self, message):
        """The same queue for all messages of a shard."""
        chosen = []

        def select(queues, _message, _argument):
            chosen.append(message.number % self._command.number("shards", 1) % queues)
            return chosen[-1]

        selector = QUEUE_SELECTOR_CALLBACK(select)
        # The library refuses a null pointer, though the selector needs nothing.
        nothing = ctypes.pointer(ctypes.c_int(0))
        result = _CSendResult()
        start = now()
        status = dll.SendMessageOrderly(self._producer, message.handle, selector, nothing, 0, ctypes.pointer(result))
        self._outcome(message, status, result, start, now(), queue=chosen[-1] if chosen else None)

    def _batch(self, first, size):
        """What this library calls a batch is none to the broker, which stores it as one message without key, tag or id: one
        line."""
        messages = [Message(self._command, i) for i in range(first, first + size)]
        batch = dll.CreateBatchMessage()
        for message in messages:
            ffi_check(dll.AddMessage(batch, message.handle))
        result = _CSendResult()
        start = now()
        status = dll.SendBatchMessage(self._producer, batch, ctypes.pointer(result))
        self._outcome(messages[0], status, result, start, now(), msgId="", tag="", key="", batch=first, batchSize=size)
        dll.DestroyBatchMessage(batch)

    def _outcome(self, message, status, result, start, end, **more):
        if status == 0:
            self._sent(message, result, start, end, **more)
        else:
            self._failed_with(message, last_error(status), start, end)

    def _sent(self, message, result, start, end, **more):
        self._write("sent", message, start, end, offset=result.offset, status=STATUS[result.sendStatus], **more)

    def _failed_with(self, message, error, start, end):
        with self._lock:
            self._failed += 1
        code = re.search(r"CODE: ?(\d+)|code:(\d+)", error)
        self._write("send_failed", message, start, end, error=error,
                    code=int(next(filter(None, code.groups()))) if code else 0)

    def _write(self, event, message, start, end, **more):
        line = {"cmd": self._command.number("cmd"), "mode": self._mode, "msgId": message.id(), "topic": message.topic,
                "tag": message.tag, "key": message.key, "startNs": start, "endNs": end}
        self._log.write(event, **{**line, **more})


class Message:
    """A message to be sent, made in the library."""

    def __init__(self, command, number):
        self.number = number
        self.topic = command.text("topic")
        # Several tags, separated by commas, take turns.
        tags = command.text("tag", "TagA").split(",")
        self.tag = tags[number % len(tags)]
        self.key = f"{command.text('key', 'k')}-{number}"
        size = command.number("size", 100)
        content = text(size) if command.number("text", 0) else body(size)
        self.handle = dll.CreateMessage(self.topic.encode())
        ffi_check(dll.SetMessageTags(self.handle, self.tag.encode()))
        ffi_check(dll.SetMessageKeys(self.handle, self.key.encode()))
        ffi_check(dll.SetByteMessageBody(self.handle, content, len(content)))
        properties = {"note": "PROPERTY-CANARY", "number": str(number), **command.with_prefix("prop.")}
        for name, value in properties.items():
            ffi_check(dll.SetMessageProperty(self.handle, name.encode(), value.encode()))
        if command.number("timer", 0) > 0:
            due = now() // 1_000_000 + command.number("timer")
            ffi_check(dll.SetMessageProperty(self.handle, b"TIMER_DELIVER_MS", str(due).encode()))
        if command.number("level", 0) > 0:
            ffi_check(dll.SetDelayTimeLevel(self.handle, command.number("level")))

    def __del__(self):
        dll.DestroyMessage(self.handle)

    def id(self):
        """The key that the library gave the message when it was sent."""
        return (_property(self.handle, b"UNIQ_KEY") or b"").decode()


def last_error(status):
    """What the library says about a call that failed."""
    try:
        ffi_check(status)
    except RocketMQException as error:
        return str(error)
    return f"status {status}"


def body(size):
    """Does not compress, and a test can search the tracer's output for what stands in it."""
    content = bytearray(os.urandom(size))
    canary = b"BODY-CANARY"
    for at in range(0, size, 4096):
        part = canary[:size - at]
        content[at:at + len(part)] = part
    return bytes(content)


def text(size):
    """Compresses well."""
    return (b"BODY-CANARY " * (size // 12 + 1))[:size]
