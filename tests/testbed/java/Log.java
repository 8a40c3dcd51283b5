import java.io.PrintStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The client's own account, as JSON lines on standard output. A thread of its own writes them, so that a slow reader
 * never shows in the times of a send.
 */
final class Log {
    private static final LinkedBlockingQueue<String> LINES = new LinkedBlockingQueue<>();
    private static final String END = "";
    private static final Thread WRITER = new Thread(Log::drain, "log");

    static {
        WRITER.setDaemon(true);
        WRITER.start();
    }

    private final StringBuilder json = new StringBuilder(256);

    private Log(String event) {
        json.append("{\"event\":\"").append(event).append('"');
    }

    static Log event(String name) {
        return new Log(name);
    }

    /** Wall-clock time in nanoseconds since the epoch. */
    static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    Log put(String key, long value) {
        json.append(",\"").append(key).append("\":").append(value);
        return this;
    }

    Log put(String key, String value) {
        json.append(",\"").append(key).append("\":");
        if (value == null) {
            json.append("null");
            return this;
        }
        json.append('"');
        for (int i = 0; i < value.length(); i++) {
            char c = value.charAt(i);
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        json.append('"');
        return this;
    }

    void write() {
        LINES.add(json.append("}\n").toString());
    }

    /** Writes what is left. */
    static void close() throws InterruptedException {
        LINES.add(END);
        WRITER.join(10_000);
    }

    private static void drain() {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        StringBuilder pending = new StringBuilder();
        try {
            while (true) {
                String line = LINES.take();
                while (line != null && line != END) {
                    pending.append(line);
                    line = LINES.poll();
                }
                out.print(pending);
                out.flush();
                pending.setLength(0);
                if (line == END) {
                    return;
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
