//! The way in from a client: raw bytes enter as they come, whole WebSocket frames leave one at a
//! time, each only when the one before it was dealt with.
//!
//! The decoder behind it keeps all that it is given, however little of it it decodes, and looks at a
//! frame's announced length only when the whole frame is there; so neither may reach it unmeasured.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix_http::error::PayloadError;
use actix_http::ws::CloseCode;
use bytes::Bytes;
use futures_util::Stream;

use super::link::Link;

/// The longest header of a frame: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;

/// The handle by which the pump lets the next frame in. It belongs to one thread.
#[derive(Clone, Default)]
pub(super) struct Gate(Rc<RefCell<GateState>>);

#[derive(Default)]
struct GateState {
    way: Way,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    Shut,
    /// What comes is thrown away.
    Drain,
}

impl Gate {
    /// Lets one more frame in.
    pub(super) fn open(&self) {
        self.turn(Way::Open);
    }

    /// Lets nothing in any more: what comes is read and thrown away, so that the end is noticed.
    pub(super) fn drain(&self) {
        self.turn(Way::Drain);
    }

    fn shut(&self) {
        self.turn(Way::Shut);
    }

    fn turn(&self, way: Way) {
        let mut state = self.0.borrow_mut();
        if state.way == Way::Drain {
            return;
        }
        state.way = way;
        let waiting = state.waiting.take().filter(|_| way != Way::Shut);
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn way(&self, cx: &Context<'_>) -> Way {
        let mut state = self.0.borrow_mut();
        if state.way == Way::Shut {
            state.waiting = Some(cx.waker().clone());
        }
        state.way
    }
}

/// The stream of a request's body, measured.
pub(super) struct Turnstile<S> {
    bytes: S,
    gate: Gate,
    link: Arc<Link>,
    measure: Measure,
    /// What came and was not let through yet; at most one chunk of the stream.
    chunk: Bytes,
}

impl<S> Turnstile<S> {
    /// Frames longer than `frame_max` close the link.
    pub(super) fn new(bytes: S, gate: Gate, link: Arc<Link>, frame_max: usize) -> Self {
        Self { bytes, gate, link, measure: Measure::new(frame_max), chunk: Bytes::new() }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Turnstile<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.gate.way(cx) {
                Way::Shut => return Poll::Pending,
                Way::Drain => self.chunk.clear(),
                Way::Open => {}
            }
            if self.chunk.is_empty() {
                match Pin::new(&mut self.bytes).poll_next(cx) {
                    Poll::Ready(Some(Ok(chunk))) => self.chunk = chunk,
                    other => return other,
                }
                continue;
            }
            let this = &mut *self;
            match this.measure.take(&this.chunk) {
                Measured::Part => return Poll::Ready(Some(Ok(std::mem::take(&mut this.chunk)))),
                Measured::Whole(len) => {
                    this.gate.shut();
                    return Poll::Ready(Some(Ok(this.chunk.split_to(len))));
                }
                Measured::TooLong => {
                    this.link.close(CloseCode::Size, "a frame is too long");
                    this.gate.drain();
                }
            }
        }
    }
}

/// Follows where frames begin and end.
struct Measure {
    frame_max: usize,
    header: [u8; HEADER_MAX],
    /// How many bytes of the header are known.
    known: usize,
    /// What is missing of the frame, once its header is known.
    missing: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Measured {
    /// All bytes belong to a frame that is not whole yet.
    Part,
    /// So many bytes make the frame whole.
    Whole(usize),
    TooLong,
}

impl Measure {
    fn new(frame_max: usize) -> Self {
        Self { frame_max, header: [0; HEADER_MAX], known: 0, missing: None }
    }

