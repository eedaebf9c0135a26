//! Statistics computed another way: the whole document in memory, one loop, nothing shared with the program.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

#[derive(Default)]
struct Day {
    buses: u64,
    passengers: i64,
    accident: bool,
    delay_ns: i128,
}

/// What `/country-stats` must answer for these days, by what the upstream serves now. `left_out` are the
/// cities whose files cannot be accepted.
pub async fn reference_country_stats(upstream: &str, days: &[&str], left_out: &[u64]) -> Value {
    let http = reqwest::Client::new();
    let get = async |path: String| {
        let response = http.get(format!("{upstream}{path}")).send().await.expect("the upstream answers");
        response.bytes().await.expect("the upstream answers whole")
    };
    let cities: Vec<Value> = serde_json::from_slice(&get("/cities".to_owned()).await).expect("a list of cities");
    let mut countries: BTreeSet<String> = BTreeSet::new();
    let mut by_day: BTreeMap<(String, &str), Day> = BTreeMap::new();
    for city in cities {
        let (id, country) = (city["id"].as_u64().expect("an id"), city["country"].as_str().expect("a country"));
        if left_out.contains(&id) {
            continue;
        }
        countries.insert(slug(country));
        for day in days {
            let body = get(format!("/cities/{id}/stats?date={day}")).await;
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
            let buses: Vec<Value> = serde_json::from_slice(body).expect("a list of buses");
            let sum = by_day.entry((slug(country), *day)).or_default();
            for bus in buses {
                sum.buses += 1;
                sum.passengers += bus["passengers"].as_i64().expect("passengers");
                sum.accident |= bus["accident"].as_bool().expect("accident");
                sum.delay_ns += nanoseconds(bus["delay"].as_str().expect("delay"));
            }
        }
    }
    let mut answer = Map::new();
    for country in countries {
        let mut of_country = Map::new();
        for day in days {
            let none = Day::default();
            let sum = by_day.get(&(country.clone(), *day)).unwrap_or(&none);
            let mean = if sum.buses == 0 { 0.0 } else { sum.delay_ns as f64 / 1e9 / sum.buses as f64 };
            of_country.insert(
                (*day).to_owned(),
                json!({
                    "bus_count": sum.buses,
                    "passenger_count": sum.passengers,
                    "exist_accident": sum.accident,
                    "average_delay_s": mean.round() as i64,
                }),
            );
        }
        answer.insert(country, of_country.into());
    }
    answer.into()
}

/// "Saint Kitts and Nevis" → "saint-kitts-and-nevis"; enough for the names that the stand-in upstream has.
fn slug(name: &str) -> String {
    let plain = name
        .replace(['ô', 'Ô'], "o")
        .replace('é', "e")
        .replace('ã', "a")
        .replace('í', "i")
        .replace('ü', "u")
        .replace('ç', "c");
    let words = plain.to_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `-P1DT2H3M4.5S` in nanoseconds.
fn nanoseconds(text: &str) -> i128 {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut total = 0_f64;
    let mut number = String::new();
    for c in rest.chars() {
        let seconds = match c {
            'P' | 'T' => continue,
            'W' => 604_800.0,
            'D' => 86_400.0,
            'H' => 3_600.0,
            'M' => 60.0,
            'S' => 1.0,
            digit => {
                number.push(digit);
                continue;
            }
        };
        total += number.parse::<f64>().expect("a number") * seconds;
        number.clear();
    }
    sign * (total * 1e9).round() as i128
}
