//! Whatever has a secret in it may end up in the message of a panic, and shows nothing there.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::api::{Answer, Begin, NewLogin, Take};
use super::callback::Callback;
use super::table::{Asked, DeviceCode, Login, Phase, Redeemed};
use super::view::{LoginKind, LoginStatus, LoginView};
use super::*;
use crate::account::registry::{AddAccount, Admit};
use crate::domain::oauth::{OAuthApp, OAuthPair};
use crate::domain::secret::Secret;
use crate::gitlab::direct_access::{Endpoint, Minted};
use crate::gitlab::gateway::Grant;
use crate::gitlab::oauth::{DeviceGrant, DevicePoll, authorize_url};
use crate::store::backup::MakeBackup;
use crate::store::{
    Deleted, ExchangeNote, GrantRecord, GrantSource, LoginRecord, LoginState, MasterKey, NoteExchange, PutAccount,
    PutAccountFromLogin, PutGrant, PutLogin, PutPair, PutSettings,
};

/// A part of every secret here.
const SIGN: &str = "zqxwv";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn secret(name: &str) -> Secret<String> {
    Secret::new(format!("{name}-{SIGN}-secret"))
}

/// Has a panic print `value`, in both ways of Debug, and looks at its message.
fn assert_unprinted(value: &impl Debug) {
    for pretty in [false, true] {
        let panicking = || if pretty { panic!("it was {value:#?}") } else { panic!("it was {value:?}") };
        let message = catch_unwind(AssertUnwindSafe(panicking)).unwrap_err().downcast::<String>().unwrap();
        assert!(message.len() > "it was ".len());
        assert!(!message.contains(SIGN), "{message}");
        // Nor as a list of bytes.
        assert!(!message.contains(&format!("{:?}", SIGN.as_bytes()).replace(['[', ']'], "")), "{message}");
    }
}

fn app() -> OAuthApp {
    let redirect_uri = Some("http://127.0.0.1:17171/callback".to_owned());
    OAuthApp { client_id: "app".to_owned(), client_secret: Some(secret("client")), redirect_uri }
}

fn pair() -> OAuthPair {
    OAuthPair {
        access_token: secret("access"),
        refresh_token: Some(secret("refresh")),
        expires_at: NOW + Duration::from_hours(2),
        obtained_at: NOW,
        scopes: vec!["api".to_owned()],
    }
}

fn credentials() -> [Credential; 2] {
    let personal =
        Credential::PersonalAccessToken { token: secret("glpat"), scopes: vec!["api".to_owned()], expires_on: None };
    [personal, Credential::OAuth { app: app(), pair: pair() }]
}

fn mint() -> Mint {
    let minted = Minted {
        token: secret("gateway"),
        headers: vec![("x-gitlab-global-user-id".to_owned(), secret("header").expose().clone())],
        expires_at: NOW,
        root_namespace_id: None,
        reported_gateway: None,
        completion_model: None,
    };
    Mint { minted, endpoint: Endpoint::Agents, gateway: GatewayUrl::cloud(), reported: None, completion_model: None }
}

fn arrival(credential: Credential) -> Arrival {
    Arrival {
        instance: InstanceUrl::gitlab_com(),
        user_id: 1,
        username: "ada".to_owned(),
        credential,
        given: Given::default(),
        mint: Ok(mint()),
        renew: false,
        imported: pair().mark(),
        login: None,
    }
}

fn asked() -> Asked {
    let (instance, given) = (InstanceUrl::gitlab_com(), Given::default());
    Asked { kind: LoginKind::Browser, instance, app: app(), scopes: Vec::new(), given }
}

fn shown() -> DeviceCode {
    let page = "https://gitlab.com/oauth/device".to_owned();
    DeviceCode { user_code: secret("user-code"), page, page_with_code: Some(secret("page")) }
}

#[test]
fn a_credential_is_unprinted_in_every_record_and_message() {
    for credential in credentials() {
        let record = arrival(credential.clone()).record(NOW);
        let (account, generation, of) = (record.id.clone(), Generation::default(), credential.clone());
        assert_unprinted(&credential);
        assert_unprinted(&record);
        assert_unprinted(&arrival(credential.clone()));
        assert_unprinted(&Admit(Box::new(arrival(credential.clone()))));
        assert_unprinted(&PutAccount(record.clone()));
        assert_unprinted(&PutAccountFromLogin { record: record.clone(), login: "l".to_owned() });
        assert_unprinted(&PutSettings(record.clone()));
        assert_unprinted(&Deleted::Account(Box::new(record)));
        let note = ExchangeNote::Begun(NOW);
        assert_unprinted(&NoteExchange { account: account.clone(), of: of.clone(), generation, note });
        assert_unprinted(&PutPair { account, of, generation, next: credential });
    }
    let new = NewAccount {
        instance: InstanceUrl::gitlab_com(),
        token: secret("glpat"),
        given: Given::default(),
        renew: false,
    };
    assert_unprinted(&new);
    assert_unprinted(&AddAccount(new));
}

