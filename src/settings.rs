//! Typed settings: the process environment, a `.env` file and defaults enter, [`Settings`] or every
//! fault at once leave.

mod fault;
mod proxy;
mod syntax;
mod env_file;
mod reader;
mod tls;
mod clients;
mod idempotency;
mod groups;
mod auth;
mod cors;
mod otel;
mod sse;

use std::{env, iter};

pub use auth::{AuthSettings, JwtAlgorithm};
pub use clients::{ProxyHeader, ProxySettings, RateSettings};
pub use cors::CorsSettings;
pub use fault::{SettingsError, SettingsFault, SettingsOrigin};
pub use groups::{BusSettings, DbSettings, LogFormat, LogSettings, ServerSettings, WsSettings};
pub use idempotency::IdempotencySettings;
pub use otel::OtelSettings;
pub use proxy::{BadTrustedProxy, TrustedProxy};
pub use reader::Variable;
use reader::{Layer, Reader};
pub use sse::SseSettings;
pub use tls::TlsSettings;

/// Where [`Settings::load`] looks for a file, relative to the working directory.
const ENV_FILE: &str = ".env";

/// What an application can be told from outside.
///
/// Each field says which variable it is read from, its limits, and after the semicolon its default.
/// The fields are public and may be changed after reading; only reading checks the limits.
///
/// | a variable | outcome |
/// |---|---|
/// | not set | its default |
/// | set, in the right form and within its limits | its value |
/// | set in several places | the first of environment, `.env`, the application's defaults counts |
/// | blank, in a wrong form, out of its limits, or not UTF-8 | a fault |
/// | unknown, starting with `SERVER_`, `CORS_`, `AUTH_`, `DB_`, `BUS_`, `WS_`, `SSE_` or `LOG_` | a fault |
/// | unknown, any other name | ignored |
/// | `OTEL_…`, whatever it holds | never a fault; see [`OtelSettings`] |
///
/// Truth values are `1`, `true`, `yes`, `on` and `0`, `false`, `no`, `off` in any case; times are
/// seconds, with decimals where wanted; sizes and numbers are whole, from 1 to 4294967295 unless
/// their field says otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The HTTP server.
    pub server: ServerSettings,
    /// The pages of other origins.
    pub cors: CorsSettings,
    /// Who may come in.
    pub auth: AuthSettings,
    /// The database.
    pub db: DbSettings,
    /// The bus and its handlers.
    pub bus: BusSettings,
    /// WebSocket sessions.
    pub ws: WsSettings,
    /// Streams of server-sent events.
    pub sse: SseSettings,
    /// What the application writes about itself.
    pub log: LogSettings,
    /// Where spans are sent.
    pub otel: OtelSettings,
}

impl Settings {
    /// Reads the process environment over the `.env` file of the working directory over the
    /// defaults.
    ///
    /// A missing `.env` is fine, and reading it never changes the process environment. In it, `$`
    /// starts a substitution: put single quotes around a value that holds one. Of two lines with
    /// one name the later wins.
    ///
    /// ```no_run
    /// use callboard::settings::Settings;
    ///
    /// let settings = Settings::load()?;
    /// println!("listens on {}:{}", settings.server.host, settings.server.port);
    /// # Ok::<(), callboard::settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns every fault of the file, the values and the names at once.
    pub fn load() -> Result<Self, SettingsError> {
        Self::load_over(iter::empty::<(&str, &str)>())
    }

    /// Does what [`load`](Self::load) does, with the application's own defaults over the built-in
    /// ones.
    ///
    /// ```no_run
    /// use callboard::settings::Settings;
    ///
    /// let settings = Settings::load_over([("DB_DSN", "sqlite://shop.db")])?;
    /// # Ok::<(), callboard::settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns every fault at once, those of the application's defaults included.
    pub fn load_over<K, V>(
        defaults: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SettingsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        // A name that is not UTF-8 cannot be one of ours.
        let environment =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let (file, faults) = env_file::read(ENV_FILE);
        let defaults = defaults.into_iter().map(|(name, value)| (name, value.into()));
        let layers = vec![
            Layer::new(SettingsOrigin::Environment, environment),
            Layer::new(SettingsOrigin::EnvFile, file),
            Layer::new::<K, String>(SettingsOrigin::Default, defaults),
        ];
        Self::read_from(Reader::new(layers).with_faults(faults))
    }

    /// Reads only the given pairs over the built-in defaults: for tests, and for embedding in
    /// another application.
    ///
    /// Of two pairs with one name the later wins.
    ///
    /// ```
    /// use callboard::settings::Settings;
    ///
    /// let settings = Settings::from_vars([("SERVER_PORT", "0"), ("BUS_DRAIN_TIMEOUT", "0.5")])?;
    /// assert_eq!(settings.server.port, 0);
    /// assert_eq!(settings.bus.drain_timeout.as_millis(), 500);
    ///
    /// let faulty = [("SERVER_PORT", "eighty"), ("DB_DNS", "sqlite://shop.db")];
    /// let error = Settings::from_vars(faulty).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "SERVER_PORT is \"eighty\" (given), expected a whole number from 0 to 65535\n\
    ///      DB_DNS (given) is not a setting, did you mean DB_DSN?"
    /// );
    /// # Ok::<(), callboard::settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns every fault of the values and the names at once.
    pub fn from_vars<K, V>(vars: impl IntoIterator<Item = (K, V)>) -> Result<Self, SettingsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let vars = vars.into_iter().map(|(name, value)| (name, value.into()));
        let given = Layer::new::<K, String>(SettingsOrigin::Given, vars);
        Self::read_from(Reader::new(vec![given]))
    }

    /// What a test begins with: the built-in defaults, but for a free port and an SQLite database
    /// in memory.
    ///
    /// ```
    /// use callboard::settings::Settings;
    ///
    /// let mut settings = Settings::for_tests();
    /// settings.bus.queue_max = 1;
    /// assert_eq!(settings.server.port, 0);
    /// ```
    #[cfg(feature = "testing")]
    pub fn for_tests() -> Self {
        let mut settings = Self::default();
        settings.server.port = 0;
        settings.db.dsn = "sqlite::memory:".into();
        settings
    }

    /// Lists every variable, in the order of the fields.
    pub fn variables() -> impl Iterator<Item = Variable> {
        let mut reader = Reader::default();
        Self::read(&mut reader);
        reader.into_variables().into_iter()
    }

    fn read_from(mut reader: Reader) -> Result<Self, SettingsError> {
        let settings = Self::read(&mut reader);
        reader.finish().map(|()| settings)
    }

    /// One pass over the table of variables, for reading, defaults and listing alike.
    fn read(reader: &mut Reader) -> Self {
        Self {
            server: ServerSettings::read(reader),
            cors: CorsSettings::read(reader),
            auth: AuthSettings::read(reader),
            db: DbSettings::read(reader),
            bus: BusSettings::read(reader),
            ws: WsSettings::read(reader),
            sse: SseSettings::read(reader),
            log: LogSettings::read(reader),
            otel: OtelSettings::read(reader),
        }
    }
}

impl Default for Settings {
    /// Returns the built-in defaults, whatever the environment says.
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
