import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageExt;

/** What the application does with messages: takes its time, fails the first attempts where the command says so, replies, logs. */
final class Handler {
    private final String group;
    private final int failAttempts;
    private final String failKey;
    private final int delayMs;
    private final String delayKey;
    private final boolean begins;
    private final String replyGroup;
    private final Replies replies;

    Handler(Command command, Replies replies) {
        group = command.text("group");
        failAttempts = command.number("fail", 0);
        failKey = command.text("failKey", null);
        delayMs = command.number("delay", 0);
        delayKey = command.text("delayKey", null);
        begins = command.flag("begins");
        replyGroup = command.text("reply", null);
        this.replies = replies;
    }

    /** Whether all went well. The messages of one call share its times and its result. */
    boolean handle(List<MessageExt> messages) {
        return handle(messages, messages.get(0).getReconsumeTimes());
    }

    /** The same where the attempt is not the message's own number. */
    boolean handle(List<MessageExt> messages, int attempt) {
        long start = Log.now();
        boolean slow = false;
        boolean fails = false;
        for (MessageExt message : messages) {
            if (begins) {
                log("handling", message).put("startNs", start).write();
            }
            slow |= delayMs > 0 && (delayKey == null || delayKey.equals(message.getKeys()));
            fails |= attempt < failAttempts && (failKey == null || failKey.equals(message.getKeys()));
            // Only a request says where its reply goes.
            if (replyGroup != null && MessageUtil.getReplyToClient(message) != null) {
                reply(message);
            }
        }
        if (slow) {
            LockSupport.parkNanos(delayMs * 1_000_000L);
        }
        String result = fails ? "RECONSUME_LATER" : "CONSUME_SUCCESS";
        long end = Log.now();
        for (MessageExt message : messages) {
            log("consumed", message).put("together", messages.size()).put("startNs", start).put("endNs", end)
                .put("result", result).write();
        }
        return !fails;
    }

    private Log log(String event, MessageExt message) {
        return Log.event(event).put("group", group).put("msgId", message.getMsgId()).put("topic", message.getTopic())
            .put("tag", message.getTags()).put("key", message.getKeys()).put("queue", message.getQueueId())
            .put("offset", message.getQueueOffset()).put("reconsumeTimes", message.getReconsumeTimes())
            .put("bornTs", message.getBornTimestamp());
    }

    private void reply(MessageExt request) {
        long start = Log.now();
        Message reply = null;
        String error = null;
        try {
            reply = MessageUtil.createReplyMessage(request, "BODY-CANARY".getBytes());
            replies.producer(replyGroup).send(reply, 3000);
        } catch (Exception e) {
            error = e.getClass().getSimpleName();
        }
        if (reply != null) {
            Log.event("replied").put("group", replyGroup).put("msgId", MessageClientIDSetter.getUniqID(reply))
                .put("requestId", MessageClientIDSetter.getUniqID(request)).put("topic", reply.getTopic())
                .put("error", error).put("startNs", start).put("endNs", Log.now()).write();
        }
    }
}
