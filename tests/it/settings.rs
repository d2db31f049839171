//! Settings: which source wins, what is refused, and what a refusal says and hides.

use std::any::type_name;
use std::ffi::OsStr;
#[cfg(unix)]
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use callboard::settings::{
    AuthSettings, BusSettings, DbSettings, JwtAlgorithm, LogFormat, LogSettings, ProxyHeader,
    ServerSettings, Settings, SettingsFault, SettingsOrigin, WsSettings,
};
use secrecy::ExposeSecret;

/// Of 32 bytes, the fewest.
const SECRET: &str = "hunter2 hunter2 hunter2 hunter2!";

const IN_CHILD: &str = "CALLBOARD_TEST_IN_CHILD";

/// Runs `check` in a process of its own, with these variables and this `.env`.
///
/// The process is this test again, which therefore calls this once: environment and working
/// directory belong to a whole process, so that tests beside each other could not each have theirs.
fn in_process<F: Fn()>(vars: &[(&str, &OsStr)], env_file: Option<&[u8]>, check: F) {
    if env::var_os(IN_CHILD).is_some() {
        return check();
    }
    let directory = tempfile::tempdir().unwrap();
    if let Some(text) = env_file {
        fs::write(directory.path().join(".env"), text).unwrap();
    }
    // `crate::module::test::{{closure}}`, of which the harness calls `module::test` the test.
    let (_, test) = type_name::<F>().split_once("::").unwrap();
    let test = test.trim_end_matches("::{{closure}}");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test]);
    let groups: Vec<String> = Settings::variables()
        .map(|variable| variable.name.split_inclusive('_').next().unwrap().to_owned())
        .collect();
    for (name, _) in env::vars_os() {
        let inherited = name.to_string_lossy();
        if groups.iter().any(|group| inherited.starts_with(group)) {
            command.env_remove(&name);
        }
    }
    let output = command
        .current_dir(directory.path())
        .env(IN_CHILD, "1")
        .envs(vars.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The lines of the complaint about these pairs.
fn refusal<const N: usize>(vars: [(&str, &str); N]) -> Vec<String> {
    let error = Settings::from_vars(vars).expect_err("these settings are faulty");
    error.to_string().lines().map(str::to_owned).collect()
}

fn load_refusal() -> String {
    Settings::load().expect_err("these settings are faulty").to_string()
}

fn variable_names() -> Vec<&'static str> {
    Settings::variables().map(|variable| variable.name).collect()
}

#[test]
fn defaults_are_the_documented_ones() {
    let Settings { server, auth, db, bus, ws, log, .. } = Settings::default();
    assert!(auth.algorithm.is_none() && auth.secret.is_none() && auth.public_key_file.is_none());
    assert!(auth.key_id.is_none() && auth.issuer.is_none() && auth.audience.is_none());
    assert_eq!(auth.leeway, Duration::from_secs(30));
    assert_eq!((auth.token_max, auth.known_tokens), (8192, 1024));
    assert_eq!(server.host, "127.0.0.1");
    assert_eq!(server.port, 8000);
    assert!(!server.debug && !server.compression);
    assert!(server.docs);
    assert_eq!(server.workers, 1);
    assert_eq!(server.body_max, 1024 * 1024);
    assert_eq!(server.header_timeout, Duration::from_secs(5));
    assert_eq!(server.request_timeout, Duration::from_secs(30));
    assert_eq!(server.stop_delay, Duration::ZERO);
    assert_eq!(server.connections_max, 25_000);
    assert_eq!(server.keep_alive, Duration::from_secs(75));
    assert_eq!((server.unix_socket, server.unix_mode), (None, 0o660));
    assert!(server.tls.cert_file.is_none() && server.tls.key_file.is_none());
    assert_eq!(server.tls.check_interval, Duration::from_secs(10));
    assert_eq!(server.tls.handshake_timeout, Duration::from_secs(5));
    assert_eq!(server.tls.hsts_max_age, None);
    assert_eq!(db.dsn.expose_secret(), "sqlite://callboard.db");
    assert_eq!((db.pool_min, db.pool_max), (2, 10));
    assert_eq!(bus.handler_timeout, Duration::from_secs(30));
    assert_eq!(bus.queue_max, 1024);
    assert_eq!(bus.drain_timeout, Duration::from_secs(5));
    assert_eq!(bus.event_log_max, 200);
    assert_eq!(bus.dead_letters_max, 1000);
    assert_eq!(ws.sessions_max, 10_000);
    assert_eq!(ws.frame_max, 65_536);
    assert_eq!(ws.queue_max, 256);
    assert_eq!(ws.heartbeat, Duration::from_secs(15));
    assert_eq!(ws.idle_timeout, Duration::from_secs(45));
    assert_eq!(ws.subscriptions_max, 64);
    assert_eq!(ws.rooms_max, 64);
    assert_eq!(ws.in_flight_max, 32);
    assert!(ws.origins.is_empty());
    assert_eq!(log.level, "info");
    assert_eq!(log.format, LogFormat::Text);
}