    /// Measures some bytes; those after the end of the frame are not looked at.
    fn take(&mut self, bytes: &[u8]) -> Measured {
        let mut used = 0;
        while self.missing.is_none() {
            let Some(byte) = bytes.get(used) else {
                return Measured::Part;
            };
            self.header[self.known] = *byte;
            self.known += 1;
            used += 1;
            if self.known == self.header_len() {
                match usize::try_from(self.payload_len()) {
                    Ok(len) if len <= self.frame_max => self.missing = Some(len),
                    _ => return Measured::TooLong,
                }
            }
        }
        let missing = self.missing.unwrap_or_default();
        let there = bytes.len() - used;
        if there < missing {
            self.missing = Some(missing - there);
            return Measured::Part;
        }
        self.known = 0;
        self.missing = None;
        Measured::Whole(used + missing)
    }

    /// As far as can be told by what is known of the header.
    fn header_len(&self) -> usize {
        if self.known < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn payload_len(&self) -> u64 {
        let big_endian = |bytes: &[u8]| {
            let append = |len, byte: &u8| len << 8 | u64::from(*byte);
            bytes.iter().fold(0, append)
        };
        match self.header[1] & 0x7f {
            126 => big_endian(&self.header[2..4]),
            127 => big_endian(&self.header[2..10]),
            len => u64::from(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    const FRAME_MAX: usize = 70_000;

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match len {
            0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
            126..=65_535 => {
                bytes.push(0x80 | 0x7e);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 0x7f);
                bytes.extend(u64::try_from(len).unwrap().to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(vec![7; len]);
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let lens = [0, 1, 125, 126, 65_535, 65_536, 0, FRAME_MAX];
        let bytes: Vec<u8> = lens.iter().flat_map(|len| frame(*len)).collect();
        for size in [1, 2, 3, 7, 1000, 32_768, bytes.len()] {
            let mut measure = Measure::new(FRAME_MAX);
            let (mut found, mut len) = (Vec::new(), 0);
            for mut chunk in bytes.chunks(size) {
                while !chunk.is_empty() {
                    match measure.take(chunk) {
                        Measured::Part => {
                            len += chunk.len();
                            chunk = &[];
                        }
                        Measured::Whole(used) => {
                            found.push(len + used);
                            len = 0;
                            chunk = &chunk[used..];
                        }
                        Measured::TooLong => panic!("no frame is longer than the limit"),
                    }
                }
            }
            assert_eq!(found, lens.map(|len| frame(len).len()), "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_over_the_limit_is_seen_before_the_frame_is_there() {
        let header = &frame(FRAME_MAX + 1)[..HEADER_MAX];
        assert_eq!(Measure::new(FRAME_MAX).take(header), Measured::TooLong);
        let huge = [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat();
        assert_eq!(Measure::new(FRAME_MAX).take(&huge), Measured::TooLong);
    }

    #[test]
    fn one_frame_comes_through_at_a_time() {
        let bytes: Bytes = [frame(3), frame(3), frame(FRAME_MAX + 1), frame(3)].concat().into();
        let (gate, link) = (Gate::default(), Link::new(1, Arc::default()));
        let source = stream::iter([Ok(bytes)]);
        let mut turnstile = Turnstile::new(source, gate.clone(), link.clone(), FRAME_MAX);
        let mut next = || turnstile.next().now_or_never();
        for _ in 0..2 {
            assert_eq!(next().unwrap().unwrap().unwrap(), frame(3));
            assert!(next().is_none(), "the gate is shut after a frame");
            gate.open();
        }
        assert!(next().unwrap().is_none(), "the long frame and what follows are thrown away");
        assert!(link.is_closing());
    }

    #[test]
    fn who_waits_at_the_gate_is_woken() {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let gate = Gate::default();
        for opening in [Gate::open, Gate::drain] {
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            gate.shut();
            gate.way(&Context::from_waker(&Waker::from(Arc::clone(&flag))));
            assert!(!flag.0.load(Ordering::Relaxed));
            opening(&gate);
            assert!(flag.0.load(Ordering::Relaxed));
        }
    }
}
