//! The mail server that takes what is sent: its address and its manners.

use lettre::address::Envelope;
pub use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::response::Category;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;
use std::time::{Duration, UNIX_EPOCH};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;

/// How long a server may take over one mail. Less than the time to the next try.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the connection is kept from others' eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// Begun in the clear; without STARTTLS nothing is sent.
    StartTls,
    /// In the clear: only to this machine.
    None,
}

/// A mail server, as `smtp-url` names it. Not `Debug`: it holds a password.
#[derive(Clone)]
pub struct Server {
    /// Its name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether others can read along.
    pub security: Security,
    /// Who sends.
    pub credentials: Option<(String, Secret)>,
}

impl Server {
    /// Reads a URL. The error says what it must be and never quotes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be smtps://<user>:<password>@<host>[:465] or smtp://…[:587], with %40 for an @".to_owned();
        let url: http::Uri = text.parse().map_err(|_| wrong())?;
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_owned();
        if url.query().is_some() || !matches!(url.path(), "" | "/") {
            return Err(wrong());
        }
        let here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let (security, usual) = match url.scheme_str() {
            Some("smtps") => (Security::Tls, 465),
            Some("smtp") if here => (Security::None, 25),
            Some("smtp") => (Security::StartTls, 587),
            _ => return Err(wrong()),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| wrong());
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let port = match place.strip_prefix(host.as_str()) {
            Some("") => usual,
            Some(port) => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let credentials = match login.map(|login| login.split_once(':')) {
            None => None,
            Some(Some((user, password))) => Some((decoded(user)?, Secret::new(decoded(password)?))),
            Some(None) => return Err(wrong()),
        };
        Ok(Self { host, port, security, credentials })
    }
}

/// Reads a sender, as in `Stead <stead@example.com>` or without a name.
pub fn sender(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| "must be an address, as in Stead <stead@example.com>".into())
}

/// What sends mails.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// A mail.
pub struct Mail<'a> {
    /// The same at each try, so that who gets it twice can tell.
    pub id: &'a str,
    /// An address.
    pub to: &'a str,
    /// One line.
    pub subject: &'a str,
    /// Plain text.
    pub body: &'a str,
    /// When it is sent.
    pub at: Timestamp,
}

/// Why a mail was not sent, for the log.
#[derive(Debug)]
pub enum Unsent {
    /// The server will never take this one.
    Never(String),
    /// The server doesn't take this one now.
    Refused(String),
    /// It would take none.
    Unreachable(String),
}

impl Mailer {
    /// A connection is made for each mail: there are few.
    pub fn new(server: &Server, from: Mailbox) -> Result<Self, String> {
        let parameters = || TlsParameters::new(server.host.clone()).map_err(|error| error.to_string());
        let tls = match server.security {
            Security::Tls => Tls::Wrapper(parameters()?),
            Security::StartTls => Tls::Required(parameters()?),
            Security::None => Tls::None,
        };
        // It is "dangerous" in that it begins with no TLS, which the next line mends.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.trim_matches(['[', ']']));
        let mut transport = transport.tls(tls).port(server.port).timeout(Some(PATIENCE));
        if let Some((user, password)) = &server.credentials {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: transport.build(), from })
    }

    /// Sends a mail.
    pub async fn send(&self, mail: Mail<'_>) -> Result<(), Unsent> {
        let strange = |error: &dyn std::fmt::Display| Unsent::Never(error.to_string());
        let to: Address = mail.to.parse().map_err(|error| strange(&error))?;
        let at = UNIX_EPOCH + Duration::from_micros(mail.at.0.max(0).unsigned_abs());
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(mail.subject)
            .message_id(Some(format!("<{}@{domain}>", mail.id)))
            .date(at)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.body.to_owned())
            .map_err(|error| strange(&error))?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to]).map_err(|error| strange(&error))?;
        let message = message.formatted();
        let sending = self.transport.send_raw(&envelope, &message);
        let Ok(sent) = tokio::time::timeout(PATIENCE, sending).await.map(|sent| sent.map(drop)) else {
            return Err(Unsent::Unreachable("the mail server took too long".into()));
        };
        sent.map_err(|error| unsent(&error))
    }
}

/// What became of a mail. Of what the server said only the code: a filter quotes the link that it doesn't like.
fn unsent(error: &Error) -> Unsent {
    if let Some(code) = error.status() {
        let why = format!("the mail server said {code}");
        return match code.category {
            // Of the connection or of the login: the next mail would fare no better.
            Category::Connections | Category::Unspecified3 => Unsent::Unreachable(why),
            _ if error.is_permanent() => Unsent::Never(why),
            _ => Unsent::Refused(why),
        };
    }
    if error.is_response() {
        return Unsent::Unreachable("the mail server's answer is none".into());
    }
    // What kept us from hearing the server, in this program's own words.
    let why = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    Unsent::Unreachable(why.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_mail_servers() {
        let read = |url| Server::parse(url).map(|server| (server.host, server.port, server.security));
        assert_eq!(read("smtps://mail.example.com").unwrap(), ("mail.example.com".into(), 465, Security::Tls));
        assert_eq!(read("smtp://mail.example.com").unwrap(), ("mail.example.com".into(), 587, Security::StartTls));
        assert_eq!(read("smtp://localhost").unwrap(), ("localhost".into(), 25, Security::None));
        assert_eq!(read("smtp://127.0.0.1:2525/").unwrap(), ("127.0.0.1".into(), 2525, Security::None));
        assert_eq!(read("smtp://127.0.0.2:25").unwrap().2, Security::StartTls);
        let server = Server::parse("smtps://me%40example.com:p%3A%2Fw%20@mail.example.com:10465").unwrap();
        let (user, password) = server.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("me@example.com", "p:/w "));
    }

    #[test]
    fn what_is_no_mail_server_is_refused_and_never_quoted() {
        for bad in [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtps://",
            "smtps://:0x@h:port",
            "smtps://user@h",
            "smtps://user:swordfish@h?tls=no",
            "smtps://user:swordfish@h/path",
            "smtp://h:99999",
        ] {
            let error = Server::parse(bad).err().unwrap_or_else(|| panic!("{bad}"));
            assert!(!error.contains("swordfish"));
        }
        assert!(sender("Stead <stead@example.com>").is_ok() && sender("stead@example.com").is_ok());
        assert!(sender("nobody").is_err() && sender("a@b\r\nBcc: c@d").is_err());
    }
}
