//! What becomes of a link, as a stream for the actor behind it.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::link::{Frame, Link};

/// What becomes of a link.
pub(crate) enum Turn {
    /// The session has to come to its end.
    Ending,
    /// The last frame was sent.
    Closing,
    /// Nobody takes frames any more.
    Gone,
}

/// All of them as one stream, because an actor asks each of its futures whenever it is woken for any
/// of them, and these are waited for as long as it lives.
pub(crate) fn turns<F: Frame>(link: &Arc<Link<F>>) -> impl Stream<Item = Turn> + use<F> {
    let turns = FuturesUnordered::<LocalBoxFuture<'static, Turn>>::new();
    let [ending, closing, gone] = [(); 3].map(|()| Arc::clone(link));
    turns.push(Box::pin(async move {
        ending.ending().await;
        Turn::Ending
    }));
    turns.push(Box::pin(async move {
        closing.closing().await;
        Turn::Closing
    }));
    turns.push(Box::pin(async move {
        gone.gone().await;
        Turn::Gone
    }));
    turns
}
