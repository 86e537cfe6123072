//! Whoever answers questions about keys: Stead, its yardsticks, and what people use instead. The load asks all of them
//! in the same way; only the bytes differ.

use crate::process::Process;
use crate::tree::Tree;
use crate::wire::{Line, Protocol};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;

/// From one question to the next, in the list of keys. Prime, and dividing no round number: each key's turn comes once
/// before any comes twice.
const STRIDE: usize = 61_837;

/// A key that Stead made; the others get the same secret under the same id.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A running server, and how to ask it.
pub(crate) struct Contender {
    /// As rows of the table call it.
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Asked once on each new connection.
    pub(crate) greeting: Vec<Vec<u8>>,
    pub(crate) questions: Arc<Questions>,
    /// Whose processor time counts.
    pub(crate) tree: Tree,
    /// Ends with this; none if somebody else keeps it.
    #[allow(dead_code, reason = "what matters of it is when it is dropped")]
    pub(crate) process: Option<Process>,
}

impl Contender {
    /// A server that speaks HTTP. Two contenders may be one server's: who keeps the process is told apart.
    pub(crate) fn http(name: &'static str, process: &Process, questions: Questions) -> Self {
        Self {
            name,
            address: process.address,
            protocol: Protocol::Http,
            greeting: Vec::new(),
            questions: Arc::new(questions),
            tree: process.tree(),
            process: None,
        }
    }

    /// The process ends with the contender.
    pub(crate) fn keeping(self, process: Process) -> Self {
        Self { process: Some(process), ..self }
    }

    /// A connection on which questions can be asked.
    pub(crate) async fn line(&self) -> Result<Line> {
        let mut line = Line::speaking(self.protocol, self.address).await?;
        for request in &self.greeting {
            line.ask(request).await.context("the greeting")?;
        }
        Ok(line)
    }
}

/// Every question as it goes over the wire: one request, in which each connection writes what names the next key.
pub(crate) struct Questions {
    request: Vec<u8>,
    /// Where the name stands in it.
    at: usize,
    /// What names the keys, one after the other, all of the same length: secrets or hashes of them.
    names: Vec<u8>,
    width: usize,
    keys: Arc<[Key]>,
    proof: Proof,
}

/// What shows that an answer is the right one.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// The id of the very key that was asked about.
    Id,
    /// A word that every good answer has: a server that always gives the same answer knows no ids.
    Word(&'static [u8]),
}

impl Questions {
    /// `request` is the one about the first key; `name` gives what names a key in it.
    pub(crate) fn new<N: AsRef<[u8]>>(
        keys: &Arc<[Key]>,
        proof: Proof,
        name: impl Fn(&Key) -> N,
        request: impl FnOnce(&N) -> Vec<u8>,
    ) -> Result<Self> {
        let first = name(keys.first().context("there are keys")?);
        let (request, width) = (request(&first), first.as_ref().len());
        let at = find(&request, first.as_ref()).context("the request names the key")?;
        let mut names = Vec::with_capacity(width * keys.len());
        for key in keys.iter() {
            names.extend_from_slice(name(key).as_ref());
        }
        ensure!(names.len() == width * keys.len(), "the names of keys differ in length");
        Ok(Self { request, at, names, width, keys: keys.clone(), proof })
    }

    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    /// An own copy of the request, to write into.
    pub(crate) fn request(&self) -> Vec<u8> {
        self.request.clone()
    }

    /// Writes a question into the request, and says which key it is about.
    pub(crate) fn write(&self, number: usize, request: &mut [u8]) -> usize {
        let key = number.wrapping_mul(STRIDE) % self.keys.len();
        request[self.at..self.at + self.width].copy_from_slice(&self.names[key * self.width..][..self.width]);
        key
    }

    /// Refuses an answer that isn't the one about this key. `place` is where the last proof was: ids have one length
    /// and answers one layout, so there is next to nothing to search.
    pub(crate) fn check(&self, key: usize, answer: &[u8], place: &mut usize) -> Result<()> {
        let proof = match self.proof {
            Proof::Id => self.keys[key].id.as_bytes(),
            Proof::Word(word) => word,
        };
        if answer.get(*place..).is_none_or(|rest| !rest.starts_with(proof)) {
            let found = find(answer, proof);
            *place = found.with_context(|| format!("a wrong answer: {}", String::from_utf8_lossy(answer)))?;
        }
        Ok(())
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
