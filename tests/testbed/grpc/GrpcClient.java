import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.LitePushConsumer;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;

/**
 * The gRPC client under the control of a test, with the commands and lines of {@code ../java/TestClient.java}. {@code ns} is
 * a proxy's gRPC port. It sends synchronously and consumes with a listener, no more: it is here to show that nothing of it is
 * taken for remoting frames. {@code tls=1} of producers and consumers encrypts the connection; {@code lite=NAME} of sends and
 * consumers goes to a lite topic below {@code topic}.
 */
public final class GrpcClient {
    private static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();

    private final Map<String, Producer> producers = new HashMap<>();
    private final Map<String, Closeable> consumers = new HashMap<>();

    public static void main(String[] args) throws Exception {
        GrpcClient client = new GrpcClient();
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
        for (Closeable consumer : client.consumers.values()) {
            consumer.close();
        }
        for (Producer producer : client.producers.values()) {
            producer.close();
        }
        Log.close();
        System.exit(0);
    }

    private void run(Command command) throws ClientException, IOException {
        String group = command.text("group");
        switch (command.verb()) {
            case "producer":
                producers.put(group, PROVIDER.newProducerBuilder().setClientConfiguration(configuration(command)).build());
                break;
            case "send": {
                Producer producer = producers.get(group);
                // In the background: a test gives the next command while this one is under way.
                new Thread(() -> send(producer, command), "send-" + command.number("cmd", 0)).start();
                return;
            }
            case "consumer": {
                String lite = command.text("lite", null);
                if (lite != null) {
                    LitePushConsumer consumer = PROVIDER.newLitePushConsumerBuilder()
                        .setClientConfiguration(configuration(command)).setConsumerGroup(group)
                        .bindTopic(command.text("topic")).setMessageListener(listener(command)).build();
                    consumers.put(group, consumer);
                    consumer.subscribeLite(lite);
                    break;
                }
                Map<String, FilterExpression> subscriptions = new HashMap<>();
                for (String topic : command.text("topic").split(",")) {
                    subscriptions.put(topic, new FilterExpression(command.text("tag", "*"), FilterExpressionType.TAG));
                }
                consumers.put(group, PROVIDER.newPushConsumerBuilder().setClientConfiguration(configuration(command))
                    .setConsumerGroup(group).setSubscriptionExpressions(subscriptions)
                    .setConsumptionThreadCount(command.number("threads", 4)).setMessageListener(listener(command)).build());
                break;
            }
            case "stop": {
                Closeable consumer = consumers.remove(group);
                if (consumer != null) {
                    consumer.close();
                }
                Producer producer = producers.remove(group);
                if (producer != null) {
                    producer.close();
                }
                break;
            }
            default:
                throw new IllegalArgumentException("unknown command " + command.verb());
        }
        Log.event("done").put("cmd", command.number("cmd", 0)).write();
    }

    private static ClientConfiguration configuration(Command command) {
        return ClientConfiguration.newBuilder().setEndpoints(command.text("ns"))
            .enableSsl(command.number("tls", 0) == 1).build();
    }

    private static void send(Producer producer, Command command) {
        int count = command.number("count", 1);
        int failed = 0;
        long started = System.nanoTime();
        for (int i = 0; i < count; i++) {
            String key = command.text("key", "k") + "-" + i;
            MessageBuilder builder = PROVIDER.newMessageBuilder().setTopic(command.text("topic")).setKeys(key)
                .setTag(command.text("tag", "TagA")).setBody(new byte[command.number("size", 100)]);
            String lite = command.text("lite", null);
            Message message = (lite == null ? builder : builder.setLiteTopic(lite)).build();
            Log log = Log.event("sent");
            long start = Log.now();
            try {
                SendReceipt receipt = producer.send(message);
                long end = Log.now();
                log.put("msgId", receipt.getMessageId().toString()).put("startNs", start).put("endNs", end);
            } catch (ClientException e) {
                failed++;
                log = Log.event("send_failed").put("msgId", "").put("error", e.toString()).put("startNs", start)
                    .put("endNs", Log.now());
            }
            log.put("cmd", command.number("cmd", 0)).put("mode", command.text("mode")).put("topic", message.getTopic())
                .put("tag", message.getTag().orElse(null)).put("key", key).write();
        }
        Log.event("done").put("cmd", command.number("cmd", 0)).put("count", count).put("failed", failed)
            .put("tookNs", System.nanoTime() - started).write();
    }

    private static MessageListener listener(Command command) {
        int failAttempts = command.number("fail", 0);
        String failKey = command.text("failKey", null);
        return (MessageView message) -> {
            long start = Log.now();
            String key = message.getKeys().stream().findFirst().orElse(null);
            int attempt = message.getDeliveryAttempt() - 1;
            boolean fails = attempt < failAttempts && (failKey == null || failKey.equals(key));
            // The API does not tell queue and offset.
            Log.event("consumed").put("group", command.text("group")).put("msgId", message.getMessageId().toString())
                .put("topic", message.getTopic()).put("tag", message.getTag().orElse(null)).put("key", key)
                .put("queue", -1).put("offset", -1).put("reconsumeTimes", attempt)
                .put("bornTs", message.getBornTimestamp()).put("startNs", start).put("endNs", Log.now())
                .put("result", fails ? "RECONSUME_LATER" : "CONSUME_SUCCESS").write();
            return fails ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
        };
    }
}