#[test]
fn a_group_alone_has_the_defaults_of_the_whole() {
    let whole = Settings::default();
    let same = |one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    };
    same(&ServerSettings::default(), &whole.server);
    same(&AuthSettings::default(), &whole.auth);
    same(&DbSettings::default(), &whole.db);
    same(&BusSettings::default(), &whole.bus);
    same(&WsSettings::default(), &whole.ws);
    same(&LogSettings::default(), &whole.log);
    let nothing_given = Settings::from_vars(Vec::<(String, String)>::new()).unwrap();
    same(&nothing_given, &whole);
}

#[test]
fn each_variable_of_authentication_reaches_its_own_field() {
    let auth = Settings::from_vars([
        ("AUTH_SECRET", SECRET),
        ("AUTH_ALGORITHM", "hs256"),
        ("AUTH_KEY_ID", "2026-01"),
        ("AUTH_ISSUER", "https://id.example"),
        ("AUTH_AUDIENCE", "shop"),
        ("AUTH_LEEWAY", "0"),
        ("AUTH_TOKEN_MAX", "111"),
        ("AUTH_KNOWN_TOKENS", "0"),
    ])
    .unwrap()
    .auth;
    assert_eq!(auth.secret.unwrap().expose_secret(), SECRET);
    assert_eq!(auth.algorithm, Some(JwtAlgorithm::Hs256));
    assert_eq!(auth.key_id.as_deref(), Some("2026-01"));
    assert_eq!(auth.issuer.as_deref(), Some("https://id.example"));
    assert_eq!(auth.audience.as_deref(), Some("shop"));
    assert_eq!(auth.leeway, Duration::ZERO);
    assert_eq!((auth.token_max, auth.known_tokens), (111, 0));
    for (name, algorithm) in [
        ("RS256", JwtAlgorithm::Rs256),
        ("ES256", JwtAlgorithm::Es256),
        ("EdDSA", JwtAlgorithm::EdDsa),
    ] {
        let vars = [("AUTH_PUBLIC_KEY_FILE", "key.pem"), ("AUTH_ALGORITHM", name)];
        let auth = Settings::from_vars(vars).unwrap().auth;
        assert_eq!(auth.public_key_file.unwrap(), Path::new("key.pem"));
        assert_eq!(auth.algorithm, Some(algorithm));
    }
}

#[test]
fn a_secret_is_long_and_not_shown() {
    for short in ["hunter2", "hunter2-hunter2-hunter2-hunter2"] {
        assert_eq!(
            refusal([("AUTH_SECRET", short)]),
            ["AUTH_SECRET has a value that is not shown (given), expected a secret of \
              at least 32 bytes, such as the output of `openssl rand -base64 48`"]
        );
    }
    let settings = Settings::from_vars([("AUTH_SECRET", SECRET)]).unwrap();
    assert!(!format!("{settings:?} {settings:#?}").contains(SECRET));
}

#[test]
fn a_leeway_is_short() {
    for text in ["301", "-1", "0.5", "30s"] {
        assert_eq!(
            refusal([("AUTH_LEEWAY", text)]),
            [format!(
                "AUTH_LEEWAY is \"{text}\" (given), \
                 expected a whole number from 0 to 300, in seconds"
            )]
        );
    }
}

#[test]
fn authentication_has_one_key_that_fits() {
    let (secret, file) = (("AUTH_SECRET", SECRET), ("AUTH_PUBLIC_KEY_FILE", "key.pem"));
    let (hs256, rs256) = (("AUTH_ALGORITHM", "HS256"), ("AUTH_ALGORITHM", "RS256"));
    let is_set = |name, problem| vec![format!("{name} is set (given), but {problem}")];
    let both = "so is AUTH_SECRET: keep the one whose key signs the tokens, unset the other";
    let no_key = "there is no key to verify tokens with: set AUTH_SECRET or AUTH_PUBLIC_KEY_FILE";
    assert_eq!(refusal([secret, file]), is_set("AUTH_PUBLIC_KEY_FILE", both));
    assert_eq!(refusal([secret, file, rs256]), is_set("AUTH_PUBLIC_KEY_FILE", both));
    assert_eq!(
        refusal([secret, rs256]),
        is_set(
            "AUTH_SECRET",
            "AUTH_ALGORITHM is not HS256: unset it, or set AUTH_PUBLIC_KEY_FILE instead"
        )
    );
    assert_eq!(
        refusal([file]),
        is_set(
            "AUTH_PUBLIC_KEY_FILE",
            "AUTH_ALGORITHM is not: set it to what the key is for, RS256, ES256 or EdDSA"
        )
    );
    assert_eq!(
        refusal([file, hs256]),
        is_set(
            "AUTH_PUBLIC_KEY_FILE",
            "AUTH_ALGORITHM is HS256, which has no public key: set RS256, ES256 or EdDSA"
        )
    );
    for name in ["AUTH_KEY_ID", "AUTH_ISSUER", "AUTH_AUDIENCE"] {
        assert_eq!(refusal([(name, "x")]), is_set(name, no_key));
    }
    assert_eq!(refusal([hs256]), is_set("AUTH_ALGORITHM", no_key));
    // A faulty key is one fault, and makes no second one.
    assert_eq!(refusal([("AUTH_SECRET", "short"), ("AUTH_ISSUER", "x"), hs256]).len(), 1);
    assert_eq!(refusal([file, ("AUTH_ALGORITHM", "RS512")]).len(), 1);
}

