//! The cities and countries, and how many buses start where.

use serde::{Deserialize, Serialize};

use crate::{
    Options,
    files::mix::{Use, mix},
    sites::day::Day,
};

/// A city, as `GET /cities` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct City {
    /// The only thing that is unique.
    pub id: u64,
    /// Any text.
    pub name: String,
    /// Any text.
    pub country: String,
}

/// More records than this are not served, so that no length can overflow: a file of 125 TB.
const MOST_RECORDS: u64 = 1 << 40;

const COUNTRIES: [&str; 24] = [
    "Singapore",
    "Saint Kitts and Nevis",
    "Côte d'Ivoire",
    "Türkiye",
    "Chile",
    "New Zealand",
    "São Tomé and Príncipe",
    "Curaçao",
    "Japan",
    "Bosnia and Herzegovina",
    "Åland Islands",
    "Kenya",
    "Papua New Guinea",
    "Réunion",
    "Norway",
    "Guinea-Bissau",
    "Isle of Man",
    "Peru",
    "Saint Barthélemy",
    "Timor-Leste",
    "Canada",
    "Trinidad and Tobago",
    "Ghana",
    "Viet Nam",
];

const PREFIXES: [&str; 8] = ["South", "North", "East", "West", "New", "Lake", "Port", "Old"];

const NAMES: [&str; 40] = [
    "Stephen", "Maria", "Kevin", "Amanda", "José", "Heather", "Zoë", "Joshua", "Lisa", "Tyler", "O'Connor", "Michelle",
    "Björn", "Angela", "Brian", "Renée", "Samuel", "Kimberly", "Łukasz", "Tina", "Robert", "Nicole", "Agnès", "Derek",
    "Paula", "Jean-Luc", "Debra", "Gary", "Håkon", "Teresa", "Victor", "Wendy", "Xavier", "Yvonne", "Carl", "Dana",
    "Erin", "Frank", "Gloria", "Henry",
];

/// A city as the seed makes it. Names repeat by chance, and every eighth city is named like another
/// one in its country, so that duplicates are there in a small world too.
pub(crate) fn city(options: &Options, id: u64) -> City {
    let countries = options.countries.max(1);
    let namesake = if id % 8 == 7 && id >= countries { id - countries } else { id };
    let draw = mix(Use::Name, &[options.seed, namesake]);
    let prefix = PREFIXES[(draw % PREFIXES.len() as u64) as usize];
    let name = NAMES[((draw >> 32) % NAMES.len() as u64) as usize];
    City { id, name: format!("{prefix} {name}"), country: country(id % countries) }
}

fn country(index: u64) -> String {
    let name = COUNTRIES[(index % COUNTRIES.len() as u64) as usize];
    match index / COUNTRIES.len() as u64 {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    }
}

/// How many buses start in a city on a day. Unless the number is to be exact, one day in sixteen has
/// none; a later version never has none, so that a new version is always other data.
pub(crate) fn records(options: &Options, city: u64, day: Day, version: u64) -> u64 {
    let around = options.records.min(MOST_RECORDS);
    if options.exact || around == 0 {
        return around;
    }
    let draw = mix(Use::Count, &[options.seed, city, day.number, version]);
    if version == 0 && draw.is_multiple_of(16) { 0 } else { (around / 2 + (draw >> 8) % (around + 1)).max(1) }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{city, records};
    use crate::{Options, sites::day::Day};

    #[test]
    fn the_default_world_has_two_cities_of_one_name_in_one_country() {
        let options = Options::default();
        let mut seen = HashMap::<_, u32>::new();
        for id in 0..options.cities {
            let city = city(&options, id);
            *seen.entry((city.name, city.country)).or_default() += 1;
        }
        assert!(seen.values().any(|cities| *cities > 1));
        let countries: HashSet<_> = seen.keys().map(|(_, country)| country.as_str()).collect();
        assert_eq!(countries, ["Singapore", "Saint Kitts and Nevis", "Côte d'Ivoire", "Türkiye"].into());
    }

    #[test]
    fn any_number_of_countries_has_its_own_names() {
        let options = Options { countries: 100, ..Options::default() };
        let countries: HashSet<_> = (0..100).map(|id| city(&options, id).country).collect();
        assert_eq!(countries.len(), 100);
    }

    #[test]
    fn the_number_of_records_varies_around_what_was_asked_for() {
        let day = Day::parse("2024-05-01").unwrap();
        let options = Options::default();
        let numbers: Vec<_> = (0..1_000).map(|city| records(&options, city, day, 0)).collect();
        assert!(numbers.iter().all(|number| *number == 0 || (1_000..=3_000).contains(number)));
        assert!((30..120).contains(&numbers.iter().filter(|number| **number == 0).count()));
        assert!((0..1_000).all(|city| records(&options, city, day, 1) > 0));
        let exact = Options { exact: true, ..options };
        assert!((0..1_000).all(|city| records(&exact, city, day, 0) == 2_000));
        let huge = Options { records: u64::MAX, ..Options::default() };
        assert!(records(&huge, 0, day, 1) < u64::MAX / 1_000);
    }
}
