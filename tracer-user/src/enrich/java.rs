//! The command line of a Java virtual machine: which program does it run?
//!
//! ```text
//! java [options] -jar file [arguments]
//! java [options] mainclass [arguments]
//! java [options] -m module[/mainclass] [arguments]
//! java [options] source.java [arguments]
//! ```
//!
//! Options begin with `-`; most carry their value in themselves (`-Xmx1g`, `-Da=b`, `--add-opens=x`), some in
//! the next argument ([`WITH_ARGUMENT`]). `@file` stands for arguments in a file; the launcher reads them
//! anywhere before the main class.

/// Options of `java` whose value is the next argument (the launcher's own list, JDK 8 to 25).
const WITH_ARGUMENT: [&str; 19] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--limit-modules",
    "--enable-native-access",
    "--add-reads",
    "--add-exports",
    "--add-opens",
    "--patch-module",
    "-d",
    "--describe-module",
    "--source",
    "--sun-misc-unsafe-memory-access",
    "--illegal-native-access",
    "--finalization",
];

/// Most arguments that are looked at, those of argument files included.
const MOST_ARGUMENTS: usize = 4096;

/// What a virtual machine was told to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Command {
    /// What it runs: `-jar x.jar` gives `x`, a class its simple name, a module its name.
    pub(crate) program: Option<String>,
    /// `-Dname=value` pairs, in order.
    pub(crate) properties: Vec<(String, String)>,
    /// `-javaagent:path[=arguments]`, without the option's name, in order.
    pub(crate) agents: Vec<String>,
}

