import java.nio.charset.StandardCharsets;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;

/** The messages of one {@code send} command. */
final class Messages {
    private final Command command;

    Messages(Command command) {
        this.command = command;
    }

    Message message(int i) {
        String key = command.text("key", "k") + "-" + i;
        int size = command.number("size", 100);
        Message message = new Message(command.text("topic"), tag(i), key, body(size));
        message.putUserProperty("note", "PROPERTY-CANARY");
        // What SQL filters look at.
        message.putUserProperty("number", Integer.toString(i));
        command.each("prop.", (name, value) -> MessageAccessor.putProperty(message, name, value));
        if (command.number("level", 0) > 0) {
            message.setDelayTimeLevel(command.number("level", 0));
        }
        if (command.number("timer", 0) > 0) {
            // What setDeliverTimeMs of 5.x does.
            long at = System.currentTimeMillis() + command.number("timer", 0);
            MessageAccessor.putProperty(message, "TIMER_DELIVER_MS", Long.toString(at));
        }
        if (command.text("shards", null) != null) {
            // What a 5.x server knows as the message group.
            MessageAccessor.putProperty(message, "__SHARDINGKEY", "shard-" + i % command.number("shards", 1));
        }
        return message;
    }

    /** Several tags, separated by commas, take turns. */
    private String tag(int i) {
        String[] tags = command.text("tag", "TagA").split(",");
        return tags[i % tags.length];
    }

    /**
     * A body that a test can search the tracer's output for. It does not compress, unless it is {@code text}; a
     * {@code marked} one is nothing but marks.
     */
    private byte[] body(int size) {
        byte[] body = new byte[size];
        if (command.flag("text")) {
            java.util.Arrays.fill(body, (byte) 'x');
        } else if (!command.flag("marked")) {
            ThreadLocalRandom.current().nextBytes(body);
        }
        byte[] canary = "BODY-CANARY".getBytes(StandardCharsets.US_ASCII);
        int step = command.flag("marked") ? canary.length : 4096;
        for (int at = 0; at < body.length; at += step) {
            System.arraycopy(canary, 0, body, at, Math.min(canary.length, body.length - at));
        }
        return body;
    }
}