#[test]
fn a_certificate_comes_with_its_key() {
    let (cert, key) = (("SERVER_TLS_CERT_FILE", "a.pem"), ("SERVER_TLS_KEY_FILE", "b.pem"));
    assert_eq!(
        refusal([cert]),
        ["SERVER_TLS_CERT_FILE is set (given), but SERVER_TLS_KEY_FILE is not: \
          set it to the file of the certificate's key"]
    );
    assert_eq!(
        refusal([key]),
        ["SERVER_TLS_KEY_FILE is set (given), but SERVER_TLS_CERT_FILE is not: \
          set it to the file of the key's certificate"]
    );
    // A faulty one makes no second fault.
    assert_eq!(refusal([cert, ("SERVER_TLS_KEY_FILE", " ")]).len(), 1);
    assert_eq!(
        refusal([("SERVER_TLS_HSTS_MAX_AGE", "0")]),
        ["SERVER_TLS_HSTS_MAX_AGE is set (given), but SERVER_TLS_CERT_FILE is not: \
          browsers heed it over TLS only, set it where TLS ends"]
    );
    assert_eq!(
        refusal([cert, key, ("SERVER_TLS_HSTS_MAX_AGE", "63072001")]),
        ["SERVER_TLS_HSTS_MAX_AGE is \"63072001\" (given), \
          expected a whole number from 0 to 63072000, in seconds"]
    );
}

#[test]
fn a_unix_socket_has_a_path_and_a_mode_and_no_certificate() {
    for (text, mode) in [("600", 0o600), ("0777", 0o777), ("0", 0)] {
        let vars = [("SERVER_UNIX_SOCKET", "run/shop.sock"), ("SERVER_UNIX_MODE", text)];
        let server = Settings::from_vars(vars).unwrap().server;
        assert_eq!(server.unix_socket.unwrap(), Path::new("run/shop.sock"));
        assert_eq!(server.unix_mode, mode);
    }
    for text in ["888", "rw-", "1777", "+7", "0o660", "00660"] {
        assert_eq!(
            refusal([("SERVER_UNIX_MODE", text)]),
            [format!(
                "SERVER_UNIX_MODE is \"{text}\" (given), \
                 expected a mode in octal from 0 to 777, such as 660"
            )]
        );
    }
    assert_eq!(
        refusal([
            ("SERVER_UNIX_SOCKET", "shop.sock"),
            ("SERVER_TLS_CERT_FILE", "a.pem"),
            ("SERVER_TLS_KEY_FILE", "b.pem"),
        ]),
        ["SERVER_UNIX_SOCKET is set (given), but so is SERVER_TLS_CERT_FILE: \
          a Unix socket has no TLS, unset one"]
    );
}

#[test]
fn each_variable_of_the_server_reaches_its_own_field() {
    let Settings { server, .. } = Settings::from_vars([
        ("SERVER_HOST", "::1"),
        ("SERVER_PORT", "0"),
        ("SERVER_DEBUG", "true"),
        ("SERVER_WORKERS", "512"),
        ("SERVER_CONNECTIONS_MAX", "100"),
        ("SERVER_KEEP_ALIVE", "0"),
        ("SERVER_BODY_MAX", "101"),
        ("SERVER_COMPRESSION", "on"),
        ("SERVER_HEADER_TIMEOUT", "0.75"),
        ("SERVER_REQUEST_TIMEOUT", "0.25"),
        ("SERVER_STOP_DELAY", "1.25"),
        ("SERVER_TLS_CERT_FILE", "cert.pem"),
        ("SERVER_TLS_KEY_FILE", "key.pem"),
        ("SERVER_TLS_CHECK_INTERVAL", "0.5"),
        ("SERVER_TLS_HANDSHAKE_TIMEOUT", "0.75"),
        ("SERVER_TLS_HSTS_MAX_AGE", "63072000"),
        ("SERVER_DOCS", "off"),
    ])
    .unwrap();
    assert!(!server.docs);
    assert_eq!(server.host, "::1");
    assert_eq!(server.port, 0);
    assert!(server.debug && server.compression);
    assert_eq!(server.workers, 512);
    assert_eq!(server.connections_max, 100);
    assert_eq!(server.keep_alive, Duration::ZERO);
    assert_eq!(server.body_max, 101);
    assert_eq!(server.header_timeout, Duration::from_millis(750));
    assert_eq!(server.request_timeout, Duration::from_millis(250));
    assert_eq!(server.stop_delay, Duration::from_millis(1250));
    assert_eq!(server.tls.cert_file.unwrap(), Path::new("cert.pem"));
    assert_eq!(server.tls.key_file.unwrap(), Path::new("key.pem"));
    assert_eq!(server.tls.check_interval, Duration::from_millis(500));
    assert_eq!(server.tls.handshake_timeout, Duration::from_millis(750));
    assert_eq!(server.tls.hsts_max_age.unwrap().as_secs(), 63_072_000);
}

