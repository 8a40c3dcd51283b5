import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** A lite pull consumer: a thread that polls and handles, with queues subscribed or assigned, committed automatically or by hand. */
final class Polling implements Consuming {
    private final DefaultLitePullConsumer consumer;
    private final Handler handler;
    private final boolean manual;
    private final Thread thread = new Thread(this::poll, "poll");
    private volatile boolean running = true;

    @SuppressWarnings("deprecation")
    Polling(Command command, Handler handler) throws Exception {
        this.handler = handler;
        manual = command.flag("manual");
        consumer = new DefaultLitePullConsumer(command.text("group"), Credentials.hook(command));
        consumer.setNamesrvAddr(command.text("ns"));
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPollNameServerInterval(1000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(!manual);
        consumer.setAutoCommitIntervalMillis(1000);
        consumer.setPullBatchSize(command.number("batch", 10));
        String topic = command.text("topic");
        if (!command.flag("assign")) {
            String sql = command.text("sql", null);
            if (sql == null) {
                consumer.subscribe(topic, command.text("tag", "*"));
            } else {
                consumer.subscribe(topic, MessageSelector.bySql(sql));
            }
        }
        consumer.start();
        if (command.flag("assign")) {
            consumer.assign(consumer.fetchMessageQueues(topic));
        }
        thread.start();
    }

    @SuppressWarnings("deprecation")
    private void poll() {
        // An application that ends in order lets what it has handled be committed: that is done in a later poll.
        long handled = System.nanoTime();
        while (running || !manual && System.nanoTime() - handled < 2_000_000_000L) {
            List<MessageExt> messages = consumer.poll(200);
            if (!messages.isEmpty()) {
                handled = System.nanoTime();
            }
            // One after the other, as an application would.
            messages.forEach(message -> handler.handle(List.of(message)));
            if (manual && !messages.isEmpty()) {
                consumer.commitSync();
            }
        }
    }

    @Override
    public void stop() {
        running = false;
        try {
            thread.join(10_000);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        consumer.shutdown();
    }
}
