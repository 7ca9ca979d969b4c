//! Who this client is to the gateway, and when it makes no sense to wait for that.

use odin_client::{AuthFailure, Event, Parting, printable};

use super::exit::Exit;

/// Keeps account of it from the events of one client.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    user: Option<String>,
    was_signed_in: bool,
}

impl Identity {
    /// The user that the connection is signed in as. Safe to print.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Takes an event in. Gives how to end, and why, when there is nothing more to wait for.
    ///
    /// A token that was never accepted is a mistake of whoever typed it, and waiting does not mend it. One that was
    /// accepted before may have expired, and its file will have another one.
    pub(crate) fn observe(&mut self, event: &Event) -> Option<(Exit, String)> {
        match event {
            Event::Authenticated { sub, .. } => {
                self.user = Some(printable(sub).into_owned());
                self.was_signed_in = true;
            }
            Event::Reconnecting { why, .. } => {
                self.user = None;
                let is_hopeless =
                    matches!(why, Parting::NotSignedIn(AuthFailure::Refused { .. } | AuthFailure::NoToken { .. }));
                if is_hopeless && !self.was_signed_in {
                    return Some((Exit::NotSignedIn, why.to_string()));
                }
            }
            Event::Idle => self.user = None,
            Event::Closed { why, .. } => return Some((Exit::after(why), why.to_string())),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use odin_client::protocol::ErrorCode;

    use super::*;

    fn signed_in() -> Event {
        Event::Authenticated { sub: "user-7\u{1b}".to_owned(), expires_at_ms: None, is_refresh: false }
    }

    fn refused() -> Event {
        let (code, message) = (ErrorCode::AuthFailed, "expired".to_owned());
        let why = Parting::NotSignedIn(AuthFailure::Refused { code, message, retry_after: None });
        Event::Reconnecting { attempt: 1, after: Duration::ZERO, why }
    }

    #[test]
    fn ends_for_a_token_that_was_never_accepted_and_waits_for_one_that_was() {
        let mut identity = Identity::default();
        let (exit, why) = identity.observe(&refused()).expect("an end");
        assert_eq!((exit, why.as_str()), (Exit::NotSignedIn, "not signed in: auth_failed: expired"));
        assert!(identity.observe(&signed_in()).is_none());
        assert_eq!(identity.user(), Some("user-7?"));
        assert!(identity.observe(&refused()).is_none());
        assert_eq!(identity.user(), None);
    }

    #[test]
    fn goes_on_while_a_gateway_is_away() {
        let mut identity = Identity::default();
        let why = Parting::Broken { cause: "refused".to_owned() };
        assert!(identity.observe(&Event::Reconnecting { attempt: 1, after: Duration::ZERO, why }).is_none());
    }
}
