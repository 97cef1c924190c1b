//! Who asks: the token, what its sender shows to hold besides, and whether the proof of it was used before.
//!
//! In this order, so that only the holder of a good token and its key can fill the memory of used proofs.

use std::pin::pin;

use http::request::Parts;
use jiff::Timestamp;

use super::Gateway;
use crate::gateway::record::Record;
use crate::gateway::route::Question;
use crate::listener::Connection;
use crate::shared::{Proof, Use};
use crate::token::{Caller, NonceAge, Possession, Presented, Proven, Sent, Thumbprint, TokenError};

impl Gateway {
    /// Finds out who sends this request.
    ///
    /// # Errors
    /// The token, its proof or its certificate is not what it must be, or somebody who must be asked is away.
    pub(super) async fn caller(
        &self,
        head: &Parts,
        connection: &Connection,
        (question, record): (&Question, &mut Record),
    ) -> Result<Caller, TokenError> {
        let now = record.now();
        let presented = self.presented(head, question)?;
        if presented == Presented::None {
            return Ok(Caller::Anonymous);
        }
        let certificate = self.certificate(head, connection)?;
        let step = record.watch().trace().step("verify token");
        let claims = step.within(pin!(self.issuers.verify(&presented, now))).await?;
        drop(step);
        let proven = match &presented {
            Presented::Bearer(_) | Presented::None => None,
            Presented::Dpop { token, proof } => {
                // The public URL, whatever a proxy in between made of the authority (TOK-63).
                let url = format!("{}{}", self.origin, head.uri.path());
                let window = self.settings.dpop.window;
                Some(proof.check(token, &Sent { method: &head.method, url: &url, now, window })?)
            }
        };
        let caller = Caller::admit(claims, &Possession::of(proven.as_ref(), certificate), now)?;
        if let Some(proven) = &proven {
            self.judge_nonce(proven, now, record)?;
            self.first_use(proven).await?;
        }
        Ok(caller)
    }

    fn presented(&self, head: &Parts, question: &Question) -> Result<Presented, TokenError> {
        let in_query = match question {
            Question::Fhir(asked) => asked.target().query().first("access_token").is_some(),
            // Nothing but the wanted format stands beside a link.
            Question::Link { .. } => false,
        };
        match Presented::from_request(&head.headers, in_query) {
            Ok(Presented::Dpop { .. }) | Err(TokenError::DpopProofMissing) if !self.settings.dpop.enabled => {
                Err(TokenError::DpopUnsupported)
            }
            presented => presented,
        }
    }

    /// The client's certificate: the one of this connection, or of whoever a trusted proxy connects for (TOK-61). The
    /// proxy's own is nobody's.
    fn certificate(&self, head: &Parts, connection: &Connection) -> Result<Option<Thumbprint>, TokenError> {
        if let Some(proxies) = self.settings.server.proxies.as_ref()
            && proxies.contains(connection.peer.ip())
        {
            return Thumbprint::forwarded(&head.headers, &proxies.header);
        }
        let digest = connection.tls.as_ref().and_then(|tls| tls.client_certificate_sha256);
        Ok(digest.map(Thumbprint::from_sha256))
    }

    /// Demands a nonce of ours where the settings do, and offers a new one in time (TOK-65, RFC 9449 §8.2, §9).
    fn judge_nonce(&self, proven: &Proven, now: Timestamp, record: &mut Record) -> Result<(), TokenError> {
        if !self.settings.dpop.nonce {
            return Ok(());
        }
        let age = proven.nonce().map_or(NonceAge::Unusable, |nonce| self.nonces.judge(nonce, now));
        match age {
            NonceAge::Fresh => Ok(()),
            NonceAge::Aging => {
                record.offer(self.nonces.issue(now));
                Ok(())
            }
            NonceAge::Unusable => {
                record.offer(self.nonces.issue(now));
                Err(TokenError::DpopNonceNeeded)
            }
        }
    }

    /// TOK-64: a proof is good for one request. What cannot be known is refused.
    async fn first_use(&self, proven: &Proven) -> Result<(), TokenError> {
        let used = Proof { digest: proven.digest(), holder: *proven.key().bytes(), issued: proven.issued() };
        match self.lasting.shared.first_use(&used, proven.lifetime()).await {
            Ok(Use::First) => Ok(()),
            Ok(Use::Again) => Err(TokenError::DpopProofReplayed),
            Err(error) => Err(TokenError::ReplayMemoryUnavailable { cause: error.to_string() }),
        }
    }
}
