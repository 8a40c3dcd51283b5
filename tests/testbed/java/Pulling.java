import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumerScheduleService;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The old pull consumer: the application asks for each queue at the offset that it keeps, itself or on a schedule. */
@SuppressWarnings("deprecation")
final class Pulling implements Consuming {
    private final DefaultMQPullConsumer consumer;
    private final MQPullConsumerScheduleService schedule;
    private final Handler handler;
    private final String tag;
    private final int batch;
    private final Thread thread;
    private final Map<MessageQueue, Long> offsets = new ConcurrentHashMap<>();
    private volatile boolean running = true;

    Pulling(Command command, Handler handler) throws Exception {
        this.handler = handler;
        tag = command.text("tag", "*");
        batch = command.number("batch", 10);
        String topic = command.text("topic");
        if (command.text("kind").equals("schedule")) {
            schedule = new MQPullConsumerScheduleService(command.text("group"));
            consumer = schedule.getDefaultMQPullConsumer();
            schedule.registerPullTaskCallback(topic, (queue, context) -> {
                try {
                    pull(context.getPullConsumer(), queue);
                } catch (Exception e) {
                    complain(e);
                }
                context.setPullNextDelayTimeMillis(100);
            });
            thread = null;
        } else {
            schedule = null;
            consumer = new DefaultMQPullConsumer(command.text("group"), Credentials.hook(command));
            // Offsets are kept for queues of these topics only.
            consumer.setRegisterTopics(Set.of(topic));
            thread = new Thread(() -> pullAll(topic), "pull");
        }
        consumer.setNamesrvAddr(command.text("ns"));
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPollNameServerInterval(1000);
        if (schedule == null) {
            consumer.start();
            thread.start();
        } else {
            Newer.setConstant(schedule, "setMessageModel", "CLUSTERING");
            schedule.start();
        }
    }

    private void pullAll(String topic) {
        TreeMap<MessageQueue, Boolean> queues = new TreeMap<>();
        while (running) {
            try {
                if (queues.isEmpty()) {
                    consumer.fetchSubscribeMessageQueues(topic).forEach(queue -> queues.put(queue, true));
                }
                for (MessageQueue queue : queues.keySet()) {
                    pull(consumer, queue);
                }
                Thread.sleep(50);
            } catch (InterruptedException e) {
                return;
            } catch (Exception e) {
                complain(e);
            }
        }
    }

    private void pull(MQPullConsumer from, MessageQueue queue) throws Exception {
        long offset = offsets.getOrDefault(queue, 0L);
        PullResult result = from.pull(queue, tag, offset, batch);
        if (result.getPullStatus() == PullStatus.FOUND) {
            for (MessageExt message : result.getMsgFoundList()) {
                handler.handle(List.of(message));
            }
        }
        offsets.put(queue, result.getNextBeginOffset());
        from.updateConsumeOffset(queue, result.getNextBeginOffset());
    }

    private static void complain(Exception e) {
        Log.event("complaint").put("error", e.toString()).write();
    }

    @Override
    public void stop() {
        running = false;
        if (schedule != null) {
            schedule.shutdown();
            return;
        }
        try {
            thread.join(10_000);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        consumer.shutdown();
    }
}
