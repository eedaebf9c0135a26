//! Collections that want credentials, and the tokens that they take.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use waybill_upstream::{Auth, Collection, Lead, Options, Paging, PagingFault, TokenEndpoint, TokenFault};

use crate::{pages::Page, site::Site};

async fn site(token_endpoint: TokenEndpoint) -> Site {
    Site::start(Options { token_endpoint, ..Options::default() }).await
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("it answers").status()
}

fn ask_for_token(site: &Site) -> RequestBuilder {
    let url = format!("{}/paged/token", site.upstream.base_url());
    let form = "grant_type=client_credentials&client_id=test&client_secret=secret";
    site.client.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
}

async fn token(site: &Site) -> String {
    let answer: Value = ask_for_token(site).send().await.expect("it answers").json().await.expect("it is JSON");
    answer["access_token"].as_str().expect("there is a token").to_owned()
}

#[tokio::test]
async fn only_the_right_credentials_open_a_collection() {
    let site = site(TokenEndpoint::default()).await;
    let get = |name: &str| site.get(&format!("/paged/{name}"));
    let right = [
        get("bearer").bearer_auth("test"),
        get("basic").basic_auth("test", Some("secret")),
        get("header").header("X-Api-Key", "test"),
        get("query").query(&[("key", "test")]),
        get("page").bearer_auth("anything"),
    ];
    for request in right {
        assert_eq!(status(request).await, StatusCode::OK);
    }
    let wrong = [
        get("bearer"),
        get("bearer").bearer_auth("wrong"),
        get("bearer").basic_auth("test", Some("secret")),
        get("basic"),
        get("basic").basic_auth("test", Some("wrong")),
        get("basic").header(header::AUTHORIZATION, "Basic %"),
        get("header"),
        get("header").header("X-Api-Key", "wrong"),
        get("query"),
        get("query").query(&[("key", "wrong")]),
        get("oauth"),
        get("oauth").bearer_auth("test"),
    ];
    for request in wrong {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
    let challenge = get("basic").send().await.unwrap().headers()[header::WWW_AUTHENTICATE].clone();
    assert_eq!(challenge, "Basic realm=\"paged\"");
    let requests = site.upstream.requests();
    assert_eq!((requests.pages("/paged/bearer"), requests.answered(401), requests.leaked), (1, 13, 0));
}

#[tokio::test]
async fn a_token_opens_a_collection_until_it_expires() {
    let site = site(TokenEndpoint { requests: 2, ..TokenEndpoint::default() }).await;
    let answer = ask_for_token(&site).send().await.unwrap();
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3_600)));
    let first = answer["access_token"].as_str().unwrap();
    let ask = async |token: &str| status(site.get("/paged/oauth").bearer_auth(token)).await.as_u16();
    assert_eq!([ask(first).await, ask(first).await, ask(first).await], [200, 200, 401]);
    let second = token(&site).await;
    assert_ne!(first, second);
    assert_eq!(ask(&second).await, 200);
    site.upstream.set_token_endpoint(TokenEndpoint { expires_in: 0, ..TokenEndpoint::default() });
    assert_eq!(ask(&token(&site).await).await, 401, "it has expired");
    assert_eq!(ask(&second).await, 200, "it was given before");
    assert_eq!(site.upstream.requests().tokens, 3);
}

#[tokio::test]
async fn only_the_right_client_gets_a_token() {
    let site = site(TokenEndpoint::default()).await;
    let url = format!("{}/paged/token", site.upstream.base_url());
    let ask = async |form: &str, password: Option<&str>| {
        let request = site.client.post(&url).body(form.to_owned());
        let request = if let Some(password) = password { request.basic_auth("test", Some(password)) } else { request };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["error"].clone())
    };
    let grant = "grant_type=client_credentials";
    assert_eq!(ask(grant, Some("secret")).await, (200, Value::Null));
    assert_eq!(ask(grant, Some("wrong")).await, (401, json!("invalid_client")));
    assert_eq!(ask(grant, None).await, (401, json!("invalid_client")));
    let wrong = format!("{grant}&client_id=test&client_secret=wrong");
    assert_eq!(ask(&wrong, None).await, (401, json!("invalid_client")));
    for grant in ["grant_type=refresh_token&refresh_token=test", "grant_type=password&username=test&password=secret"] {
        assert_eq!(ask(grant, Some("secret")).await, (200, Value::Null));
        assert_eq!(ask(&format!("{grant}x"), Some("secret")).await, (400, json!("invalid_grant")));
    }
    assert_eq!(ask("grant_type=implicit", Some("secret")).await, (400, json!("unsupported_grant_type")));
    assert_eq!(status(site.get("/paged/token")).await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_token_endpoint_has_faults_of_its_own() {
    let with = async |fault| site(TokenEndpoint { fault: Some(fault), ..TokenEndpoint::default() }).await;
    assert_eq!(status(ask_for_token(&with(TokenFault::Down).await)).await, StatusCode::SERVICE_UNAVAILABLE);
    let answer = ask_for_token(&with(TokenFault::Error).await).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "error": "temporarily_unavailable" }));
    let slow = with(TokenFault::Slow).await;
    let error = ask_for_token(&slow).timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let began = Instant::now();
    token(&slow).await;
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn credentials_at_another_origin_are_counted() {
    let fault = PagingFault::Next { page: 1, to: Lead::OtherOrigin };
    let collection =
        Collection { paging: Paging::Next, auth: Auth::Bearer, faults: vec![fault], ..Collection::default() };
    let site = Site::start(Options { collections: [("c".into(), collection)].into(), ..Options::default() }).await;
    let first = Page::of(site.get("/paged/c").bearer_auth("test").send().await.unwrap()).await;
    let next = first.body["next"].as_str().unwrap();
    assert!(next.starts_with("http://localhost:") && next.contains("/elsewhere/paged/c?cursor="), "{next}");
    let second = Page::of(site.client.get(next).send().await.unwrap()).await;
    assert_eq!((second.ids[0], site.upstream.requests().leaked), (101, 0));
    for request in [
        site.client.get(next).bearer_auth("test"),
        site.client.get(next).header("X-Api-Key", "x"),
        site.client.get(format!("{next}&key=test")),
    ] {
        assert_eq!(status(request).await, StatusCode::OK);
    }
    assert_eq!(site.upstream.requests().leaked, 3);
}
