//! What the table says of how its figures are taken.

/// Below the table.
pub(crate) const METHOD: &str = "
How they are taken:

- *Ready*: from just before the process is made until it prints its address; the median of several starts.
- *Memory*: `VmRSS` of a server that has just been started again on the filled store and answered nothing yet.
- *Key creations*: `POST /v1/service-accounts/{id}/api-keys` over kept-alive HTTP/1.1, each acknowledged after its
  commit with its audit and change-log rows. Beside it the engine alone: one connection, one `INSERT` of a row of about
  the same size in each transaction, same settings, same filesystem. Turns of all of them follow each other; the ratio
  is the median of the turns' ratios.
- *Verifications*: `POST /v1/api-keys/verify` with the owner's key as the caller, about each of the 200,000 keys in a
  scattered order, one permission asked. *Forward-auth*: `GET /v1/forward-auth?permissions=text_to_speech` with each of
  the keys in `xi-api-key`. 32 kept-alive connections, each with one question under way; every answer must carry the id
  of the very key that was asked about.
- *Bare hyper* is a hyper server with as many workers and the same allocator. For verifications it parses the same
  question with the same types and serialises the same answer; for forward-auth it gives a constant answer: an empty
  body, and the headers that Stead's answer has.
- All contenders answer the same load in turns of 1.5 s, round after round, forwards and backwards in turn; a ratio is
  the median of the rounds' ratios (smallest–largest in parentheses). *On one half* means that the servers have half
  of the cores to themselves and the load the other half, so that the ratio is the servers' own; with *shared cores*
  the load's own work stands in both sides and draws the ratio to 1. The *estimate* divides those cores by the
  processor time of a request: what is left when the load is taken away, if nothing else stands in the way.
- *Processor time* is user and system time of the server's processes, all of them, write-behind of last uses included.
- *Busy* says how much of its cores the server got: below about 95 % the load, or something else that ran on the
  machine, was what limited the rate, and the ratio of processor times says more.
- *At 50 % load*: questions come by a fixed schedule at half of Stead's highest rate, the same for both; each latency
  counts from the instant when its question was due, so that a stall is felt by all who come during it. The load's core
  spins until the next is due, since timers are too coarse.
- *Redis*: `redis-server` without persistence; a `GET` of the key's SHA-256 in hexadecimal gives a record as JSON. The
  load brings the hashes along: Redis neither hashes nor parses nor decides nor notes a use.
- *PostgreSQL*: a `SELECT` of one row by the key's SHA-256, prepared once on each connection; binary in, text out. The
  load brings the hashes along, and nothing is decided or noted. Its flushes are off, which reading doesn't feel.
- *FastAPI*: uvicorn with uvloop and httptools, a worker for each of the server's cores; reads the key from a header,
  hashes it with hashlib, looks it up in an indexed SQLite table, checks it and answers with JSON. Notes no use.
- *Better Auth*: its API-key plugin with hashed keys over the SQLite built into Node (WAL, synchronous=NORMAL), behind
  Node's HTTP server, a process for each of the server's cores; `verifyApiKey` with one permission. It writes a row in
  each verification: that is part of what it does. Its rate limit is off, since it would refuse the load. One key is
  made through the plugin, the others are copies of its row with what the plugin stores of their secrets.
- *Revocation*: two servers on one PostgreSQL; 200 keys are revoked one after the other on the first, and the second is
  asked about each every millisecond until it refuses. Counts from the answer to the revocation.
- *Listing*: the middle of 1,000 lists of the same ten keys, before the store is filled and after.
- *Decision in process*: no network and no JSON. Random keys of those there are, each asked about once, so that most
  of what is read is in no cache; a decision is inspecting the presented string, SHA-256, HMAC, look-up and `decide`.
  Each is timed by itself, and the clock's own time is taken off. A process of its own for each number of keys;
  memory is the growth of `VmRSS` while the index is filled.
";
