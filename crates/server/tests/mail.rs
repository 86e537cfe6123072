//! Mail: what is told goes out, again until it is taken, and to nobody else. The mail server is a real one, if a small one.

use crate::harness::{DAY, Engine, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use stead_server::mail::smtp::{self, Unsent};
use stead_server::members::SeatType::WorkspaceMember;
use stead_server::{jobs, mail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

on_both_stores! {
    an_invite_travels_by_mail_alone
    a_mail_that_is_not_taken_is_tried_again_for_a_day
    a_mail_whose_row_was_changed_goes_to_nobody
    a_refused_invite_sends_nothing
    the_job_sends_what_is_due
    owners_hear_of_a_key_that_its_holder_disabled
    what_is_refused_for_good_is_given_up_at_once
    nobody_is_mailed_an_invite_twice_a_minute
    a_stop_lets_no_other_mail_begin
}

/// What a mail server was given.
#[derive(Clone, Debug, Default, PartialEq)]
struct Taken {
    login: Option<String>,
    from: String,
    to: Vec<String>,
    text: String,
}

impl Taken {
    /// The text as its reader sees it: soft line breaks of quoted-printable taken out.
    fn plain(&self) -> String {
        self.text.replace("=\r\n", "").replace("=3D", "=")
    }
}

/// A mail server that does as it is told.
struct Sink {
    address: std::net::SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    /// What it says to each recipient.
    answer: Arc<Mutex<&'static str>>,
}

impl Sink {
    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let sink = Self {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            answer: Arc::new(Mutex::new("250 fine")),
        };
        let (taken, answer) = (sink.taken.clone(), sink.answer.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, taken.clone(), answer.clone()));
            }
        });
        sink
    }

    async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    fn answers(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }

    /// A server that sends its mails there.
    async fn world(&self, engine: Engine) -> World {
        let url = format!("smtp://me%40here:p%3Aw@{}", self.address);
        World::with(engine, &[("smtp-url", &url), ("mail-from", "Stead <stead@example.com>")]).await
    }
}

async fn serve(stream: TcpStream, taken: Arc<Mutex<Vec<Taken>>>, answer: Arc<Mutex<&'static str>>) {
    let mut stream = BufReader::new(stream);
    let mut mail = Taken::default();
    stream.write_all(b"220 sink\r\n").await.ok();
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let command = line.trim_end().to_owned();
        line.clear();
        let said = match command.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-sink\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => {
                mail.login = Some(command);
                "235 it is you"
            }
            "MAIL" => {
                mail.from = command;
                "250 fine"
            }
            "RCPT" => {
                mail.to.push(command);
                let answer = *answer.lock().unwrap();
                if answer.is_empty() {
                    return;
                }
                answer
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) && line != ".\r\n" {
                    mail.text.push_str(&std::mem::take(&mut line));
                }
                line.clear();
                taken.lock().unwrap().push(mail.clone());
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        stream.write_all(format!("{said}\r\n").as_bytes()).await.ok();
    }
}

async fn invite(world: &World, email: &str) -> Value {
    world.call("POST", "/v1/workspace/invites/add", json!({"email": email})).await.ok()
}

async fn waiting(world: &World) -> i64 {
    world.count("SELECT COUNT(*) FROM mails").await
}

