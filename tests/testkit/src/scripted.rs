//! A peer that does what it was told, byte for byte.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::http1::{Inbox, Plain};
use crate::port::{Closed, Lines, Port, end_with_reset, lock};

/// One thing that a [`Scripted`] peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads on to the end of a head: to the next empty line.
    ReadHead,
    /// Reads so many bytes more.
    Read(u64),
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Closes the connection in order, and ends the conversation.
    Close,
    /// Resets the connection, and ends the conversation.
    Reset,
    /// Does nothing more, with the connection open, until the peer is dropped.
    Hold,
}

impl Step {
    /// Writes this text.
    #[must_use]
    pub fn write(text: impl Into<Vec<u8>>) -> Self {
        Self::Write(text.into())
    }
}

/// A peer on a port of 127.0.0.1 that says given bytes, whatever it is asked: for answers that no HTTP
/// server would give.
///
/// The n-th connection gets the n-th conversation; one that runs out of steps is closed, and so is a
/// connection without a conversation. A step that the client does not let happen ends the
/// conversation. Nothing waits for time to pass: what is written follows on what was read.
///
/// Dropping it closes all connections and waits for their threads.
///
/// ```
/// use std::io::Read;
/// use std::net::TcpStream;
/// use tus_testkit::{Scripted, Step};
///
/// let peer = Scripted::start([vec![Step::write("HTTP/1.1 2"), Step::Close]]);
/// let mut said = String::new();
/// TcpStream::connect(peer.address()).unwrap().read_to_string(&mut said).unwrap();
/// assert_eq!(said, "HTTP/1.1 2");
/// ```
#[derive(Debug)]
pub struct Scripted {
    port: Port,
    read: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Scripted {
    /// Starts listening.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn start(conversations: impl IntoIterator<Item = Vec<Step>>) -> Self {
        let conversations: Vec<_> = conversations.into_iter().collect();
        let read = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&read);
        let serve = move |number: usize, stream: Arc<TcpStream>, lines: &Lines| {
            let steps = conversations.get(number).map_or(&[][..], Vec::as_slice);
            let note = |bytes: &[u8]| {
                let mut notes = lock(&notes);
                if notes.len() <= number {
                    notes.resize(number + 1, Vec::new());
                }
                notes[number].extend_from_slice(bytes);
            };
            note(&[]);
            // The client may leave in the middle of it; what it said is on record.
            drop(converse(stream, steps, lines, &note));
        };
        let port = Port::open(Closed::any(), serve).expect("a port of 127.0.0.1");
        Self { port, read }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.port.url(path)
    }

    /// What was read so far, connection by connection.
    #[must_use]
    pub fn read(&self) -> Vec<Vec<u8>> {
        lock(&self.read).clone()
    }
}

fn converse(
    stream: Arc<TcpStream>,
    steps: &[Step],
    lines: &Lines,
    note: &dyn Fn(&[u8]),
) -> io::Result<()> {
    let mut inbox = Inbox::new(Plain(stream));
    for step in steps {
        match step {
            Step::ReadHead => match inbox.head()? {
                Some(head) => note(&head),
                None => return Ok(()),
            },
            Step::Read(bytes) => {
                let mut left = *bytes;
                while left > 0 {
                    let piece = inbox.read(left)?;
                    if piece.is_empty() {
                        return Ok(());
                    }
                    note(piece);
                    left -= piece.len() as u64;
                }
            }
            Step::Write(bytes) => inbox.write(bytes)?,
            Step::Close => break,
            Step::Reset => {
                end_with_reset(inbox.stream());
                return Ok(());
            }
            Step::Hold => {
                lines.hold();
                return Ok(());
            }
        }
    }
    // In order also where the client said more than was read: closing alone would reset then.
    inbox.finish()?;
    inbox.skip(u64::MAX).map(drop)
}
