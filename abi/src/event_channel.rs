//! event_channel