#[test]
fn each_variable_reaches_its_own_field() {
    let Settings { db, bus, ws, sse, log, .. } = Settings::from_vars([
        ("DB_DSN", "postgres://shop@db/shop"),
        ("DB_POOL_MIN", "3"),
        ("DB_POOL_MAX", "4"),
        ("BUS_HANDLER_TIMEOUT", "1.5"),
        ("BUS_QUEUE_MAX", "102"),
        ("BUS_DRAIN_TIMEOUT", "2"),
        ("BUS_EVENT_LOG_MAX", "103"),
        ("BUS_DEAD_LETTERS_MAX", "104"),
        ("WS_SESSIONS_MAX", "105"),
        ("WS_FRAME_MAX", "106"),
        ("WS_QUEUE_MAX", "107"),
        ("WS_HEARTBEAT", "3"),
        ("WS_IDLE_TIMEOUT", "3.5"),
        ("WS_SUBSCRIPTIONS_MAX", "108"),
        ("WS_ROOMS_MAX", "109"),
        ("WS_IN_FLIGHT_MAX", "110"),
        ("WS_ORIGINS", "https://a.example, http://LOCALHOST:3000"),
        ("SSE_STREAMS_MAX", "111"),
        ("SSE_QUEUE_MAX", "112"),
        ("SSE_REPLAY_MAX", "113"),
        ("SSE_ROOMS_MAX", "114"),
        ("SSE_HEARTBEAT", "4"),
        ("SSE_RETRY", "0.75"),
        ("LOG_LEVEL", "warn,callboard=debug"),
        ("LOG_FORMAT", "JSON"),
    ])
    .unwrap();
    assert_eq!(db.dsn.expose_secret(), "postgres://shop@db/shop");
    assert_eq!((db.pool_min, db.pool_max), (3, 4));
    assert_eq!(bus.handler_timeout, Duration::from_millis(1500));
    assert_eq!(bus.queue_max, 102);
    assert_eq!(bus.drain_timeout, Duration::from_secs(2));
    assert_eq!(bus.event_log_max, 103);
    assert_eq!(bus.dead_letters_max, 104);
    assert_eq!(ws.sessions_max, 105);
    assert_eq!(ws.frame_max, 106);
    assert_eq!(ws.queue_max, 107);
    assert_eq!(ws.heartbeat, Duration::from_secs(3));
    assert_eq!(ws.idle_timeout, Duration::from_millis(3500));
    assert_eq!(ws.subscriptions_max, 108);
    assert_eq!(ws.rooms_max, 109);
    assert_eq!(ws.in_flight_max, 110);
    assert_eq!(ws.origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!((sse.streams_max, sse.queue_max), (111, 112));
    assert_eq!((sse.replay_max, sse.rooms_max), (113, 114));
    assert_eq!(sse.heartbeat, Duration::from_secs(4));
    assert_eq!(sse.retry, Duration::from_millis(750));
    assert_eq!(log.level, "warn,callboard=debug");
    assert_eq!(log.format, LogFormat::Json);
}

#[test]
fn the_list_of_variables_tells_the_truth() {
    let mut names = variable_names();
    assert_eq!(names.len(), 82);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 82, "a name is listed twice");
    for variable in Settings::variables() {
        assert!(!variable.meaning.is_empty(), "{variable:?}");
        assert!(!variable.expects.is_empty(), "{variable:?}");
    }
    // What is listed as the defaults can be written down and read again.
    let listed = Settings::variables().filter(|variable| !variable.default.is_empty());
    let read_back = Settings::from_vars(listed.map(|variable| (variable.name, variable.default)));
    assert_eq!(format!("{:?}", read_back.unwrap()), format!("{:?}", Settings::default()));
}

#[test]
fn truth_has_eight_words_in_any_case() {
    for (words, truth) in [(["1", "true", "YES", "On"], true), (["0", "FALSE", "no", "oFF"], false)]
    {
        for word in words {
            let settings = Settings::from_vars([("SERVER_DEBUG", word)]).unwrap();
            assert_eq!(settings.server.debug, truth, "{word}");
        }
    }
    for word in ["2", "t", "wahr", "true ", "enabled"] {
        assert_eq!(
            refusal([("SERVER_DEBUG", word)]),
            [format!(
                "SERVER_DEBUG is \"{word}\" (given), \
                 expected one of 1, 0, true, false, yes, no, on, off"
            )]
        );
    }
}

#[test]
fn sizes_start_at_one() {
    let sizes = variable_names();
    let sizes = sizes.iter().filter(|name| name.ends_with("_MAX") || name.ends_with("_MIN"));
    let mut checked = 0;
    for name in sizes {
        for text in ["0", "-1", "1.5", "many", "4294967296", "1_000"] {
            assert_eq!(
                refusal([(name, text)]),
                [format!(
                    "{name} is \"{text}\" (given), expected a whole number from 1 to 4294967295"
                )]
            );
        }
        checked += 1;
    }
    assert_eq!(checked, 21);
}