async fn an_invite_travels_by_mail_alone(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    // No link for whoever invites.
    assert_eq!(invite(&world, "ann@example.com").await, json!({"status": "ok"}));
    let bulk = json!({"emails": ["bob@example.com", "eve@example.com"]});
    assert_eq!(world.call("POST", "/v1/workspace/invites/add-bulk", bulk).await.ok(), json!({"status": "ok"}));
    assert_eq!(waiting(&world).await, 3);
    mail::send_due(&world.app).await.unwrap();
    assert_eq!(waiting(&world).await, 0);
    let taken = sink.taken();
    assert_eq!(taken.len(), 3);
    let mut tokens = Vec::new();
    for (mail, email) in taken.iter().zip(["ann@example.com", "bob@example.com", "eve@example.com"]) {
        let text = mail.plain();
        // AUTH PLAIN of me@here and p:w.
        assert_eq!(mail.login.as_deref(), Some("AUTH PLAIN AG1lQGhlcmUAcDp3"));
        assert!(mail.from.starts_with("MAIL FROM:<stead@example.com>"), "{}", mail.from);
        assert_eq!(mail.to, [format!("RCPT TO:<{email}>")]);
        for line in [
            "From: Stead <stead@example.com>\r\n".to_owned(),
            format!("To: {email}\r\n"),
            "Subject: owner@localhost invites you to My workspace\r\n".to_owned(),
            "Message-ID: <mai_".to_owned(),
            "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        let token = text.split_once("http://127.0.0.1:8080/invite/").unwrap().1;
        tokens.push(token.split_whitespace().next().unwrap().to_owned());
    }
    for token in &tokens {
        let body = json!({ "token": token });
        world.call_as("", "POST", "/v1/workspace/invites/accept", body).await.ok();
    }
    // Nothing is sent twice.
    world.clock.advance(DAY);
    mail::send_due(&world.app).await.unwrap();
    assert_eq!(sink.taken().len(), 3);
}

async fn a_mail_that_is_not_taken_is_tried_again_for_a_day(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    invite(&world, "ann@example.com").await;
    for answer in ["451 later", "535 who are you", ""] {
        sink.answers(answer);
        mail::send_due(&world.app).await.unwrap();
        assert_eq!(waiting(&world).await, 1, "{answer}");
        // Not before its time.
        mail::send_due(&world.app).await.unwrap();
        world.clock.advance(5 * 60);
    }
    assert_eq!(world.count("SELECT attempts FROM mails").await, 3);
    // A restart forgets nothing, and the pepper may have changed.
    let world = world.restarted(stead_verify::pepper::Ring::new([(1, [42; 32]), (2, [43; 32])]).unwrap()).await;
    sink.answers("250 fine");
    mail::send_due(&world.app).await.unwrap();
    assert_eq!((waiting(&world).await, sink.taken().len()), (0, 1));
    // After a day it is given up.
    sink.answers("451 later");
    invite(&world, "bob@example.com").await;
    for hours in [23, 2] {
        mail::send_due(&world.app).await.unwrap();
        assert_eq!(waiting(&world).await, 1);
        world.clock.advance(hours * 3600);
    }
    let jobs = jobs::start(&world.app);
    while waiting(&world).await == 1 {
        tokio::task::yield_now().await;
    }
    jobs::finish(&world.app, jobs).await;
    assert_eq!(sink.taken().len(), 1);
}

async fn a_mail_whose_row_was_changed_goes_to_nobody(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    for edit in [
        "UPDATE mails SET recipient = 'mallory@example.com'",
        "UPDATE mails SET subject = 'Hello'",
        "UPDATE mails SET body = (SELECT seal FROM members)",
    ] {
        invite(&world, "ann@example.com").await;
        world.tamper(edit).await;
        mail::send_due(&world.app).await.unwrap();
        assert_eq!(waiting(&world).await, 0);
        world.clock.advance(60);
    }
    assert!(sink.taken().is_empty());
    // Nor can anybody read it there.
    invite(&world, "ann@example.com").await;
    if let stead_server::store::Location::Sqlite { file, .. } = &world.location {
        let bytes = std::fs::read(file.with_extension("db-wal")).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"/invite/"));
    }
    mail::send_due(&world.app).await.unwrap();
    assert_eq!(sink.taken().len(), 1);
}

async fn a_refused_invite_sends_nothing(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    let many: Vec<_> = (0..11).map(|n| format!("p{n}@example.com")).collect();
    world.call("POST", "/v1/workspace/invites/add-bulk", json!({"emails": many})).await.is(400, "limit_reached");
    invite(&World::new(engine).await, "ann@example.com").await;
    assert_eq!(waiting(&world).await, 0);
    mail::send_due(&world.app).await.unwrap();
    assert!(sink.taken().is_empty());
}

async fn the_job_sends_what_is_due(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    let jobs = jobs::start(&world.app);
    invite(&world, "ann@example.com").await;
    while sink.taken().is_empty() || waiting(&world).await > 0 {
        tokio::task::yield_now().await;
    }
    jobs::finish(&world.app, jobs).await;
    assert_eq!(sink.taken().len(), 1);
}

async fn owners_hear_of_a_key_that_its_holder_disabled(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    let (_, person) = world.person("ann@example.com", WorkspaceMember).await;
    let machine = world.account_with_key().await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let own = world.key(&me, json!({"name": "spare"})).await;
    for (secret, told) in [
        (person, vec!["ann@example.com", "owner@localhost"]),
        (machine.secret, vec!["owner@localhost"]),
        (own.secret, vec!["owner@localhost"]),
    ] {
        let path = "/v1/workspaces/api-keys/disable?api_key_name=self";
        world.call_as(&secret, "POST", path, Value::Null).await.ok();
        let before = sink.taken().len();
        mail::send_due(&world.app).await.unwrap();
        let mut to: Vec<_> = sink.taken()[before..].iter().map(|mail| mail.to.concat()).collect();
        to.sort();
        assert_eq!(to, told.iter().map(|email| format!("RCPT TO:<{email}>")).collect::<Vec<_>>());
        assert!(sink.taken().iter().all(|mail| !mail.text.contains(&secret)));
    }
}

