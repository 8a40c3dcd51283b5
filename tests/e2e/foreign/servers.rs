//! Real servers of other protocols and their own clients: nothing of theirs is taken for RocketMQ, whether a connection was open
//! before the tracer or not.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{artifacts::require, ports, process::Child, totals::total, wait};

use crate::{scene::Scene, trial, world::World};

/// A server, as lines for a shell: `$PORT` is where it listens, `$DIR` an empty directory, `$ROOT` where the packages are.
struct Server {
    name: &'static str,
    /// Names of its programs and of its clients'.
    programs: &'static str,
    /// Before it is started.
    prepare: &'static str,
    /// Starts it in the foreground.
    serve: &'static str,
    /// A client that keeps a connection and does something some fifty times a second, until it is ended.
    steady: &'static str,
    /// Clients that open connections, and end.
    fresh: &'static str,
    /// Connections that `fresh` opens, or fewer.
    connections: u64,
}

const NGINX: &str = "cat > $DIR/nginx.conf <<END
daemon off; pid $DIR/pid; error_log $DIR/error.log; user root;
events {}
http {
  access_log off; keepalive_requests 1000000;
  client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f; uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;
  server { listen 127.0.0.1:$PORT $LISTEN; ssl_certificate $DIR/cert; ssl_certificate_key $DIR/key; location / { return 200 '{\"code\":0}'; } }
}
END
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout $DIR/key -out $DIR/cert 2> $DIR/openssl.log";

const NGINX_SERVES: &str = "exec nginx -c $DIR/nginx.conf -p $DIR";

/// nginx with these words behind `listen` and these options for curl.
macro_rules! nginx {
    ($name:literal, $listen:literal, $scheme:literal, $options:literal) => {
        Server {
            name: $name,
            programs: "nginx,curl",
            prepare: concat!("export LISTEN='", $listen, "'; eval \"$NGINX\""),
            serve: NGINX_SERVES,
            steady: concat!(
                "exec curl -sk ",
                $options,
                " --rate 50/s -o /dev/null \"",
                $scheme,
                "://127.0.0.1:$PORT/[1-100000]\""
            ),
            fresh: concat!(
                "for i in 1 2 3 4 5 6 7 8 9 10; do curl -sSk ",
                $options,
                " -o /dev/null \"",
                $scheme,
                "://127.0.0.1:$PORT/[1-100]\" || exit 1; done"
            ),
            connections: 10,
        }
    };
}

const SERVERS: [Server; 8] = [
    Server {
        name: "Redis",
        programs: "redis-server,redis-cli,redis-benchmark,redis-check-rdb",
        prepare: "true",
        serve: "exec redis-server --port $PORT --bind 127.0.0.1 --save '' --dir $DIR",
        steady: "exec redis-cli -p $PORT -r 1000000 -i 0.02 SET key value",
        fresh: "redis-benchmark -p $PORT -c 20 -n 4000 -q -t set,get,lpush",
        connections: 20,
    },
    Server {
        name: "MQTT (Mosquitto)",
        programs: "mosquitto,mosquitto_sub,mosquitto_pub",
        prepare: "printf 'listener %s 127.0.0.1\\nallow_anonymous true\\nuser root\\n' $PORT > $DIR/conf",
        serve: "exec mosquitto -c $DIR/conf",
        steady: "mosquitto_sub -p $PORT -t t > /dev/null & exec mosquitto_pub -p $PORT -t t -m '{\"code\":10}' --repeat 1000000 --repeat-delay 0.02",
        fresh: "for i in 1 2 3 4 5 6 7 8 9 10; do mosquitto_pub -p $PORT -t t -q 1 -m hello --repeat 50 --repeat-delay 0.001 || exit 1; done",
        connections: 10,
    },
    Server {
        name: "PostgreSQL",
        programs: "postgres,pgbench",
        // it refuses to be root
        prepare: "unshare -U --map-user=1000 initdb -D $DIR/data -A trust -U postgres --no-sync && echo 'select 1, repeat($$x$$, 500);' > $DIR/script",
        serve: "exec unshare -U --map-user=1000 postgres -D $DIR/data -p $PORT -k $DIR -c listen_addresses=127.0.0.1 -c fsync=off",
        steady: "exec pgbench -h 127.0.0.1 -p $PORT -U postgres -n -R 50 -T 600 -f $DIR/script postgres",
        fresh: "pgbench -h 127.0.0.1 -p $PORT -U postgres -n -c 10 -t 100 -f $DIR/script postgres && pgbench -h 127.0.0.1 -p $PORT -U postgres -n -M prepared -c 10 -t 100 -f $DIR/script postgres",
        connections: 20,
    },
    Server {
        name: "MySQL (MariaDB)",
        programs: "mariadbd,mariadb",
        prepare: "mariadb-install-db --no-defaults --basedir=$ROOT/usr --datadir=$DIR/data --user=root --auth-root-authentication-method=normal --skip-test-db",
        serve: "exec mariadbd --no-defaults --basedir=$ROOT/usr --datadir=$DIR/data --port=$PORT --bind-address=127.0.0.1 --socket=$DIR/socket --pid-file=$DIR/pid --user=root",
        steady: "while sleep 0.02; do echo 'select 1;'; done | mariadb --no-defaults -h 127.0.0.1 -P $PORT -u root -n > /dev/null",
        fresh: "for i in 1 2 3 4 5 6 7 8 9 10; do yes 'select repeat(7, 500);' | head -100 | mariadb --no-defaults -h 127.0.0.1 -P $PORT -u root > /dev/null || exit 1; done",
        connections: 10,
    },
    nginx!("HTTP/1.1 (nginx, curl)", "", "http", "--http1.1"),
    // curl 7.88 cannot use such a connection a second time
    Server {
        name: "HTTP/2 (nginx, h2load)",
        programs: "nginx,h2load",
        prepare: "export LISTEN=http2; eval \"$NGINX\"",
        serve: NGINX_SERVES,
        steady: "exec h2load -c 1 --rps 50 -D 120 http://127.0.0.1:$PORT/",
        fresh: "exec h2load -c 10 -n 1000 http://127.0.0.1:$PORT/",
        connections: 10,
    },
    nginx!("TLS with HTTP/1.1 (nginx, curl)", "ssl", "https", "--http1.1"),
    nginx!("TLS with HTTP/2 (nginx, curl)", "ssl http2", "https", "--http2"),
];