#[test]
fn times_are_finite_and_above_zero() {
    let times = [
        "SERVER_HEADER_TIMEOUT",
        "SERVER_REQUEST_TIMEOUT",
        "BUS_HANDLER_TIMEOUT",
        "BUS_DRAIN_TIMEOUT",
        "WS_HEARTBEAT",
        "WS_IDLE_TIMEOUT",
        "SSE_HEARTBEAT",
        "SSE_RETRY",
    ];
    for name in times {
        for text in ["0", "0.0", "-0", "-1", "NaN", "inf", "-inf", "1e-12", "1e9", "1e300", "30s"] {
            assert_eq!(
                refusal([(name, text)]),
                [format!(
                    "{name} is \"{text}\" (given), \
                     expected seconds above 0 and up to 31536000, such as 30 or 0.5"
                )]
            );
        }
    }
    let year = Settings::from_vars([("BUS_HANDLER_TIMEOUT", "31536000")]).unwrap();
    assert_eq!(year.bus.handler_timeout, Duration::from_hours(365 * 24));
}

#[test]
fn a_delay_may_be_none() {
    let read = |text| Settings::from_vars([("SERVER_STOP_DELAY", text)]).unwrap().server.stop_delay;
    assert_eq!((read("0"), read("0.5")), (Duration::ZERO, Duration::from_millis(500)));
    for text in ["-1", "NaN", "inf", "1e9", "10s"] {
        let expected = "expected seconds from 0 to 31536000, such as 10 or 0.5";
        let line = format!("SERVER_STOP_DELAY is \"{text}\" (given), {expected}");
        assert_eq!(refusal([("SERVER_STOP_DELAY", text)]), [line]);
    }
}

#[test]
fn credentials_are_for_origins_that_are_named() {
    let any = ("CORS_ORIGINS", "*");
    let cors = Settings::from_vars([any]).unwrap().cors;
    assert_eq!((cors.origins, cors.credentials), (vec!["*".to_owned()], false));
    let told = refusal([any, ("CORS_CREDENTIALS", "true")]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("CORS_CREDENTIALS") && told[0].contains("CORS_ORIGINS is *"));
    let named = [("CORS_ORIGINS", "https://SHOP.example"), ("CORS_CREDENTIALS", "true")];
    let cors = Settings::from_vars(named).unwrap().cors;
    assert_eq!((cors.origins, cors.credentials), (vec!["https://shop.example".to_owned()], true));
    for (name, text) in [
        ("CORS_ORIGINS", "*, https://shop.example"),
        ("CORS_ORIGINS", "https://shop.example/path"),
        ("CORS_METHODS", "get"),
        ("CORS_METHODS", "GET,"),
        ("CORS_HEADERS", "content type"),
        ("CORS_MAX_AGE", "86401"),
    ] {
        assert!(refusal([(name, text)])[0].starts_with(name), "{name} {text}");
    }
    let own = [("CORS_METHODS", "GET, PUT"), ("CORS_HEADERS", "X-One,two"), ("CORS_MAX_AGE", "0")];
    let cors = Settings::from_vars(own).unwrap().cors;
    assert_eq!(
        (cors.methods.join(" "), cors.headers.join(" ")),
        ("GET PUT".into(), "x-one two".into())
    );
    assert_eq!(cors.max_age, Duration::ZERO);
}

#[test]
fn numbers_have_their_limits() {
    for text in ["65536", "-1", "0x50", ""] {
        assert!(refusal([("SERVER_PORT", text)])[0].contains("a whole number from 0 to 65535"));
    }
    for text in ["0", "513"] {
        assert_eq!(
            refusal([("SERVER_WORKERS", text)]),
            [format!(
                "SERVER_WORKERS is \"{text}\" (given), expected a whole number from 1 to 512"
            )]
        );
    }
}

#[test]
fn a_host_has_no_port_and_no_scheme() {
    for host in ["0.0.0.0", "localhost", "shop.example", "::", "fe80::1"] {
        let settings = Settings::from_vars([("SERVER_HOST", host)]).unwrap();
        assert_eq!(settings.server.host, host);
    }
    for host in ["localhost:8000", "http://shop", "[::1]", "a b", "shop/"] {
        assert_eq!(
            refusal([("SERVER_HOST", host)]),
            [format!(
                "SERVER_HOST is \"{host}\" (given), \
                 expected a host name or an IP address, without a port"
            )]
        );
    }
}

#[test]
fn origins_are_what_a_browser_sends() {
    let read = |list| Settings::from_vars([("WS_ORIGINS", list)]).unwrap().ws.origins;
    assert_eq!(read("https://shop.example"), ["https://shop.example"]);
    assert_eq!(read("http://[::1]:80,app+x://id"), ["http://[::1]:80", "app+x://id"]);
    for list in [
        "*",
        "https://*.shop.example",
        "shop.example",
        "https://shop.example/",
        "https://",
        "://shop.example",
        "null",
        "https://a.example,,https://b.example",
        "https://a.example,",
        "https://a.example https://b.example",
    ] {
        let lines = refusal([("WS_ORIGINS", list)]);
        let named = format!("WS_ORIGINS is \"{list}\" (given), expected origins such as");
        assert!(lines.len() == 1 && lines[0].starts_with(&named), "{lines:?}");
    }
}

