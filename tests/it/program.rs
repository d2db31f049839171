//! One of the examples as a child process: started on a free port, spoken to over sockets, stopped
//! or killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a program may take to listen, to answer or to end before a test gives up on it.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Program {
    child: Child,
    log: Receiver<String>,
    /// What it said before it listened.
    pub(crate) early: Vec<String>,
    /// Where it says that it listens.
    place: String,
    port: u16,
}

/// The example's binary, which `cargo test` builds beside the tests.
fn binary(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(example);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// The example with a clean environment, in a folder of its own.
pub(crate) fn command(example: &str, folder: &Path, vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary(example));
    command.current_dir(folder).env_clear().envs(vars.iter().copied());
    command
}

impl Program {
    /// Starts the example and waits until it listens on its port.
    pub(crate) fn start(example: &str, folder: &Path, vars: &[(&str, &str)]) -> Self {
        let mut program = Self::start_anywhere(example, folder, vars);
        let port = program.place.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        program.port = port.unwrap_or_else(|| panic!("no port in {:?}", program.place));
        program
    }

    /// Starts the example and waits until it listens wherever the variables say.
    pub(crate) fn start_anywhere(example: &str, folder: &Path, vars: &[(&str, &str)]) -> Self {
        let mut command = command(example, folder, vars);
        command.env("SERVER_PORT", "0").stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the example starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, log) = mpsc::channel();
        // Reads to the end, or the program would block on a full pipe.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut program = Self { child, log, early: Vec::new(), place: String::new(), port: 0 };
        (program.place, program.early) = program.read_to("listening on ");
        program
    }

    /// The next line of the log that contains the text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.read_to(text).0
    }

    /// The same, and what comes before it.
    fn read_to(&self, text: &str) -> (String, Vec<String>) {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return (line, seen),
                Ok(line) => seen.push(line),
                Err(error) => panic!("{text:?} was not logged ({error}): {seen:#?}"),
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request; the status and the JSON body (`Null` when there is none).
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.try_call(method, path, body).await.expect("the program answers")
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, body).await
    }

    /// The same, where the program may die meanwhile.
    pub(crate) async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value), String> {
        let method = method.parse().expect("a method");
        let request = awc::Client::new().request(method, self.url(path)).timeout(PATIENCE);
        let sent = if body.is_null() { request.send() } else { request.send_json(&body) };
        let mut response = sent.await.map_err(|error| error.to_string())?;
        let bytes = response.body().await.map_err(|error| error.to_string())?;
        let json = if bytes.is_empty() { Value::Null } else { from_json(&bytes) };
        Ok((response.status().as_u16(), json))
    }

    /// SIGKILL, also while requests are in flight: nothing of the program runs any more.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.ask_to_stop();
        self.ended()
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end; the exit status.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// SIGTERM, and what it says from then on and was not read yet.
    pub(crate) fn last_words(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        self.child.wait().expect("it ends");
        self.log.iter().collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), signal).expect("it runs");
    }
}

fn from_json(bytes: &[u8]) -> Value {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error} in {:?}", text()))
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
