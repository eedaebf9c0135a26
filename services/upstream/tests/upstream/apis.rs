//! The five public APIs, read as their definitions read them.

use std::{collections::BTreeSet, io::Read};

use flate2::read::GzDecoder;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use waybill_upstream::Options;

use crate::site::Site;

async fn json_of(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("it answers");
    assert_eq!(response.status(), StatusCode::OK, "{}", response.url());
    response.json().await.expect("it is JSON")
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

#[tokio::test]
async fn every_api_wants_its_key() {
    let site = Site::start(Options::default()).await;
    for path in [
        "/guardian/search?from-date=2024-05-01&to-date=2024-05-07&api-key=wrong",
        "/openaq/v3/locations?countries_id=9",
        "/openaq/v3/locations/901/sensors",
        "/openaq/v3/sensors/9011/days?date_from=2024-01-01&date_to=2024-12-31",
        "/openexchange/api/historical/2024-05-01.json",
        "/sendgrid/v3/marketing/contacts/exports/export-1",
        "/stripe/v1/balance_transactions",
    ] {
        assert_eq!(site.get(path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(site.upstream.requests().pages, [].into());
}

#[tokio::test]
async fn a_week_of_guardian_articles() {
    let site = Site::start(Options::default()).await;
    let page = async |page: u64, order: &str| {
        let week = "from-date=2024-05-01&to-date=2024-05-07&page-size=50";
        let path = format!("/guardian/search?{week}&page={page}&order-by={order}&api-key=test");
        json_of(site.get(&path)).await["response"].clone()
    };
    let first = page(1, "oldest").await;
    let (total, pages) = (first["total"].as_u64().unwrap(), first["pages"].as_u64().unwrap());
    assert!((210..=280).contains(&total) && pages == total.div_ceil(50));
    let mut oldest = Vec::new();
    let mut newest = Vec::new();
    for number in 1..=pages {
        oldest.extend(array(&page(number, "oldest").await["results"]).clone());
        newest.extend(array(&page(number, "newest").await["results"]).clone());
    }
    let ids: BTreeSet<_> = oldest.iter().map(|article| article["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len() as u64, oldest.len() as u64), (total, total));
    assert!(oldest.is_sorted_by_key(|article| article["webPublicationDate"].as_str().unwrap()));
    newest.reverse();
    assert_eq!(newest, oldest);
    let past = format!(
        "/guardian/search?from-date=2024-05-01&to-date=2024-05-07&page-size=50&page={}&api-key=test",
        pages + 1
    );
    assert_eq!(site.get(&past).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    for wrong in
        ["from-date=2024-05-01", "from-date=0001-01-01&to-date=2024-01-01", "from-date=2024-02-30&to-date=2024-03-01"]
    {
        let path = format!("/guardian/search?{wrong}&api-key=test");
        assert_eq!(site.get(&path).send().await.unwrap().status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(site.upstream.requests().page("/guardian/search", 1), 3);
}

#[tokio::test]
async fn a_year_of_every_openaq_sensor_of_a_country() {
    let site = Site::start(Options::default()).await;
    let get = async |path: &str| json_of(site.get(path).header("X-API-Key", "test")).await;
    let first = get("/openaq/v3/locations?countries_id=9&limit=2").await;
    assert_eq!(first["meta"]["found"], ">2");
    let mut locations = array(&first["results"]).clone();
    locations.extend(array(&get("/openaq/v3/locations?countries_id=9&limit=2&page=2").await["results"]).clone());
    assert_eq!(locations.iter().map(|location| &location["id"]).collect::<Vec<_>>(), [901, 902, 903]);
    let sensors = get("/openaq/v3/locations/902/sensors?limit=1000&page=1").await;
    assert_eq!(
        (&sensors["results"][1]["id"], &sensors["results"][1]["parameter"]["name"]),
        (&json!(9022), &json!("pm10"))
    );
    let mut days = Vec::new();
    for page in 1..=5 {
        let path = "/openaq/v3/sensors/9022/days?date_from=2024-01-01&date_to=2024-12-31&limit=100";
        let results = get(&format!("{path}&page={page}")).await;
        days.extend(
            array(&results["results"])
                .iter()
                .map(|day| day["period"]["datetimeFrom"]["utc"].as_str().unwrap().to_owned()),
        );
    }
    assert!((320..366).contains(&days.len()), "{}", days.len());
    assert!(days.is_sorted_by(|day, next| day < next) && days[0].starts_with("2024-01-0"));
    for path in [
        "/openaq/v3/locations/904/sensors",
        "/openaq/v3/locations/x/sensors",
        "/openaq/v3/sensors/9013/days",
        "/openaq/v3/sensors/é/days",
    ] {
        let response = site.get(path).header("X-API-Key", "test").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_rates_of_a_day_by_currency() {
    let site = Site::start(Options::default()).await;
    let get = async |day: &str| {
        json_of(site.get(&format!("/openexchange/api/historical/{day}.json?app_id=test&base=USD"))).await
    };
    let (one, other) = (get("2024-05-01").await, get("2024-05-02").await);
    let rates = one["rates"].as_object().unwrap();
    assert_eq!(rates.len(), 170);
    assert!(rates.iter().all(|(code, rate)| code.len() == 3 && rate.as_f64().unwrap() > 0.0));
    assert!(one["rates"] != other["rates"] && one == get("2024-05-01").await);
    let wrong = site.get("/openexchange/api/historical/2024-5-1.json?app_id=test").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_export_of_contacts_from_another_host() {
    let site = Site::start(Options::default()).await;
    let exports = "/sendgrid/v3/marketing/contacts/exports";
    let begun = site.client.post(format!("{}{exports}", site.upstream.base_url())).bearer_auth("test").json(&json!({}));
    let begun = begun.send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let begun: Value = begun.json().await.unwrap();
    let look =
        async || json_of(site.get(&format!("{exports}/{}", begun["id"].as_str().unwrap())).bearer_auth("test")).await;
    assert_eq!(look().await["status"], "pending");
    let ready = look().await;
    assert_eq!((&ready["status"], &ready["contact_count"]), (&json!("ready"), &json!(300)));
    let mut ids = BTreeSet::new();
    for url in array(&ready["urls"]) {
        let url = url.as_str().unwrap();
        assert!(url.starts_with("http://localhost:"));
        let file = site.client.get(url).send().await.unwrap();
        assert!(!file.headers().contains_key("content-encoding"));
        let mut text = String::new();
        GzDecoder::new(&*file.bytes().await.unwrap()).read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("CONTACT_ID,EMAIL,FIRST_NAME"));
        ids.extend(lines.map(|line| line.split(',').next().unwrap().to_owned()));
    }
    assert_eq!(ids.len(), 300);
    let url = ready["urls"][0].as_str().unwrap();
    assert_eq!(site.client.get(url).bearer_auth("test").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let unsigned = url.split('?').next().unwrap();
    assert_eq!(site.client.get(unsigned).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let unknown = site.get(&format!("{exports}/export-2")).bearer_auth("test").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(site.upstream.requests().leaked, 1);
}

#[tokio::test]
async fn a_month_of_stripe_transactions() {
    let site = Site::start(Options::default()).await;
    // From 2024-05-01 on, until 2024-06-01.
    let month = "limit=100&created[gte]=1714521600&created[lt]=1717200000";
    let mut transactions = Vec::new();
    loop {
        let after = transactions
            .last()
            .map_or(String::new(), |last: &Value| format!("&starting_after={}", last["id"].as_str().unwrap()));
        let page =
            json_of(site.get(&format!("/stripe/v1/balance_transactions?{month}{after}")).bearer_auth("test")).await;
        transactions.extend(array(&page["data"]).clone());
        if page["has_more"] == false {
            break;
        }
        assert_eq!(page["data"].as_array().unwrap().len(), 100);
    }
    let count = transactions.len() as u64;
    assert!((31 * 8..=31 * 12).contains(&count), "{count}");
    let ids: BTreeSet<_> = transactions.iter().map(|transaction| transaction["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len() as u64, count);
    let created: Vec<_> = transactions.iter().map(|transaction| transaction["created"].as_i64().unwrap()).collect();
    assert!(created.is_sorted_by(|one, next| one > next));
    assert_eq!(created.last(), Some(&1_714_521_600), "the first moment of the month is in it");
    assert!(created[0] < 1_717_200_000);
    assert!(transactions.iter().any(|transaction| transaction["amount"].as_i64().unwrap() < 0));
    assert_eq!(site.upstream.requests().pages("/stripe/v1/balance_transactions"), count.div_ceil(100));
    for wrong in ["starting_after=txn_1", "limit=101", "created[gte]=may"] {
        let path = format!("/stripe/v1/balance_transactions?{wrong}");
        assert_eq!(
            site.get(&path).bearer_auth("test").send().await.unwrap().status(),
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    let all = json_of(site.get("/stripe/v1/balance_transactions").bearer_auth("test")).await;
    assert_eq!((array(&all["data"]).len(), &all["has_more"]), (10, &json!(true)));
}
