import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * A real RocketMQ client under the control of a test: commands come in on standard input, one a line, as
 * {@code verb key=value …}; what the client really did goes out on standard output, one JSON object a line.
 *
 * <pre>
 * producer group=G ns=HOST:PORT [retries=0] [timeout=3000] [maxSize=4194304] [auth=KEY]
 * send     cmd=1 group=G topic=T mode=sync|async|oneway|batch count=N [size=100] [threads=1] [rate=0] [tag=X]
 *          [key=K] [batch=4] [timeout=3000]
 * consumer cmd=2 group=G ns=HOST:PORT topic=T[,T2] [tag=*] [fail=0] [failKey=K] [delay=0] [threads=4] [auth=KEY]
 * stop     cmd=3 group=G
 * </pre>
 *
 * The end of standard input shuts everything down in order. Times are wall-clock nanoseconds of this process, taken directly
 * around the call. Only API that clients 4.9 and 5.5 have in common is used.
 */
public final class TestClient {
    private final Map<String, Producing> producers = new HashMap<>();
    private final Map<String, Consuming> consumers = new HashMap<>();

    public static void main(String[] args) throws Exception {
        TestClient client = new TestClient();
        Log.event("started").put("pid", ProcessHandle.current().pid()).write();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            Command command = Command.parse(line);
            try {
                client.run(command);
            } catch (Exception e) {
                Log.event("command_failed").put("cmd", command.number("cmd", 0)).put("error", e.toString()).write();
            }
        }
        client.consumers.values().forEach(Consuming::stop);
        client.producers.values().forEach(Producing::stop);
        Log.close();
        System.exit(0);
    }

    private void run(Command command) throws Exception {
        String group = command.text("group");
        switch (command.verb()) {
            case "producer":
                producers.put(group, new Producing(command));
                done(command);
                break;
            case "send": {
                Producing producer = producers.get(group);
                // In the background: a test gives the next command while this one is under way.
                new Thread(() -> producer.send(command), "send-" + command.number("cmd", 0)).start();
                break;
            }
            case "consumer":
                consumers.put(group, new Consuming(command));
                done(command);
                break;
            case "stop": {
                Consuming consumer = consumers.remove(group);
                if (consumer != null) {
                    consumer.stop();
                }
                Producing producer = producers.remove(group);
                if (producer != null) {
                    producer.stop();
                }
                done(command);
                break;
            }
            default:
                throw new IllegalArgumentException("unknown command " + command.verb());
        }
    }

    private static void done(Command command) {
        Log.event("done").put("cmd", command.number("cmd", 0)).write();
    }
}
