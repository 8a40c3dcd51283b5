"""A push consumer that fails a message's first attempts where the command says so."""

import collections
import time

from log import now
from rocketmq.exceptions import ffi_check
from rocketmq.ffi import MSG_CALLBACK_FUNC, MessageModel, dll

SUCCESS, LATER = 0, 1


class Consuming:
    """A consumer of one group."""

    def __init__(self, log, command):
        self._log = log
        self._group = command.text("group")
        self._fail_attempts = command.number("fail", 0)
        self._fail_key = command.text("failKey", "")
        self._delay = command.number("delay", 0) / 1e3
        self._delay_key = command.text("delayKey", "")
        self._begins = command.number("begins", 0)
        # In order, the library gives a failed message to the handler again and again, but does not count.
        self._orderly = command.number("orderly", 0)
        self._attempts = collections.Counter()
        self._handle = dll.CreatePushConsumer(self._group.encode())
        ffi_check(dll.SetPushConsumerNameServerAddress(self._handle, command.text("ns").encode()))
        ffi_check(dll.SetPushConsumerInstanceName(self._handle, self._group.encode()))
        ffi_check(dll.SetPushConsumerThreadCount(self._handle, command.number("threads", 4)))
        ffi_check(dll.SetPushConsumerMessageBatchMaxSize(self._handle, 1))
        ffi_check(dll.SetPushConsumerMessageModel(
            self._handle, MessageModel.BROADCASTING if command.number("broadcast", 0) else MessageModel.CLUSTERING))
        secret = command.text("auth", "")
        if secret:
            ffi_check(dll.SetPushConsumerSessionCredentials(
                self._handle, f"ACCESS-{secret}".encode(), f"SECRET-{secret}".encode(), b"ALIYUN"))
        for topic in command.text("topic").split(","):
            ffi_check(dll.Subscribe(self._handle, topic.encode(), command.text("tag", "*").encode()))
        self._callback = MSG_CALLBACK_FUNC(self._consume)
        register = dll.RegisterMessageCallbackOrderly if self._orderly else dll.RegisterMessageCallback
        ffi_check(register(self._handle, self._callback))
        ffi_check(dll.StartPushConsumer(self._handle))

    def stop(self):
        """What the handler has finished is committed before the end."""
        ffi_check(dll.ShutdownPushConsumer(self._handle))

    def _consume(self, _consumer, message):
        start = now()
        key = (dll.GetMessageKeys(message) or b"").decode()
        line = {
            "group": self._group, "msgId": dll.GetMessageId(message).decode(), "topic": dll.GetMessageTopic(message).decode(),
            "tag": (dll.GetMessageTags(message) or b"").decode(), "key": key, "queue": dll.GetMessageQueueId(message),
            "offset": dll.GetMessageQueueOffset(message), "reconsumeTimes": dll.GetMessageReconsumeTimes(message),
            "bornTs": dll.GetMessageBornTimestamp(message), "startNs": start,
        }
        if self._begins:
            self._log.write("handling", **line)
        if self._delay_key in ("", key):
            time.sleep(self._delay)
        attempt = line["reconsumeTimes"]
        if self._orderly:
            attempt = self._attempts[key]
            self._attempts[key] += 1
        fails = attempt < self._fail_attempts and self._fail_key in ("", key)
        self._log.write("consumed", **line, endNs=now(), result="RECONSUME_LATER" if fails else "CONSUME_SUCCESS")
        return LATER if fails else SUCCESS