#[test]
fn a_log_format_is_one_of_two() {
    assert_eq!(
        refusal([("LOG_FORMAT", "xml")]),
        ["LOG_FORMAT is \"xml\" (given), expected one of text, json"]
    );
}

#[test]
fn blank_is_not_a_value() {
    for name in variable_names().into_iter().filter(|name| !name.starts_with("OTEL_")) {
        for blank in ["", " ", "\t\n"] {
            let lines = refusal([(name, blank)]);
            assert_eq!(lines.len(), 1, "{lines:?}");
            let start = format!("{name} is \"\" (given), expected ");
            assert!(lines[0].starts_with(&start), "{lines:?}");
            assert!(lines[0].ends_with(": unset it or give a value"), "{lines:?}");
        }
    }
}

#[test]
fn the_variables_of_opentelemetry_are_those_of_all_programs() {
    let given = Settings::from_vars([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", " http://127.0.0.1:4318 "),
        ("OTEL_SERVICE_NAME", " "),
        ("OTEL_TRACES_SAMPLER", "of another program"),
        ("OTEL_PYTHON_LOG_CORRELATION", "true"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "roots.pem"),
    ]);
    let otel = given.unwrap().otel;
    assert_eq!(otel.endpoint.as_deref(), Some("http://127.0.0.1:4318"));
    assert_eq!(otel.certificate.as_deref(), Some(Path::new("roots.pem")));
    assert!(otel.service_name.is_none() && otel.traces_certificate.is_none());
    assert_eq!(otel.traces_sampler.as_deref(), Some("of another program"));
    assert!(!format!("{otel:?}").contains("hunter2"), "{otel:?}");
}

#[test]
fn a_dsn_has_a_known_scheme() {
    for dsn in [
        "sqlite://shop.db",
        "sqlite::memory:",
        "sqlite:shop.db",
        "postgres://u:p@h/d",
        "postgresql://h/d",
    ] {
        let settings = Settings::from_vars([("DB_DSN", dsn)]).unwrap();
        assert_eq!(settings.db.dsn.expose_secret(), dsn);
    }
    for dsn in [
        "mysql://u:hunter2@h/d",
        "postgresql+asyncpg://u:hunter2@h/d",
        "hunter2",
        "postgres:",
        " sqlite://hunter2.db",
    ] {
        assert_eq!(
            refusal([("DB_DSN", dsn)]),
            ["DB_DSN has a value that is not shown (given), \
              expected a DSN of the form sqlite:…, postgres:… or postgresql:…"]
        );
    }
}

#[test]
fn nothing_shows_a_secret() {
    let settings = Settings::from_vars([("DB_DSN", "postgres://u:hunter2@h/d")]).unwrap();
    assert!(!format!("{settings:?} {settings:#?}").contains("hunter2"));
    // The last two are misspelt names, whose values are as secret.
    let error = Settings::from_vars([
        ("DB_DSN", "mysql://u:hunter2@h/d"),
        ("DB_DNS", "postgres://u:hunter2@h/d"),
        ("DB_PASSWORD", "hunter2"),
    ])
    .unwrap_err();
    assert_eq!(error.faults.len(), 3);
    assert!(!format!("{error} {error:?} {error:#?}").contains("hunter2"));
}

#[test]
fn values_that_disagree_name_each_other() {
    assert_eq!(
        refusal([("DB_POOL_MIN", "11")]),
        ["DB_POOL_MIN is \"11\" (given), \
          expected at most DB_POOL_MAX, which is \"10\" (default)"]
    );
    assert_eq!(
        refusal([("DB_POOL_MAX", "1")]),
        ["DB_POOL_MIN is \"2\" (default), \
          expected at most DB_POOL_MAX, which is \"1\" (given)"]
    );
    assert_eq!(
        refusal([("WS_HEARTBEAT", "7"), ("WS_IDLE_TIMEOUT", "7.0")]),
        ["WS_IDLE_TIMEOUT is \"7.0\" (given), \
          expected more than WS_HEARTBEAT, which is \"7\" (given)"]
    );
    assert!(Settings::from_vars([("DB_POOL_MIN", "10")]).is_ok());
}

#[test]
fn a_faulty_value_does_not_also_disagree() {
    // The default that stands for the faulty maximum, 10, is below this minimum.
    let lines = refusal([("DB_POOL_MIN", "11"), ("DB_POOL_MAX", "lots")]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("DB_POOL_MAX"), "{lines:?}");
}

