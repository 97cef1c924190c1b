//! The path of a request, from a client to the backend and back.
//!
//! [`Route`] is the pure part, shared with `explain`; [`Gateway`] adds the three waits: for the issuer, for the client's
//! body and for the backend. Every answer is written down before it leaves.

mod access;
mod body;
mod concerned;
mod documents;
mod evidence;
mod fields;
mod record;
mod recorder;
mod route;
mod serve;
mod watch;

pub use body::ResponseBody;
pub use concerned::Effect;
pub use route::{Passage, Question, Route, Step, is_uri};
pub use serve::{Front, Gateway, GatewayError, Lasting};
