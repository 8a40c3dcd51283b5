import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionMQProducer;

/** A producer, and the threads of its {@code send} commands. */
final class Producing {
    private final DefaultMQProducer producer;

    @SuppressWarnings("deprecation")
    Producing(Command command) throws MQClientException {
        String group = command.text("group");
        boolean trace = command.flag("trace");
        if (command.flag("transactions")) {
            TransactionMQProducer transactional =
                new TransactionMQProducer(null, group, Credentials.hook(command), trace, null);
            transactional.setTransactionListener(new Transactions());
            producer = transactional;
        } else {
            producer = new DefaultMQProducer(group, Credentials.hook(command), trace, null);
        }
        producer.setNamesrvAddr(command.text("ns"));
        producer.setRetryTimesWhenSendFailed(command.number("retries", 0));
        producer.setRetryTimesWhenSendAsyncFailed(command.number("retries", 0));
        producer.setMaxMessageSize(command.number("maxSize", 4 << 20));
        // Unless asked for otherwise, bodies travel as they are, so that a test knows how many bytes are on the wire.
        producer.setCompressMsgBodyOverHowmuch(command.number("compress", Integer.MAX_VALUE));
        producer.setHeartbeatBrokerInterval(1000);
        producer.start();
    }

    /** For replies. */
    DefaultMQProducer producer() {
        return producer;
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
                    new Sending(producer, command, failed).run(next, count, started);
                } catch (RuntimeException e) {
                    Log.event("command_failed").put("cmd", command.number("cmd", 0)).put("error", e.toString()).write();
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
}