#[test]
fn unknown_names_of_our_groups_are_refused() {
    let unknown = |name| refusal([(name, "1")]);
    for (written, meant) in [
        ("DB_DNS", "DB_DSN"),
        ("SERVER_WORKER", "SERVER_WORKERS"),
        ("WS_HEART_BEAT", "WS_HEARTBEAT"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        // Near WS_QUEUE_MAX too, but less so.
        ("BUS_QUEUES_MAX", "BUS_QUEUE_MAX"),
        ("BUS_DEADLETTERS_MAX", "BUS_DEAD_LETTERS_MAX"),
    ] {
        let line = format!("{written} (given) is not a setting, did you mean {meant}?");
        assert_eq!(unknown(written), [line]);
    }
    for (written, group) in [("SERVER_FOO", "SERVER"), ("LOG_DIRECTORY", "LOG"), ("WS_", "WS")] {
        let line = format!(
            "{written} (given) is not a setting, \
             names that start with {group}_ are reserved: rename or unset it"
        );
        assert_eq!(unknown(written), [line]);
    }
    for foreign in ["PATH", "DBX_DSN", "LOG", "SERVERPORT", "_DB_DSN", "db_dsn"] {
        assert!(Settings::from_vars([(foreign, "1")]).is_ok(), "{foreign}");
    }
}

#[test]
fn all_faults_come_at_once_one_a_line() {
    let error = Settings::from_vars([
        ("SERVER_PORT", "eighty\nthousand"),
        ("DB_POOL_MIN", "20"),
        ("WS_QUEUE_MAX", "0"),
        ("LOG_FORMAT", ""),
        ("BUS_NEW\nLINE", "1"),
    ])
    .unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "SERVER_PORT is \"eighty\\nthousand\" (given), \
             expected a whole number from 0 to 65535",
            "DB_POOL_MIN is \"20\" (given), \
             expected at most DB_POOL_MAX, which is \"10\" (default)",
            "WS_QUEUE_MAX is \"0\" (given), expected a whole number from 1 to 4294967295",
            "LOG_FORMAT is \"\" (given), expected one of text, json: unset it or give a value",
            "BUS_NEW\\nLINE (given) is not a setting, \
             names that start with BUS_ are reserved: rename or unset it",
        ]
    );
    assert!(matches!(
        &error.faults[2],
        SettingsFault::Invalid { name: "WS_QUEUE_MAX", origin: SettingsOrigin::Given, .. }
    ));
}

#[test]
fn the_later_of_two_given_pairs_wins() {
    let settings = Settings::from_vars([("SERVER_PORT", "1"), ("SERVER_PORT", "2")]).unwrap();
    assert_eq!(settings.server.port, 2);
}

#[test]
fn environment_beats_file_beats_application_beats_built_in() {
    let vars = [("SERVER_PORT", OsStr::new("1"))];
    let file = b"SERVER_PORT=2\nSERVER_WORKERS=2\n";
    in_process(&vars, Some(file), || {
        let settings = Settings::load_over([
            ("SERVER_PORT", "3"),
            ("SERVER_WORKERS", "3"),
            ("SERVER_BODY_MAX", "3"),
        ])
        .unwrap();
        assert_eq!(settings.server.port, 1);
        assert_eq!(settings.server.workers, 2);
        assert_eq!(settings.server.body_max, 3);
        assert_eq!(settings.bus.queue_max, 1024);
        // Without the application's defaults the built-in one is back.
        assert_eq!(Settings::load().unwrap().server.body_max, 1024 * 1024);
    });
}

#[test]
fn each_fault_names_its_source() {
    let vars = [("SERVER_PORT", OsStr::new("a")), ("WS_FOO", OsStr::new("hunter2"))];
    in_process(&vars, Some(b"SERVER_WORKERS=b\nDB_POOL_MIN=30"), || {
        let error = Settings::load_over([("BUS_QUEUE_MAX", "c"), ("DB_POOL_MAX", "20")]);
        let text = error.unwrap_err().to_string();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "SERVER_PORT is \"a\" (environment), expected a whole number from 0 to 65535",
                "SERVER_WORKERS is \"b\" (.env), expected a whole number from 1 to 512",
                "DB_POOL_MIN is \"30\" (.env), \
                 expected at most DB_POOL_MAX, which is \"20\" (default)",
                "BUS_QUEUE_MAX is \"c\" (default), \
                 expected a whole number from 1 to 4294967295",
                "WS_FOO (environment) is not a setting, \
                 names that start with WS_ are reserved: rename or unset it",
            ]
        );
    });
}

#[test]
fn a_missing_file_is_fine() {
    in_process(&[], None, || {
        let settings = Settings::load().unwrap();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    });
}

#[test]
fn the_file_may_hold_what_such_files_hold() {
    let file = "\u{feff}SERVER_PORT=81\r\n\
                # a comment\n\n\
                export DB_DSN='postgres://u:pa$$@h/d' # another\n\
                LOG_LEVEL=\"warn\"\n\
                APP_NAME=shop\n\
                SERVER_WORKERS=2\nSERVER_WORKERS=3\n\
                BUS_QUEUE_MAX=7 ";
    in_process(&[], Some(file.as_bytes()), || {
        let settings = Settings::load().unwrap();
        assert_eq!(settings.server.port, 81);
        assert_eq!(settings.db.dsn.expose_secret(), "postgres://u:pa$$@h/d");
        assert_eq!(settings.log.level, "warn");
        assert_eq!(settings.server.workers, 3);
        assert_eq!(settings.bus.queue_max, 7);
    });
}

#[test]
fn reading_leaves_the_process_environment_alone() {
    in_process(&[], Some(b"SERVER_PORT=81\nAPP_NAME=shop\n"), || {
        assert_eq!(Settings::load().unwrap().server.port, 81);
        assert_eq!(env::var_os("SERVER_PORT"), None);
        assert_eq!(env::var_os("APP_NAME"), None);
    });
}