async fn what_is_refused_for_good_is_given_up_at_once(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    for answer in ["550 nobody of that name", "501 no address", "554 a link to /invite/secret is spam"] {
        sink.answers(answer);
        invite(&world, "ann@example.com").await;
        mail::send_due(&world.app).await.unwrap();
        assert_eq!(waiting(&world).await, 0, "{answer}");
        world.clock.advance(60);
    }
    sink.answers("250 fine");
    mail::send_due(&world.app).await.unwrap();
    assert!(sink.taken().is_empty());
    // What the server says of a mail may quote it, and is in no log.
    let mailer = world.app.mailer.as_ref().unwrap();
    let send = async |to: &str| {
        let mail = smtp::Mail { id: "mai_1", to, subject: "s", body: "b", at: world.app.clock.now() };
        mailer.send(mail).await.unwrap_err()
    };
    for (answer, kind) in [("554 /invite/secret", 'n'), ("451 /invite/secret", 'r'), ("421 /invite/secret", 'u')] {
        sink.answers(answer);
        let (found, why) = match send("ann@example.com").await {
            Unsent::Never(why) => ('n', why),
            Unsent::Refused(why) => ('r', why),
            Unsent::Unreachable(why) => ('u', why),
        };
        assert_eq!((found, why), (kind, format!("the mail server said {}", &answer[..3])));
    }
    assert!(matches!(send("nobody").await, Unsent::Never(_)));
}

async fn nobody_is_mailed_an_invite_twice_a_minute(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    let ask = async |path: &str, body: Value| world.call("POST", &format!("/v1/workspace/invites/{path}"), body).await;
    sink.answers("451 later");
    invite(&world, "ann@example.com").await;
    let reply = ask("add", json!({"email": "ann@example.com"})).await;
    reply.is(400, "bad_request");
    assert_eq!(reply.body["detail"]["param"], "email");
    let many = json!({"emails": ["bob@example.com", "ann@example.com"]});
    let reply = ask("add-bulk", many).await;
    reply.is(400, "bad_request");
    assert_eq!(reply.body["detail"]["param"], "emails");
    mail::send_due(&world.app).await.unwrap();
    assert_eq!(waiting(&world).await, 1);
    // The newer one takes the older one's place, also in the outbox.
    world.clock.advance(60);
    invite(&world, "ann@example.com").await;
    assert_eq!(waiting(&world).await, 1);
    // Taking it back takes the mail back, and is no way around.
    world.call("DELETE", "/v1/workspace/invites", json!({"email": "ann@example.com"})).await.ok();
    assert_eq!(waiting(&world).await, 0);
    ask("add", json!({"email": "ann@example.com"})).await.is(400, "bad_request");
    world.clock.advance(60);
    invite(&world, "ann@example.com").await;
    sink.answers("250 fine");
    mail::send_due(&world.app).await.unwrap();
    assert_eq!((waiting(&world).await, sink.taken().len()), (0, 1));
    // Where invites are links for whoever invites, nobody is mailed.
    let world = World::new(engine).await;
    invite(&world, "ann@example.com").await;
    invite(&world, "ann@example.com").await;
}

async fn a_stop_lets_no_other_mail_begin(engine: Engine) {
    let sink = Sink::new().await;
    let world = sink.world(engine).await;
    let many = json!({"emails": ["a@example.com", "b@example.com", "c@example.com"]});
    world.call("POST", "/v1/workspace/invites/add-bulk", many).await.ok();
    mail::send_while(&world.app, || sink.taken().is_empty()).await.unwrap();
    assert_eq!((sink.taken().len(), waiting(&world).await), (1, 2));
}

/// Two nodes on one store send a mail once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_one_sends() {
    let sink = Sink::new().await;
    let here = sink.world(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let many: Vec<_> = (0..9).map(|n| format!("p{n}@example.com")).collect();
    here.call("POST", "/v1/workspace/invites/add-bulk", json!({"emails": many})).await.ok();
    let (first, second) = tokio::join!(mail::send_due(&here.app), mail::send_due(&there.app));
    first.unwrap();
    second.unwrap();
    assert_eq!((sink.taken().len(), waiting(&here).await), (9, 0));
}

/// Only to this machine does a mail go in the clear. 127.0.0.2 is another name of it that counts as a stranger's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_starttls_nothing_goes_to_others() {
    let sink = Sink::at("127.0.0.2:0").await;
    let world = sink.world(Engine::Sqlite).await;
    invite(&world, "ann@example.com").await;
    mail::send_due(&world.app).await.unwrap();
    assert_eq!((sink.taken().len(), waiting(&world).await), (0, 1));
}
