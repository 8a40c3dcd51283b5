import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** A push consumer that fails a message's first attempts where the command says so. */
final class Consuming implements MessageListenerConcurrently {
    private final DefaultMQPushConsumer consumer;
    private final String group;
    private final int failAttempts;
    private final String failKey;
    private final int delayMs;

    Consuming(Command command) throws MQClientException {
        group = command.text("group");
        failAttempts = command.number("fail", 0);
        failKey = command.text("failKey", null);
        delayMs = command.number("delay", 0);
        consumer = new DefaultMQPushConsumer(group, Credentials.hook(command), new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(command.text("ns"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(command.number("threads", 4));
        consumer.setConsumeThreadMax(command.number("threads", 4));
        // Without it a consumer can stay deaf for half a minute: the broker answers pulls with
        // SUBSCRIPTION_NOT_LATEST until the next heartbeat.
        consumer.setHeartbeatBrokerInterval(1000);
        // The retry topic comes into being with the first heartbeat; its route is otherwise asked for half a minute later.
        consumer.setPollNameServerInterval(1000);
        // What the handler has finished is committed before the end.
        consumer.setAwaitTerminationMillisWhenShutdown(2000);
        for (String topic : command.text("topic").split(",")) {
            consumer.subscribe(topic, command.text("tag", "*"));
        }
        consumer.registerMessageListener(this);
        consumer.start();
    }

    void stop() {
        consumer.shutdown();
    }

    @Override
    public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
        MessageExt message = messages.get(0);
        long start = Log.now();
        if (delayMs > 0) {
            java.util.concurrent.locks.LockSupport.parkNanos(delayMs * 1_000_000L);
        }
        boolean fails = message.getReconsumeTimes() < failAttempts
            && (failKey == null || failKey.equals(message.getKeys()));
        ConsumeConcurrentlyStatus status =
            fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        Log.event("consumed").put("group", group).put("msgId", message.getMsgId()).put("topic", message.getTopic())
            .put("tag", message.getTags()).put("key", message.getKeys())
            .put("queue", message.getQueueId()).put("offset", message.getQueueOffset())
            .put("reconsumeTimes", message.getReconsumeTimes()).put("bornTs", message.getBornTimestamp())
            .put("startNs", start).put("endNs", Log.now()).put("result", status.name()).write();
        return status;
    }
}
