//! What a route says about itself, for people and for the API's description.

/// The words of one route; what is not given follows from the event.
#[derive(Clone, Default)]
pub(super) struct Description {
    pub(super) tags: Vec<String>,
    pub(super) summary: Option<String>,
    pub(super) text: Option<String>,
    pub(super) operation_id: Option<String>,
    pub(super) is_deprecated: bool,
    pub(super) is_hidden: bool,
}
