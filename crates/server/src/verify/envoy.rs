//! What of Envoy's `envoy.service.auth.v3` an authorizer reads and writes, by hand: the numbers are Envoy's, and fields
//! that are not here are skipped. Generated, it would be some 200 files and a compiler for them.

use std::collections::HashMap;

/// The question.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attributes {
    #[prost(message, optional, tag = "1")]
    pub(super) source: Option<Source>,
    #[prost(message, optional, tag = "4")]
    pub(super) request: Option<Request>,
    /// What Envoy's configuration of the route says.
    #[prost(map = "string, string", tag = "10")]
    pub(super) context_extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Source {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Address>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Address {
    #[prost(message, optional, tag = "1")]
    pub(super) socket: Option<Socket>,
    #[prost(message, optional, tag = "2")]
    pub(super) pipe: Option<Pipe>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Socket {
    #[prost(string, tag = "2")]
    pub(super) address: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pipe {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(message, optional, tag = "2")]
    pub(super) http: Option<Http>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Http {
    #[prost(string, tag = "2")]
    pub(super) method: String,
    /// Names in small letters; values of the same name joined by commas.
    #[prost(map = "string, string", tag = "3")]
    pub(super) headers: HashMap<String, String>,
    /// With the query.
    #[prost(string, tag = "4")]
    pub(super) path: String,
}

/// The answer: a status, and one of the two others.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub(super) denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    pub(super) ok: Option<Allowed>,
}

/// `google.rpc.Status`: 0 lets the request pass, anything else doesn't.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Denied {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<SetHeader>,
    #[prost(string, tag = "3")]
    pub(super) body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Allowed {
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<SetHeader>,
    #[prost(string, repeated, tag = "5")]
    pub(super) headers_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetHeader {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(enumeration = "Append", tag = "3")]
    pub(super) append_action: i32,
    /// Without it Envoy leaves out a header without a value, and the client's own would stay.
    #[prost(bool, tag = "4")]
    pub(super) keep_empty_value: bool,
}

/// In Envoy's words APPEND_IF_EXISTS_OR_ADD, ADD_IF_ABSENT and OVERWRITE_IF_EXISTS_OR_ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Append {
    BesideExisting = 0,
    IfAbsent = 1,
    InsteadOfExisting = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

impl SetHeader {
    /// A header that takes the place of the client's own.
    pub(super) fn overwrite(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            header: Some(Header { key: key.into(), value: value.into() }),
            append_action: Append::InsteadOfExisting.into(),
            keep_empty_value: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    /// Made by hand from Envoy's .proto files: tag and wire type, length, content.
    #[test]
    fn a_question_is_read_as_envoy_writes_it() {
        let http = b"\x0a\x01i\x12\x03GET\x1a\x09\x0a\x04host\x12\x01h\x22\x02/a\x2a\x01h\x32\x04http\x52\x08HTTP/1.1";
        let socket = b"\x12\x09192.0.2.1\x18\x50";
        let mut question = Vec::new();
        let wrap = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()], inner].concat();
        let source = wrap(0x0a, &wrap(0x0a, &wrap(0x0a, socket)));
        // Time first, as Envoy sends it; then the request.
        let request = wrap(0x22, &[&b"\x0a\x02\x08\x01"[..], &wrap(0x12, http)].concat());
        let extension = wrap(0x52, b"\x0a\x04cost\x12\x012");
        let unknown = wrap(0x62, b"metadata");
        question.extend(wrap(0x0a, &[source, request, extension, unknown].concat()));
        let attributes = CheckRequest::decode(&*question).unwrap().attributes.unwrap();
        let http = attributes.request.unwrap().http.unwrap();
        assert_eq!((&*http.method, &*http.path, &*http.headers["host"]), ("GET", "/a", "h"));
        assert_eq!(attributes.source.unwrap().address.unwrap().socket.unwrap().address, "192.0.2.1");
        assert_eq!(attributes.context_extensions["cost"], "2");
    }

    #[test]
    fn answers_are_written_as_envoy_reads_them() {
        let ok = CheckResponse {
            status: Some(Status { code: 0 }),
            ok: Some(Allowed { headers: vec![SetHeader::overwrite("a", "")], headers_to_remove: vec!["k".into()] }),
            denied: None,
        };
        assert_eq!(ok.encode_to_vec(), b"\x0a\x00\x1a\x0e\x12\x09\x0a\x03\x0a\x01a\x18\x02\x20\x01\x2a\x01k");
        let denied = CheckResponse {
            status: Some(Status { code: 7 }),
            ok: None,
            denied: Some(Denied { status: Some(HttpStatus { code: 403 }), headers: vec![], body: "{}".into() }),
        };
        assert_eq!(denied.encode_to_vec(), b"\x0a\x02\x08\x07\x12\x09\x0a\x03\x08\x93\x03\x1a\x02{}");
    }
}