#[test]
fn malformed_lines_are_counted_and_not_shown() {
    let file = b"# a comment\n\n\
                 SERVER_PORT=81\n\
                 DB_DSN=postgres://u:hunter2 @h/d x\n\
                 hunter2\n\
                 LOG_LEVEL=\"in\nfo\" hunter2\n\
                 SERVER_WORKERS=many\n\
                 \n\
                 DB_POOL_MAX='hunter2\n\n";
    in_process(&[], Some(file), || {
        let malformed = |line| {
            format!(
                "line {line} of .env is not understood, \
                 expected NAME=value, with quotes around a value that holds spaces"
            )
        };
        let workers = "SERVER_WORKERS is \"many\" (.env), \
                       expected a whole number from 1 to 512";
        let mut lines = [4, 5, 6, 10].map(malformed).to_vec();
        lines.push(workers.to_owned());
        assert_eq!(load_refusal().lines().collect::<Vec<_>>(), lines);
        assert!(!format!("{:?}", Settings::load()).contains("hunter2"));
    });
}

#[test]
fn a_long_line_is_one_line() {
    let file = format!("APP_TEXT={}\nhunter2\n", "x".repeat(100_000));
    in_process(&[], Some(file.as_bytes()), || {
        assert!(load_refusal().starts_with("line 2 of .env "));
    });
}

#[test]
fn a_file_that_is_not_utf8_is_refused() {
    in_process(&[], Some(b"APP_NAME=caf\xe9\n"), || {
        let text = load_refusal();
        let start = ".env cannot be read, expected a UTF-8 text file or none: ";
        assert!(text.starts_with(start) && text.lines().count() == 1, "{text}");
    });
}

#[test]
fn a_directory_in_place_of_the_file_is_refused() {
    in_process(&[], None, || {
        fs::create_dir(".env").unwrap();
        assert!(load_refusal().starts_with(".env cannot be read, "));
    });
}

#[cfg(unix)]
#[test]
fn a_variable_of_ours_that_is_not_utf8_is_refused() {
    let latin = OsStr::from_bytes(b"caf\xe9");
    in_process(&[("LOG_LEVEL", latin)], None, || {
        assert_eq!(
            load_refusal(),
            "LOG_LEVEL is not UTF-8 (environment), \
             expected a tracing filter such as info or info,callboard=debug"
        );
    });
}

#[cfg(unix)]
#[test]
fn a_variable_of_others_may_be_any_bytes() {
    let latin = OsStr::from_bytes(b"caf\xe9");
    in_process(&[("APP_NAME", latin)], None, || {
        assert_eq!(env::var_os("APP_NAME").as_deref(), Some(latin));
        assert!(Settings::load().is_ok());
    });
}

#[test]
fn limits_of_clients_are_off_until_they_are_set() {
    let server = Settings::default().server;
    assert_eq!((server.rate.limit, server.rate.burst), (None, None));
    assert_eq!((server.rate.per, server.rate.clients_max), (Duration::from_secs(1), 100_000));
    assert!(server.proxies.trusted.is_empty());
    assert_eq!(server.idempotency.ttl, Duration::from_hours(24));
    assert_eq!(server.idempotency.entries_max, 10_000);
    assert_eq!(server.idempotency.bytes_max, 64 * 1024 * 1024);

    let server = Settings::from_vars([
        ("SERVER_RATE_LIMIT", "20"),
        ("SERVER_RATE_PER", "60"),
        ("SERVER_RATE_BURST", "5"),
        ("SERVER_RATE_CLIENTS_MAX", "7"),
        ("SERVER_TRUSTED_PROXIES", "10.0.0.0/8, ::1,unix"),
        ("SERVER_PROXY_HEADER", "Forwarded"),
        ("SERVER_IDEMPOTENCY_TTL", "3600"),
        ("SERVER_IDEMPOTENCY_MAX", "8"),
        ("SERVER_IDEMPOTENCY_BYTES_MAX", "9"),
    ]);
    let server = server.unwrap().server;
    assert_eq!((server.rate.limit, server.rate.burst), (Some(20), Some(5)));
    assert_eq!((server.rate.per, server.rate.clients_max), (Duration::from_mins(1), 7));
    let trusted: Vec<_> = server.proxies.trusted.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["10.0.0.0/8", "::1/128", "unix"]);
    assert_eq!(server.proxies.header, ProxyHeader::Forwarded);
    assert_eq!(server.idempotency.ttl, Duration::from_hours(1));
    assert_eq!((server.idempotency.entries_max, server.idempotency.bytes_max), (8, 9));
}

#[test]
fn a_burst_without_a_limit_and_a_proxy_that_is_none_are_refused() {
    let [fault] = refusal([("SERVER_RATE_BURST", "5")]).try_into().unwrap();
    assert!(fault.contains("SERVER_RATE_LIMIT is not: set it"), "{fault}");
    let [fault] = refusal([("SERVER_TRUSTED_PROXIES", "10.0.0.0/8,proxy")]).try_into().unwrap();
    assert!(fault.contains("expected addresses, networks such as 10.0.0.0/8"), "{fault}");
}
