import java.util.HashMap;
import java.util.Map;

/** One line of standard input: a verb and its {@code key=value} arguments. */
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
            command.arguments.put(words[i].substring(0, equals), words[i].substring(equals + 1));
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
}
