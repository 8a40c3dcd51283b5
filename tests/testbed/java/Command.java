import java.nio.charset.StandardCharsets;
import java.net.URLDecoder;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BiConsumer;

/** One line of standard input: a verb and its {@code key=value} arguments. Values are URL-encoded. */
final class Command {
    private final String verb;
    private final Map<String, String> arguments = new HashMap<>();

    private Command(String verb) {
        this.verb = verb;
    }

    static Command parse(String line) {
        String[] words = line.trim().split(" +");
        Command command = new Command(words[0]);
        for (int i = 1; i < words.length; i++) {
            int equals = words[i].indexOf('=');
            String value = URLDecoder.decode(words[i].substring(equals + 1), StandardCharsets.UTF_8);
            command.arguments.put(words[i].substring(0, equals), value);
        }
        return command;
    }

    String verb() {
        return verb;
    }

    String text(String key) {
        String value = arguments.get(key);
        if (value == null) {
            throw new IllegalArgumentException(verb + " needs " + key + "=…");
        }
        return value;
    }

    String text(String key, String otherwise) {
        return arguments.getOrDefault(key, otherwise);
    }

    int number(String key, int otherwise) {
        String value = arguments.get(key);
        return value == null ? otherwise : Integer.parseInt(value);
    }

    boolean flag(String key) {
        return number(key, 0) != 0;
    }

    /** Every argument whose name begins with {@code prefix}, by the rest of its name. */
    void each(String prefix, BiConsumer<String, String> use) {
        arguments.forEach((key, value) -> {
            if (key.startsWith(prefix)) {
                use.accept(key.substring(prefix.length()), value);
            }
        });
    }
}