pub(super) fn trials(world: &Arc<World>) -> Vec<Trial> {
    SERVERS
        .iter()
        .map(|server| {
            let world = Arc::clone(world);
            trial(format!("foreign: {}", server.name), move || run(&world, server))
        })
        .collect()
}

/// Operations after which a connection that was open before is given up, with room to spare.
const STEADY: Duration = Duration::from_secs(8);

fn run(world: &World, server: &Server) -> Result<()> {
    let root = require(world.artifacts.foreign(), "servers of other protocols")?;
    let name = world.fresh("foreign");
    let dir = world.dir()?.join(&name);
    std::fs::create_dir_all(&dir)?;
    let port = ports::free()?;
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        let programs = ["usr/bin", "usr/sbin", "usr/lib/postgresql/15/bin"]
            .map(|at| root.join(at).display().to_string());
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", line])
            .env("ROOT", &root)
            .env("DIR", &dir)
            .env("PORT", port.to_string())
            .env("NGINX", NGINX)
            .env("PATH", format!("{}:{path}", programs.join(":")))
            .env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
        command
    };
    let start = |what: &str, line: &str| Child::start(what, shell(line), &dir.join(format!("{what}.log")));
    let finish = |what: &str, line: &str| -> Result<()> {
        let mut process = start(what, line)?;
        let status = process.wait(Duration::from_secs(120))?;
        ensure!(
            status.success(),
            "{what}: {status}\n{}",
            testbed::process::tail(&process.log()?)
        );
        Ok(())
    };
    finish("prepare", server.prepare)?;
    let mut serving = start("serve", server.serve)?;
    wait::until(Duration::from_secs(30), "the server listens", || {
        ensure!(
            serving.is_running()?,
            "it ended:\n{}",
            testbed::process::tail(&serving.log()?)
        );
        let connected = TcpStream::connect(SocketAddr::new(ports::LOOPBACK, port));
        Ok(connected.map(drop).map_err(|error| error.to_string()))
    })?;
    let mut steady = start("steady", server.steady)?;
    thread::sleep(Duration::from_secs(1));
    ensure!(steady.is_running()?, "{}", testbed::process::tail(&steady.log()?));

    let scene = Scene::start(world, &name, &["--exe", server.programs])?;
    finish("fresh", server.fresh)?;
    thread::sleep(STEADY);
    ensure!(steady.is_running()?, "{}", testbed::process::tail(&steady.log()?));
    let (_, log) = scene.finish(world)?;
    steady.stop()?;
    for name in ["connections", "frames", "spans"] {
        ensure!(total(&log, name)? == 0, "{log}");
    }
    let foreign = total(&log, "connections_foreign")?;
    println!(
        "{}: {foreign} connections foreign; {} records and {} copied bytes in all",
        server.name,
        total(&log, "records")?,
        total(&log, "copied_bytes").unwrap_or_default()
    );
    ensure!(foreign >= server.connections, "{log}");
    Ok(())
}
