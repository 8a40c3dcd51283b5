import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;

/** One thread's share of a {@code send} command: the ways of sending, and what each came to. */
final class Sending {
    /** Asynchronous sends in flight at once. */
    private static final int IN_FLIGHT = 256;

    private final DefaultMQProducer producer;
    private final Command command;
    private final Messages messages;
    private final AtomicInteger failed;
    private final long timeout;
    private final Semaphore inFlight = new Semaphore(IN_FLIGHT);

    Sending(DefaultMQProducer producer, Command command, AtomicInteger failed) {
        this.producer = producer;
        this.command = command;
        this.messages = new Messages(command);
        this.failed = failed;
        this.timeout = command.number("timeout", 3000);
    }

    void run(AtomicInteger next, int count, long started) {
        String mode = command.text("mode");
        int step = mode.equals("batch") ? command.number("batch", 4) : 1;
        int rate = command.number("rate", 0);
        for (int i; (i = next.getAndAdd(step)) < count; ) {
            if (rate > 0) {
                LockSupport.parkNanos(Math.max(0, started + i * 1_000_000_000L / rate - System.nanoTime()));
            }
            if (mode.equals("batch")) {
                batch(i, Math.min(step, count - i));
            } else {
                one(mode, messages.message(i));
            }
        }
        // Every answer is in before the command is done.
        inFlight.acquireUninterruptibly(IN_FLIGHT);
    }

    private void one(String mode, Message message) {
        if (mode.equals("async")) {
            async(message);
            return;
        }
        long start = Log.now();
        try {
            switch (mode) {
                case "sync":
                    sent(message, producer.send(message, timeout), start, Log.now());
                    break;
                case "oneway":
                    producer.sendOneway(message);
                    event("sent", message).put("startNs", start).put("endNs", Log.now()).write();
                    break;
                case "ordered":
                    // Messages of one group go to one queue.
                    sent(message, producer.send(message, (queues, sent, shard) -> queues.get(
                        Math.floorMod(shard.hashCode(), queues.size())), message.getProperty("__SHARDINGKEY"), timeout),
                        start, Log.now());
                    break;
                case "transaction":
                    TransactionSendResult half = producer.sendMessageInTransaction(message, null);
                    sent(message, half, start, Log.now());
                    break;
                case "request":
                    String replyId = request(message);
                    event("sent", message).put("replyId", replyId).put("startNs", start).put("endNs", Log.now()).write();
                    break;
                case "recall":
                    SendResult result = producer.send(message, timeout);
                    sent(message, result, start, Log.now());
                    recall(message, (String) Newer.call(result, "getRecallHandle"));
                    break;
                default:
                    throw new IllegalArgumentException("unknown mode " + mode);
            }
        } catch (IllegalArgumentException e) {
            throw e;
        } catch (Exception e) {
            failed(message, e, start, Log.now());
        }
    }

    /** Id of the reply; null where none came: then the request was sent all the same. */
    private String request(Message message) throws Exception {
        try {
            return MessageClientIDSetter.getUniqID(producer.request(message, timeout));
        } catch (RequestTimeoutException e) {
            return null;
        }
    }

    private void async(Message message) {
        inFlight.acquireUninterruptibly();
        long start = Log.now();
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sent(message, result, start, Log.now());
                inFlight.release();
            }

            @Override
            public void onException(Throwable e) {
                failed(message, e, start, Log.now());
                inFlight.release();
            }
        };
        try {
            producer.send(message, callback, timeout);
        } catch (Exception e) {
            callback.onException(e);
        }
    }

    private void batch(int from, int size) {
        List<Message> batch = new ArrayList<>();
        for (int i = from; i < from + size; i++) {
            batch.add(messages.message(i));
        }
        long start = Log.now();
        try {
            SendResult result = producer.send(batch, timeout);
            long end = Log.now();
            for (int i = 0; i < size; i++) {
                event("sent", batch.get(i)).put("queue", result.getMessageQueue().getQueueId())
                    .put("offset", result.getQueueOffset() + i).put("batch", from).put("batchSize", size)
                    .put("status", result.getSendStatus().name()).put("startNs", start).put("endNs", end).write();
            }
        } catch (Exception e) {
            long end = Log.now();
            batch.forEach(message -> failure(message, e, start, end).put("batch", from).put("batchSize", size).write());
        }
    }

    private void recall(Message message, String handle) {
        long start = Log.now();
        try {
            Object id = Newer.call(producer, "recallMessage", message.getTopic(), handle);
            event("recalled", message).put("recalledId", (String) id).put("startNs", start).put("endNs", Log.now()).write();
        } catch (Exception e) {
            Log.event("command_failed").put("cmd", command.number("cmd", 0)).put("error", "recall: " + e.getCause()).write();
        }
    }

    private Log event(String name, Message message) {
        return Log.event(name).put("cmd", command.number("cmd", 0)).put("mode", command.text("mode"))
            .put("msgId", MessageClientIDSetter.getUniqID(message)).put("topic", message.getTopic())
            .put("tag", message.getTags()).put("key", message.getKeys());
    }

    private void sent(Message message, SendResult result, long start, long end) {
        event("sent", message).put("queue", result.getMessageQueue().getQueueId())
            .put("offset", result.getQueueOffset()).put("offsetMsgId", result.getOffsetMsgId())
            .put("transactionId", result.getTransactionId()).put("status", result.getSendStatus().name())
            .put("startNs", start).put("endNs", end).write();
    }

    private void failed(Message message, Throwable e, long start, long end) {
        failure(message, e, start, end).write();
    }

    private Log failure(Message message, Throwable e, long start, long end) {
        failed.incrementAndGet();
        int code = e instanceof MQBrokerException ? ((MQBrokerException) e).getResponseCode() : 0;
        return event("send_failed", message).put("error", e.getClass().getSimpleName()).put("code", code)
            .put("startNs", start).put("endNs", end);
    }
}
