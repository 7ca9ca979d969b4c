//! What a client may ask for: the same for its connection and for whoever looks before there is one.

use odin_protocol::{
    channel::Channel,
    error::ErrorCode,
    message::{ChannelRequest, ErrorMessage, Mode},
};

use crate::{
    config::Config,
    identity::Identity,
    rules::{Refusal, Topic},
};

/// Whether this client is served at all.
pub(super) fn must_sign_in(config: &Config, identity: &Identity) -> Result<(), Refusal> {
    if config.auth.required && *identity == Identity::Anonymous {
        let message = "nobody is served here who has not signed in".to_owned();
        return Err(Refusal { code: ErrorCode::AuthRequired, message });
    }
    Ok(())
}

/// Refuses a message that names more channels than allowed.
pub(crate) fn are_few(config: &Config, channels: usize) -> Result<(), ErrorMessage> {
    let limit = config.limits.channels_per_message;
    if channels <= limit {
        return Ok(());
    }
    let text = format!("{channels} channels in one message");
    let mut error = ErrorMessage::new(None, ErrorCode::TooManyChannels, text);
    error.limit = Some(limit as u64);
    Err(error)
}

/// What a request stands for, if this client may have it.
pub(crate) fn topic(
    config: &Config,
    identity: &Identity,
    request: &ChannelRequest,
) -> Result<(Topic, Mode), ErrorMessage> {
    let refusal = |code, text: String| ErrorMessage::new(None, code, text);
    let channel =
        Channel::parse(&request.channel).map_err(|error| refusal(ErrorCode::InvalidChannel, error.to_string()))?;
    if let Some(option) = request.unsupported {
        return Err(refusal(ErrorCode::Unsupported, format!("option {option} is not offered")));
    }
    let topic = must_sign_in(config, identity)
        .and_then(|()| config.rules.resolve(&channel, identity))
        .map_err(|error| refusal(error.code, error.message))?;
    match request.mode {
        Some(mode) if mode != topic.mode && !topic.client_may_choose_mode => {
            let text = format!("channel {channel} is served in mode {} only", topic.mode.as_str());
            Err(refusal(ErrorCode::Unsupported, text))
        }
        mode => {
            let mode = mode.unwrap_or(topic.mode);
            Ok((topic, mode))
        }
    }
}
