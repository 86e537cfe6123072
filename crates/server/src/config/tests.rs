use super::*;

fn load(settings: &[(&'static str, &str)], file: &str) -> Result<Config, Vec<String>> {
    let environment = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Config::from_sources(&HashMap::new(), &environment, file)
}

#[test]
fn without_settings_everything_has_a_default() {
    let config = load(&[], "").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database, Location::Sqlite { file: "stead-data/stead.db".into(), durable: true });
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file = "listen = '127.0.0.1:1'\nmax-accounts = 1\nseats = 1";
    let environment = HashMap::from([("listen", "127.0.0.1:2".to_owned()), ("max-accounts", "2".to_owned())]);
    let flags = HashMap::from([("listen", "127.0.0.1:3".to_owned())]);
    let config = Config::from_sources(&flags, &environment, file).unwrap();
    assert_eq!((config.listen.port(), config.limits.accounts, config.limits.seats), (3, 2, 1));
}

#[test]
fn a_password_is_no_flag() {
    for (url, fine) in
        [("postgres://u:p@h/d", false), ("postgres://h/d?password=p", false), ("postgres://u@h:5432/d", true)]
    {
        let flags = HashMap::from([("database-url", url.to_owned())]);
        assert_eq!(Config::from_sources(&flags, &HashMap::new(), "").is_ok(), fine, "{url}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_no_secret_is_quoted() {
    let settings = [
        ("listen", "nowhere"),
        ("log-format", "xml"),
        ("tls-cert", "cert.pem"),
        ("admin-api-key", "too short, and secret"),
        ("operator-api-key", "too short, and secret"),
        ("pepper", "1:abcd"),
        ("seats", "0"),
    ];
    let mistakes = load(&settings, "port = 1").err().unwrap();
    assert_eq!(mistakes.len(), 8, "{mistakes:?}");
    assert!(mistakes.iter().all(|mistake| !mistake.contains("secret") && !mistake.contains("abcd")));
}

#[test]
fn a_mail_server_needs_a_sender_and_is_never_quoted() {
    let (url, from) = (("smtp-url", "smtps://u:swordfish@mail.example.com"), ("mail-from", "Stead <s@example.com>"));
    assert!(load(&[], "").unwrap().mail.is_none() && load(&[url, from], "").unwrap().mail.is_some());
    for settings in [vec![url], vec![from], vec![("smtp-url", "swordfish"), from], vec![url, ("mail-from", "nobody")]] {
        let mistakes = load(&settings, "").err().unwrap();
        assert!(mistakes.len() == 1 && !mistakes[0].contains("swordfish"), "{mistakes:?}");
    }
    assert!(SETTINGS.iter().any(|setting| setting.name == "smtp-url" && setting.secret));
}

#[test]
fn the_operators_credential_is_none_of_a_workspaces() {
    let (own, key) = ("the-operator's-own-0123456789abcdef", "stead_0000000000000000000000000000000000000000000000");
    assert!(load(&[("operator-api-key", own)], "").unwrap().operator_api_key.is_some());
    assert!(load(&[("operator-api-key", own), ("admin-api-key", own)], "").is_err());
    let minted = Format::default().mint("aB3dE6", || 7);
    assert!(load(&[("operator-api-key", minted.expose())], "").is_err());
    assert!(load(&[("operator-api-key", key)], "").is_ok(), "what is no key is none of a workspace's");
}

#[test]
fn what_is_said_of_proxies() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rules = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        load(&[("path-rules", file.path().to_str().unwrap())], "").map(|config| config.proxies.rules.is_some())
    };
    assert_eq!(rules("[[rule]]\npath = '/a'\npermissions = ['text_to_speech']"), Ok(true));
    let mistakes =
        rules("[[rule]]\npath = 'a'\npermissions = ['x']\n[[rule]]\npath = '/..'\npermissions = []").unwrap_err();
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert!(mistakes.iter().all(|mistake| mistake.starts_with("path-rules: rule ")), "{mistakes:?}");
    let settings =
        [("path-rules", "/no/such/file"), ("trusted-proxies", "everybody"), ("forward-auth-header", "Cookie")];
    assert_eq!(load(&settings, "").err().unwrap().len(), 3);
    // The permissions may be the settings file's own.
    let own = "[permissions]\nreplace = true\n[[permissions.entries]]\nname = 'a'\ndescription = ''\ngroup = ''";
    std::fs::write(file.path(), "[[rule]]\npath = '/a'\npermissions = ['a']").unwrap();
    assert!(load(&[("path-rules", file.path().to_str().unwrap())], own).is_ok());
}

#[test]
fn database_urls() {
    let of = |url| load(&[("database-url", url)], "").map(|config| config.database);
    assert_eq!(of("sqlite:/a/b.db").unwrap(), Location::Sqlite { file: "/a/b.db".into(), durable: true });
    let postgres = of("postgres://u@h/d?sslmode=require&schema=s1").unwrap();
    assert_eq!(
        postgres,
        Location::Postgres { url: "postgres://u@h/d?sslmode=require".into(), schema: Some("s1".into()) }
    );
    for bad in ["mysql://h/d", "sqlite:", "sqlite:x?y=z", "postgres://h/d?schema=A;drop"] {
        assert!(of(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_catalogue_is_data() {
    let file = "[permissions]\nreplace = true\n[[permissions.entries]]\nname = 'invoices_read'\ndescription = 'Read invoices'\ngroup = 'Billing'";
    let config = load(&[], file).unwrap();
    assert!(config.catalogue.place("invoices_read").is_some());
    assert!(config.catalogue.place("text_to_speech").is_none());
    assert!(load(&[], "permissions = 3").is_err());
}
