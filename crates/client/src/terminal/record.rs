//! What happened, as one line of JSON: an update as the gateway sent it, and with `--events` everything else that a
//! program needs to know what it has, what it misses and where to continue.

use odin_client::{
    Event, Gap,
    protocol::{Codec, ServerMessage, Update},
};
use serde_json::{Value, json};

/// Appends an update and a newline.
pub(crate) fn update(update: Update, line: &mut Vec<u8>) {
    ServerMessage::Update(update).encode(Codec::Json, line);
    // JSON may break lines between its parts, never inside a string
    line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
}

/// Any other event; nothing for what no program needs. The names are those of the protocol, where it has one.
pub(crate) fn event(event: &Event) -> Option<Value> {
    let mut value = match event {
        Event::Connected(connected) => json!({
            "type": "connected",
            "url": connected.url,
            "connectionId": connected.status.connection_id,
            "server": connected.status.server,
        }),
        Event::Authenticated { sub, expires_at_ms, is_refresh } => {
            json!({"type": "authenticated", "sub": sub, "expiresAt": expires_at_ms, "refresh": is_refresh})
        }
        Event::AuthFailed { why, is_refresh, .. } => {
            json!({"type": "auth_failed", "why": why.to_string(), "refresh": is_refresh})
        }
        Event::Reconnecting { attempt, why, .. } => {
            json!({"type": "disconnected", "code": why.close_code(), "why": why.to_string(), "attempt": attempt})
        }
        Event::Subscribed { channel, mode, recovered, reason, is_anew, cursor } => json!({
            "type": "subscribed",
            "channel": channel,
            "mode": mode,
            "recovered": recovered,
            "reason": reason,
            "anew": is_anew,
            "cursor": cursor,
        }),
        Event::Unsubscribed { channel } => json!({"type": "unsubscribed", "channel": channel}),
        Event::Gap(Gap { channel, key, after, until, announced: Some(reason) }) => {
            json!({"type": "gap", "channel": channel, "key": key, "after": after, "until": until, "reason": reason})
        }
        Event::Gap(Gap { channel, key, after, until, announced: None }) => json!({
            "type": "violation",
            "kind": "missing",
            "channel": channel,
            "key": key,
            "after": after,
            "until": until,
        }),
        Event::Repeated { channel, key, seq } => {
            json!({"type": "violation", "kind": "repeated", "channel": channel, "key": key, "seq": seq})
        }
        Event::Checkpoint { cursor } => json!({"type": "checkpoint", "cursor": cursor}),
        Event::Stale { channel, reason, since_ms } => {
            json!({"type": "stale", "channel": channel, "reason": reason, "since": since_ms})
        }
        Event::Live { channel } => json!({"type": "live", "channel": channel}),
        Event::Error(refusal) => json!({
            "type": "error",
            "code": refusal.code,
            "message": refusal.message,
            "channel": refusal.channel,
        }),
        _ => return None,
    };
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use odin_client::protocol::GapReason;

    use super::*;

    #[test]
    fn writes_events_as_the_protocol_names_them() {
        let gap = |announced| {
            let (channel, key) = ("signals:all".to_owned(), Some("a.x".to_owned()));
            event(&Event::Gap(Gap { channel, key, after: 5, until: 8, announced })).expect("written").to_string()
        };
        assert_eq!(
            gap(Some(GapReason::Retention)),
            r#"{"after":5,"channel":"signals:all","key":"a.x","reason":"retention","type":"gap","until":8}"#
        );
        assert_eq!(
            gap(None),
            r#"{"after":5,"channel":"signals:all","key":"a.x","kind":"missing","type":"violation","until":8}"#
        );
        let checkpoint = event(&Event::Checkpoint { cursor: "2x".to_owned() }).expect("written");
        assert_eq!(checkpoint.to_string(), r#"{"cursor":"2x","type":"checkpoint"}"#);
        assert_eq!(event(&Event::Live { channel: None }).expect("written").to_string(), r#"{"type":"live"}"#);
    }
}
