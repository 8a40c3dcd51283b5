import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.trace.TraceBean;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Tells every record in a trace topic, from its first offset to the last one there is now, as the library's own decoder reads it. */
@SuppressWarnings("deprecation")
final class Traces {
    private Traces() {
    }

    static void read(Command command) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(command.text("group"));
        consumer.setNamesrvAddr(command.text("ns"));
        consumer.start();
        try {
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(command.text("topic"))) {
                long end = consumer.maxOffset(queue);
                for (long offset = consumer.minOffset(queue); offset < end; ) {
                    PullResult result = consumer.pull(queue, "*", offset, 32);
                    if (result.getNextBeginOffset() <= offset) {
                        throw new IllegalStateException(queue + " gives nothing at " + offset + ": " + result);
                    }
                    offset = result.getNextBeginOffset();
                    if (result.getMsgFoundList() != null) {
                        result.getMsgFoundList().forEach(Traces::tell);
                    }
                }
            }
        } finally {
            consumer.shutdown();
        }
    }

    private static void tell(MessageExt message) {
        String text = new String(message.getBody(), StandardCharsets.UTF_8);
        for (TraceContext context : TraceDataEncoder.decoderFromTraceDataString(text)) {
            for (TraceBean bean : context.getTraceBeans()) {
                Log.event("traced").put("type", context.getTraceType().name()).put("group", context.getGroupName())
                        .put("request", context.getRequestId()).put("timeMs", context.getTimeStamp())
                        .put("costMs", context.getCostTime()).put("success", String.valueOf(context.isSuccess()))
                        .put("msgId", bean.getMsgId()).put("topic", bean.getTopic())
                        .put("retryTimes", bean.getRetryTimes()).write();
            }
        }
    }
}
