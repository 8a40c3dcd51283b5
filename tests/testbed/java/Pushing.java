import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** A push consumer: concurrent or orderly, sharing or broadcasting, by pull or by pop. */
final class Pushing implements Consuming {
    private final DefaultMQPushConsumer consumer;

    Pushing(Command command, Handler handler) throws Exception {
        consumer = new DefaultMQPushConsumer(command.text("group"), Credentials.hook(command),
            new AllocateMessageQueueAveragely(), command.flag("trace"), null);
        consumer.setNamesrvAddr(command.text("ns"));
        from(command.text("from", "first"));
        consumer.setConsumeThreadMin(command.number("threads", 4));
        consumer.setConsumeThreadMax(command.number("threads", 4));
        consumer.setConsumeMessageBatchMaxSize(command.number("batch", 1));
        consumer.setMaxReconsumeTimes(command.number("maxRetries", -1));
        // How long an orderly consumer leaves a queue alone after a failure.
        consumer.setSuspendCurrentQueueTimeMillis(500);
        // Without it a consumer can stay deaf for half a minute: the broker answers pulls with
        // SUBSCRIPTION_NOT_LATEST until the next heartbeat.
        consumer.setHeartbeatBrokerInterval(1000);
        // The retry topic comes into being with the first heartbeat; its route is otherwise asked for half a minute later.
        consumer.setPollNameServerInterval(1000);
        // What the handler has finished is committed before the end.
        consumer.setAwaitTerminationMillisWhenShutdown(2000);
        if (command.flag("broadcast")) {
            Newer.setConstant(consumer, "setMessageModel", "BROADCASTING");
        }
        if (command.flag("serverRebalance")) {
            Newer.call(consumer, "setClientRebalance", false);
        }
        if (command.number("invisible", 0) > 0) {
            Newer.call(consumer, "setPopInvisibleTime", (long) command.number("invisible", 0));
        }
        String sql = command.text("sql", null);
        for (String topic : command.text("topic").split(",")) {
            if (sql == null) {
                consumer.subscribe(topic, command.text("tag", "*"));
            } else {
                consumer.subscribe(topic, MessageSelector.bySql(sql));
            }
        }
        if (command.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> handler.handle(messages)
                ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> handler.handle(messages)
                ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumer.start();
    }

    /** {@code first}, {@code last}, or {@code ago:MILLISECONDS}. */
    private void from(String where) {
        if (where.startsWith("ago:")) {
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
            long at = System.currentTimeMillis() - Long.parseLong(where.substring(4));
            consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(at));
        } else {
            consumer.setConsumeFromWhere(where.equals("last") ? ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET
                : ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        }
    }

    @Override
    public void pause(boolean paused) {
        if (paused) {
            consumer.suspend();
        } else {
            consumer.resume();
        }
    }

    @Override
    public void stop() {
        consumer.shutdown();
    }
}
