import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;

/** A producer and the four ways of sending. */
final class Producing {
    /** Asynchronous sends in flight at once. */
    private static final int IN_FLIGHT = 256;

    private final DefaultMQProducer producer;

    Producing(Command command) throws MQClientException {
        producer = new DefaultMQProducer(command.text("group"), Credentials.hook(command));
        producer.setNamesrvAddr(command.text("ns"));
        producer.setRetryTimesWhenSendFailed(command.number("retries", 0));
        producer.setRetryTimesWhenSendAsyncFailed(command.number("retries", 0));
        producer.setMaxMessageSize(command.number("maxSize", 4 << 20));
        // Bodies travel as they are, so that a test knows how many bytes are on the wire.
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setHeartbeatBrokerInterval(1000);
        producer.start();
    }

    void stop() {
        producer.shutdown();
    }

    /** One {@code send} command, spread over its threads. */
    void send(Command command) {
        int count = command.number("count", 1);
        int threads = command.number("threads", 1);
        AtomicInteger next = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        CountDownLatch finished = new CountDownLatch(threads);
        long started = System.nanoTime();
        for (int t = 0; t < threads; t++) {
            new Thread(() -> {
                try {
                    new Work(command, count, next, failed, started).run();
                } finally {
                    finished.countDown();
                }
            }, "sender-" + t).start();
        }
        try {
            finished.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        Log.event("done").put("cmd", command.number("cmd", 0)).put("count", count).put("failed", failed.get())
            .put("tookNs", System.nanoTime() - started).write();
    }

    /** One thread's share of a {@code send} command. */
    private final class Work {
        private final Command command;
        private final int count;
        private final AtomicInteger next;
        private final AtomicInteger failed;
        private final long started;
        private final int rate;
        private final long timeout;
        private final Semaphore inFlight = new Semaphore(IN_FLIGHT);

        Work(Command command, int count, AtomicInteger next, AtomicInteger failed, long started) {
            this.command = command;
            this.count = count;
            this.next = next;
            this.failed = failed;
            this.started = started;
            this.rate = command.number("rate", 0);
            this.timeout = command.number("timeout", 3000);
        }

        void run() {
            String mode = command.text("mode");
            int step = mode.equals("batch") ? command.number("batch", 4) : 1;
            for (int i; (i = next.getAndAdd(step)) < count; ) {
                pace(i);
                switch (mode) {
                    case "sync":
                        sync(message(i));
                        break;
                    case "async":
                        async(message(i));
                        break;
                    case "oneway":
                        oneway(message(i));
                        break;
                    case "batch":
                        batch(i, Math.min(step, count - i));
                        break;
                    default:
                        throw new IllegalArgumentException("unknown mode " + mode);
                }
            }
            // Every answer is in before the command is done.
            inFlight.acquireUninterruptibly(IN_FLIGHT);
        }

        private void pace(int i) {
            if (rate > 0) {
                long due = started + i * 1_000_000_000L / rate - System.nanoTime();
                if (due > 0) {
                    java.util.concurrent.locks.LockSupport.parkNanos(due);
                }
            }
        }

        private Message message(int i) {
            String key = command.text("key", "k") + "-" + i;
            Message message = new Message(command.text("topic"), command.text("tag", "TagA"), key,
                body(command.number("size", 100)));
            message.putUserProperty("note", "PROPERTY-CANARY");
            return message;
        }

        private void sync(Message message) {
            long start = Log.now();
            try {
                SendResult result = producer.send(message, timeout);
                sent(message, result, start, Log.now());
            } catch (Exception e) {
                failed(message, e, start, Log.now());
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

        private void oneway(Message message) {
            long start = Log.now();
            try {
                producer.sendOneway(message);
                event("sent", message).put("startNs", start).put("endNs", Log.now()).write();
            } catch (Exception e) {
                failed(message, e, start, Log.now());
            }
        }

        private void batch(int from, int size) {
            List<Message> messages = new ArrayList<>();
            for (int i = from; i < from + size; i++) {
                messages.add(message(i));
            }
            long start = Log.now();
            try {
                SendResult result = producer.send(messages, timeout);
                long end = Log.now();
                for (int i = 0; i < size; i++) {
                    event("sent", messages.get(i)).put("queue", result.getMessageQueue().getQueueId())
                        .put("offset", result.getQueueOffset() + i).put("batch", from).put("batchSize", size)
                        .put("status", result.getSendStatus().name()).put("startNs", start).put("endNs", end).write();
                }
            } catch (Exception e) {
                messages.forEach(message -> failed(message, e, start, Log.now()));
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
                .put("status", result.getSendStatus().name()).put("startNs", start).put("endNs", end).write();
        }

        private void failed(Message message, Throwable e, long start, long end) {
            failed.incrementAndGet();
            int code = e instanceof MQBrokerException ? ((MQBrokerException) e).getResponseCode() : 0;
            event("send_failed", message).put("error", e.getClass().getSimpleName()).put("code", code)
                .put("startNs", start).put("endNs", end).write();
        }
    }

    /** A body that does not compress and that a test can search the tracer's output for. */
    private static byte[] body(int size) {
        byte[] body = new byte[size];
        ThreadLocalRandom.current().nextBytes(body);
        byte[] canary = "BODY-CANARY".getBytes(StandardCharsets.US_ASCII);
        for (int at = 0; at < size; at += 4096) {
            System.arraycopy(canary, 0, body, at, Math.min(canary.length, size - at));
        }
        return body;
    }
}
