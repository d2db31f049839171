//! Everything through which clients come in: what the application was given enters, the services of
//! each worker leave.

use actix_web::web::ServiceConfig;
use callboard_actors::Bus;
use serde_json::Value;

use super::Configure;
use crate::auth::Access;
use crate::health::HealthChecks;
use crate::http::{self, ListenerCounts, Operations, Routes, Traffic};
use crate::otlp::Otlp;
use crate::settings::Settings;
use crate::sse::{Sse, SseStats};
use crate::ws::{Ws, WsStats};

/// Everything through which clients come in.
pub(super) struct Edges {
    pub(super) settings: Settings,
    pub(super) routes: Routes,
    pub(super) openapi: Value,
    /// Where the description says that the API is.
    #[cfg(feature = "swagger-ui")]
    pub(super) servers: Vec<String>,
    pub(super) ws: Vec<(String, Ws)>,
    pub(super) sse: Vec<(String, Sse)>,
    pub(super) health: HealthChecks,
    pub(super) services: Vec<Box<dyn Configure>>,
    /// Who may watch; it has the provider of the whole application.
    pub(super) operations: Access,
    pub(super) otlp: Otlp,
}

impl Edges {
    /// What watches the application.
    fn operations(&self, bus: &Bus, traffic: &Traffic) -> Operations {
        let operations = Operations::new(bus.clone()).traffic(traffic).health(&self.health);
        let operations = operations.under(self.operations.clone());
        let operations = self.ws.iter().fold(operations, |operations, (path, ws)| {
            let ws = ws.clone();
            operations.socket(path, move || {
                let WsStats { sessions, slow_consumers } = ws.stats();
                ListenerCounts { open: sessions, slow_consumers }
            })
        });
        self.sse.iter().fold(operations, |operations, (path, sse)| {
            let sse = sse.clone();
            operations.stream(path, move || {
                let SseStats { streams, slow_consumers } = sse.stats();
                ListenerCounts { open: streams, slow_consumers }
            })
        })
    }

    /// All of them, for each worker.
    pub(super) fn services(
        &self,
        bus: &Bus,
    ) -> impl Fn(&mut ServiceConfig) + Clone + Send + use<> + 'static {
        let (settings, traffic) = (&self.settings, Traffic::default());
        let routes = self.routes.clone().counted_in(&traffic);
        let routes = routes.install_with(bus.clone(), &settings.server);
        let operations = self.operations(bus, &traffic).install();
        let openapi = http::openapi_json(bus.clone(), &self.openapi);
        #[cfg(feature = "swagger-ui")]
        let docs = settings.server.docs.then(|| http::docs(bus.clone(), &self.servers));
        let sessions = self.ws.iter().map(|(path, ws)| ws.install(path, bus, &settings.ws));
        let sessions: Vec<_> = sessions.collect();
        let install =
            |(path, sse): &(String, Sse)| sse.install_counted(path, bus, &settings.sse, &traffic);
        let streams: Vec<_> = self.sse.iter().map(install).collect();
        let (bus, own) = (bus.clone(), self.services.clone());
        move |config| {
            config.configure(operations.clone());
            for session in &sessions {
                config.configure(session.clone());
            }
            for stream in &streams {
                config.configure(stream.clone());
            }
            for own in &own {
                own.configure(config);
            }
            config.configure(routes.clone()).configure(openapi.clone());
            #[cfg(feature = "swagger-ui")]
            if let Some(docs) = &docs {
                config.configure(docs.clone());
            }
            config.default_service(http::unknown_path(bus.clone(), &traffic));
        }
    }
}
