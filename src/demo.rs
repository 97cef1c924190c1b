//! Demo servers: an authorization server, a FHIR R4 server with synthetic data, and a SMART app.
//!
//! `pforte demo` puts the gateway in front of them; the tests use them as doubles. They hold everything in memory and
//! know people who never lived. What they write (headers, pages, CapabilityStatement, tags) says that it is a demo.
//! They are no products: the authorization server lets everybody in with a password that stands on its login page.

mod app;
pub mod authorization;
mod chance;
pub mod fhir_server;
mod serving;
pub mod trouble;

use std::io;
use std::net::SocketAddr;

use authorization::{AuthorizationServer, Claims, Endpoint};
use fhir_server::FhirServer;

pub use serving::Received;

/// Where the demo servers listen, and for whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// The FHIR base URL of the gateway: what tokens are for and what the app asks.
    pub public_url: String,
    /// Where the authorization server listens; port 0 takes a free one.
    pub authorization: SocketAddr,
    /// Where the FHIR server listens; port 0 takes a free one.
    pub fhir: SocketAddr,
}

impl Options {
    /// Free ports on loopback, behind a gateway at this FHIR base URL.
    pub fn behind(public_url: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { public_url: public_url.to_owned(), authorization: free, fhir: free }
    }
}

/// Both demo servers, running; they end when this is dropped.
pub struct Demo {
    /// The authorization server, which serves the SMART app too.
    pub authorization: AuthorizationServer,
    /// The FHIR server.
    pub fhir: FhirServer,
}

impl Demo {
    /// Starts both.
    ///
    /// # Errors
    /// When an address is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let fhir =
            FhirServer::start(fhir_server::Options { address: options.fhir, ..Default::default() }).await?;
        let (address, audience) = (options.authorization, options.public_url);
        let options = authorization::Options { address, audience, ..Default::default() };
        Ok(Self { authorization: AuthorizationServer::start(options).await?, fhir })
    }

    /// The address to open in a browser.
    pub fn app_url(&self) -> String {
        self.authorization.url(Endpoint::App)
    }

    /// A token of the demo client with this scope, for a line to paste.
    pub fn token(&self, scope: &str) -> String {
        self.authorization.mint(Claims::new(scope))
    }
}
