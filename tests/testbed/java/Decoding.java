import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * How long Java's own decoder takes for the frames in a directory, warmed up: {@code name nanoseconds}, one a line. The time is
 * that of the thread on the CPU, the median of the rounds. Garbage is collected by other threads, whose time is not in it.
 */
public final class Decoding {
    private static final int ROUNDS = 21;
    private static final long WARM_UP_NS = 3_000_000_000L;
    private static final long ROUND_NS = 200_000_000L;
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /** Reads a frame; the sum of the lengths of what was asked for. */
    private interface Decoder {
        int decode(byte[] frame) throws Exception;
    }

    private static int sink;

    public static void main(String[] args) throws Exception {
        Path directory = Path.of(args[0]);
        time("decode-send-json", Files.readAllBytes(directory.resolve("send-json")), Decoding::send);
        time("decode-send-binary", Files.readAllBytes(directory.resolve("send-binary")), Decoding::send);
        time("decode-pull-32", Files.readAllBytes(directory.resolve("pull-32")), Decoding::pull);
        if (sink == 0) {
            throw new IllegalStateException("nothing was read");
        }
    }

    private static int send(byte[] frame) throws Exception {
        Map<String, String> fields = command(frame).getExtFields();
        Map<String, String> properties = MessageDecoder.string2messageProperties(fields.get("i"));
        return fields.get("a").length() + fields.get("b").length() + Integer.parseInt(fields.get("e")) + message(properties);
    }

    private static int pull(byte[] frame) throws Exception {
        int found = 0;
        // Without the bodies of the messages: nobody else reads them either.
        for (MessageExt message : MessageDecoder.decodes(ByteBuffer.wrap(command(frame).getBody()), false)) {
            found += message.getTopic().length() + message.getQueueId() + message(message.getProperties());
        }
        return found;
    }

    private static RemotingCommand command(byte[] frame) throws Exception {
        return RemotingCommand.decode(ByteBuffer.wrap(frame, 4, frame.length - 4).slice());
    }

    private static int message(Map<String, String> properties) {
        int found = 0;
        for (String name : new String[] {"UNIQ_KEY", "KEYS", "TAGS", "traceparent"}) {
            String value = properties.get(name);
            found += value == null ? 0 : value.length();
        }
        return found;
    }

    private static void time(String name, byte[] frame, Decoder decoder) throws Exception {
        round(frame, decoder, WARM_UP_NS);
        double[] rounds = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            rounds[i] = round(frame, decoder, ROUND_NS);
        }
        Arrays.sort(rounds);
        System.out.printf("%s %.1f%n", name, rounds[ROUNDS / 2]);
    }

    /** Nanoseconds of one call, over calls that take about so long together. */
    private static double round(byte[] frame, Decoder decoder, long length) throws Exception {
        long calls = 0;
        long start = THREADS.getCurrentThreadCpuTime();
        long now = start;
        while (now - start < length) {
            for (int i = 0; i < 1000; i++) {
                sink += decoder.decode(frame);
            }
            calls += 1000;
            now = THREADS.getCurrentThreadCpuTime();
        }
        return (double) (now - start) / calls;
    }
}