impl Command {
    fn option(&mut self, option: &str) {
        if let Some(agent) = option.strip_prefix("-javaagent:") {
            self.agents.push(agent.to_owned());
        } else if let Some((name, value)) = option.strip_prefix("-D").and_then(|p| p.split_once('=')) {
            self.properties.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Options that are given beside the command line, as in `JAVA_TOOL_OPTIONS`: they run no program.
pub(crate) fn options<'a>(words: impl Iterator<Item = &'a str>) -> Command {
    let mut command = Command::default();
    words.take(MOST_ARGUMENTS).for_each(|word| command.option(word));
    command
}

/// Reads a command line, `args[0]` being the launcher. `read` gives the text of an argument file.
pub(crate) fn parse(args: &[String], read: &dyn Fn(&str) -> Option<String>) -> Command {
    let mut pending: Vec<String> = args.iter().skip(1).take(MOST_ARGUMENTS).rev().cloned().collect();
    let mut command = Command::default();
    let mut left = MOST_ARGUMENTS;
    while let Some(arg) = pending.pop() {
        left = left.saturating_sub(1);
        if left == 0 {
            break;
        }
        if let Some(file) = arg.strip_prefix('@') {
            if let Some(literal) = file.strip_prefix('@') {
                command.program = Some(simple_class(literal));
                break;
            }
            let words = read(file).map(|text| words(&text)).unwrap_or_default();
            pending.extend(words.into_iter().take(MOST_ARGUMENTS).rev());
            continue;
        }
        if !arg.starts_with('-') {
            command.program = Some(match arg.strip_suffix(".java") {
                Some(source) => file_name(source).to_owned(),
                None => simple_class(&arg),
            });
            break;
        }
        match arg.as_str() {
            "-jar" => {
                command.program = pending.pop().map(|jar| jar_name(&jar));
                break;
            }
            "-m" | "--module" => {
                command.program = pending.pop().map(|m| module(&m));
                break;
            }
            option if WITH_ARGUMENT.contains(&option) => {
                pending.pop();
            }
            option => {
                if let Some(m) = option.strip_prefix("--module=") {
                    command.program = Some(module(m));
                    break;
                }
                command.option(option);
            }
        }
    }
    command.program = command.program.filter(|p| !p.is_empty());
    command
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn jar_name(path: &str) -> String {
    let name = file_name(path);
    name.strip_suffix(".jar")
        .or_else(|| name.strip_suffix(".war"))
        .unwrap_or(name)
        .to_owned()
}

/// `com.example.Outer$Inner` or `com/example/Main` without its package.
fn simple_class(class: &str) -> String {
    class.rsplit(['.', '/']).next().unwrap_or(class).to_owned()
}

/// `module/class` by its class, `module` by its name.
fn module(text: &str) -> String {
    match text.split_once('/') {
        Some((_, class)) => simple_class(class),
        None => text.to_owned(),
    }
}

/// The words of an argument file: white space separates, `"` and `'` quote, `\` escapes within quotes, `#`
/// begins a comment.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), '\\') => match chars.next() {
                Some('n') => word.get_or_insert_default().push('\n'),
                Some('t') => word.get_or_insert_default().push('\t'),
                Some('\n') | None => {}
                Some(other) => word.get_or_insert_default().push(other),
            },
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(line: &str) -> Option<String> {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let read = |name: &str| {
            match name {
            "args" => Some("# options\n-Xmx1g -cp 'a b.jar'\n\"-Dx=\\\"y\\\"\" --add-opens java.base/java.lang=ALL-UNNAMED".into()),
            "/opt/all" => Some("-jar /opt/shop.jar --server".into()),
            "loop" => Some("@loop".into()),
            _ => None,
        }
        };
        parse(&args, &read).program
    }

    /// Command line, and the program it runs.
    #[test]
    fn command_lines() {
        for (line, expected) in [
            ("java -jar app.jar", Some("app")),
            (
                "java -Xmx1g -Dx=y -jar /opt/my-app/lib/my-app-1.2.jar --spring.profiles.active=prod",
                Some("my-app-1.2"),
            ),
            (
                "/usr/bin/java -cp a.jar:b.jar com.example.Main arg -jar no.jar",
                Some("Main"),
            ),
            (
                "java -classpath a.jar com.example.Outer$Inner",
                Some("Outer$Inner"),
            ),
            ("java --class-path a.jar Main", Some("Main")),
            ("java --class-path=a.jar x.Main", Some("Main")),
            (
                "java --add-opens java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED p.Main",
                Some("Main"),
            ),
            (
                "java --add-modules ALL-SYSTEM -p mods --module shop/com.example.Shop",
                Some("Shop"),
            ),
            ("java -p mods -m shop", Some("shop")),
            ("java --module=shop/com.example.Shop x", Some("Shop")),
            (
                "java -javaagent:/a/agent.jar=k=v -XX:+UseG1GC -ea:com.x... com/example/Slashed",
                Some("Slashed"),
            ),
            (
                "java -server -verbose:gc -Xlog:gc:file=/x org.apache.rocketmq.namesrv.NamesrvStartup",
                Some("NamesrvStartup"),
            ),
            ("java @args com.example.Main", Some("Main")),
            ("java @/opt/all", Some("shop")),
            ("java @missing com.example.Main", Some("Main")),
            ("java @loop Main", None),
            ("java Hello.java", Some("Hello")),
            ("java /src/Hello.java a", Some("Hello")),
            ("java -jar app.war", Some("app")),
            ("java", None),
            ("java -version", None),
            ("java -jar", None),
            ("java -cp", None),
            ("java -d com.example", None),
        ] {
            assert_eq!(program(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn properties_of_the_virtual_machine() {
        let args: Vec<String> = [
            "java",
            "-Da=b",
            "-Dotel.service.name=shop=1",
            "-Dflag",
            "Main",
            "-Dc=d",
        ]
        .map(str::to_owned)
        .into();
        let pairs = parse(&args, &|_| None).properties;
        assert_eq!(
            pairs,
            [
                ("a".into(), "b".into()),
                ("otel.service.name".into(), "shop=1".into())
            ]
        );
    }

    #[test]
    fn argument_files_quote() {
        assert_eq!(
            words("a 'b c' \"d\\\"e\" # f\ng ''"),
            ["a", "b c", "d\"e", "g", ""]
        );
        assert_eq!(words(""), [""; 0]);
    }
}