#[test]
fn a_grant_is_unprinted() {
    let mint = mint();
    assert_unprinted(&Grant::new(&mint.minted, Generation::default(), GatewayUrl::cloud()).unwrap());
    let record = GrantRecord {
        account: AccountId::of(&InstanceUrl::gitlab_com(), 1),
        generation: Generation::default(),
        token: secret("gateway"),
        headers: vec![("x-gitlab-global-user-id".to_owned(), secret("header"))],
        expires_at: NOW,
        minted_at: NOW,
        credential_generation: Generation::default(),
        root_namespace_id: None,
        via: GrantSource::ThirdPartyAgents,
        gateway: GatewayUrl::cloud(),
    };
    assert_unprinted(&mint.minted);
    assert_unprinted(&mint);
    assert_unprinted(&record);
    assert_unprinted(&PutGrant(record));
}

#[test]
fn a_login_under_way_is_unprinted() {
    let authorization = authorize_url(&InstanceUrl::gitlab_com(), &app(), &[]).unwrap();
    let (state, verifier) = (authorization.state.expose().clone(), authorization.verifier.expose().clone());
    let printed = format!("{authorization:?}");
    assert!(!printed.contains(&state) && !printed.contains(&verifier), "{printed}");
    for phase in [
        Phase::Browser { authorize_url: secret("url"), verifier: secret("verifier"), until: NOW },
        Phase::Device { shown: shown(), until: NOW },
    ] {
        let state = Some(secret("state"));
        assert_unprinted(&Login { id: "l".to_owned(), asked: asked(), begun_at: NOW, phase, state });
    }
    assert_unprinted(&Redeemed::Code { id: "l".to_owned(), code: secret("code"), verifier: secret("verifier") });
    assert_unprinted(&Take(Answer::Given { login: "l".to_owned(), url: secret("url") }));
    let callback = || Callback::from_query(&format!("code=c-{SIGN}&state=s-{SIGN}")).unwrap();
    assert_unprinted(&Take(Answer::Came(callback())));
    assert_unprinted(&DeviceGrant {
        device_code: secret("device"),
        user_code: secret("user-code"),
        verification_uri: "https://gitlab.com/oauth/device".to_owned(),
        verification_uri_complete: Some(secret("page")),
        expires_at: NOW,
        interval: Duration::from_secs(5),
    });
    assert_unprinted(&DevicePoll::Pair(pair()));
    assert_unprinted(&Begin(NewLogin {
        kind: LoginKind::Browser,
        instance: None,
        client_id: Some("app".to_owned()),
        client_secret: Some(secret("client")),
        redirect_uri: None,
        scopes: None,
        given: Given::default(),
    }));
    for state in [LoginState::Exchanging, LoginState::Issued(pair())] {
        assert_unprinted(&PutLogin(LoginRecord {
            id: "l".to_owned(),
            instance: InstanceUrl::gitlab_com(),
            app: app(),
            state,
            label: None,
            pool: None,
            priority: None,
            weight: None,
            max_concurrency: None,
            gateway_url: None,
            account: None,
            imported: pair().mark(),
            begun_at: NOW,
        }));
    }
}

#[test]
fn what_a_login_shows_to_its_user_is_unprinted_elsewhere() {
    let told = || Some(secret("told").expose().clone());
    assert_unprinted(&LoginView {
        id: "l".to_owned(),
        kind: LoginKind::Browser,
        status: LoginStatus::Pending,
        base_url: "https://gitlab.com".to_owned(),
        scopes: Vec::new(),
        authorize_url: told(),
        redirect_uri: None,
        user_code: told(),
        verification_uri: None,
        verification_uri_complete: told(),
        expires_at: None,
        account: None,
        report: None,
        problem: None,
        begun_at: NOW.to_string(),
    });
}

#[test]
fn keys_and_passphrases_are_unprinted() {
    assert_unprinted(&MasterKey::parse(&"7a".repeat(32)).unwrap());
    let printed = format!("{:?}", MasterKey::parse(&"7a".repeat(32)).unwrap());
    assert!(!printed.contains("7a7a") && !printed.contains("122, 122"), "{printed}");
    assert_unprinted(&MakeBackup { passphrase: secret("passphrase"), now: NOW });
}
