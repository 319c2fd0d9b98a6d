use std::rc::Rc;

use bytes::Bytes;

/// Bytes to send, and how many of them have gone already.
#[derive(Clone, Debug)]
pub struct SendBuf(Source);

/// One lies in the table of each driver for each socket.
const _: () = assert!(size_of::<Option<SendBuf>>() <= 16);

#[derive(Clone, Debug)]
enum Source {
    /// One frame, shared by every connection that it goes to.
    Shared { sent: u32, frame: Rc<Bytes> },
    /// Several frames in one piece, shared by every connection that gets just these.
    Gathered { sent: u32, bytes: Rc<Vec<u8>> },
}

impl SendBuf {
    pub fn shared(frame: Rc<Bytes>) -> Self {
        Self(Source::Shared { sent: 0, frame })
    }

    pub fn gathered(bytes: impl Into<Rc<Vec<u8>>>) -> Self {
        Self(Source::Gathered { sent: 0, bytes: bytes.into() })
    }

    /// What is still to be sent. Its address does not change while the buffer moves.
    pub fn remaining(&self) -> &[u8] {
        match &self.0 {
            Source::Shared { sent, frame } => &frame[*sent as usize..],
            Source::Gathered { sent, bytes } => &bytes[*sent as usize..],
        }
    }

    /// Notes that the first `count` remaining bytes were taken by the kernel.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining().len());
        let (Source::Shared { sent, .. } | Source::Gathered { sent, .. }) = &mut self.0;
        *sent += u32::try_from(count).expect("what is sent is below 4 GiB");
    }

    pub fn is_done(&self) -> bool {
        self.remaining().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_send_leaves_the_rest_at_the_same_address() {
        let bytes = Rc::new(vec![1, 2, 3, 4]);
        let mut buf = SendBuf::gathered(Rc::clone(&bytes));
        let address = buf.remaining()[2..].as_ptr();
        buf.advance(2);
        let moved = buf;
        assert_eq!(moved.remaining(), [3, 4]);
        assert_eq!(moved.remaining().as_ptr(), address);
        assert!(!moved.is_done());
        drop(moved);
        assert_eq!(Rc::strong_count(&bytes), 1, "whoever gathered it may use it again");
    }

    #[test]
    fn a_shared_frame_is_not_copied() {
        let frame = Rc::new(Bytes::from_static(b"frame"));
        let buf = SendBuf::shared(Rc::clone(&frame));
        assert_eq!(buf.remaining().as_ptr(), frame.as_ptr());
    }
}
