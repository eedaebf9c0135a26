//! The pages of the relay as people use them: in chromium, with scripts and without, by mouse and by keyboard.

mod chromium;

use std::path::{Path, PathBuf};

use fantoccini::key::Key;
use serde_json::{Value, json};
use waybill_e2e::{Mode, System, wait_until};
use waybill_upstream::Options;

use crate::chromium::Chromium;

/// Returns what in a page would stop assistive technology.
const FAULTS: &str = r#"
const faults = [];
const need = (holds, fault) => { if (!holds) faults.push(fault); };
need(document.documentElement.lang === "en", "html has no lang");
need(document.querySelectorAll("h1").length === 1, "there is not one h1");
need(document.querySelectorAll("main").length === 1, "there is not one main");
for (const field of document.querySelectorAll("input, select, textarea"))
  need(field.labels.length === 1, `${field.outerHTML} has no label`);
for (const { id } of document.querySelectorAll("[id]"))
  need(document.querySelectorAll(`[id="${id}"]`).length === 1, `the id ${id} is there twice`);
for (const element of document.querySelectorAll("[aria-describedby]"))
  need(document.getElementById(element.getAttribute("aria-describedby")), `${element.outerHTML} is described by nothing`);
return faults;
"#;

/// Returns the element that has the focus, and its outline.
const FOCUS: &str = r#"
const { outlineStyle: style, outlineWidth: width } = getComputedStyle(document.activeElement);
return { element: document.activeElement.outerHTML.split(">")[0], style, width };
"#;

/// Colours and widths in which a page must be readable: a name, `prefers-color-scheme`, a width in pixels.
const LOOKS: [(&str, &str, u32); 4] =
    [("light", "light", 1000), ("dark", "dark", 1000), ("narrow", "light", 320), ("narrow-dark", "dark", 320)];

async fn start() -> System {
    System::start(Mode::OneProcess, Options { control: true, ..Options::default() }).await
}

/// A CSV of so many rows that are well, one that the upstream refuses, and one that is not as it must be.
fn rows(well: u64) -> String {
    let well = (0..well).fold("userId,title,body\n".to_owned(), |csv, n| csv + &format!("{n},row {n},text\n"));
    well + "1,fault:409,text\n,abc,123\n"
}

fn write(system: &System, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = system.folder().join(name);
    std::fs::write(&path, content).expect("a file can be written");
    path
}

async fn choose(page: &Chromium, file: &Path) {
    let file = file.to_str().expect("a path in UTF-8");
    page.find("input[type=file]").await.send_keys(file).await.expect("a file can be chosen");
}

/// Waits for a page with this heading: a click may return before the page that it leads to is there.
async fn heading(page: &Chromium, expected: &str) {
    let what = format!("a page with the heading {expected:?}");
    wait_until(&what, async || page.text("h1").await.filter(|heading| heading == expected)).await;
}

/// Follows from the page of an upload to that of its progress; returns how many rows have been sent by then.
async fn watch(page: &Chromium) -> u64 {
    page.click("main a.button").await;
    wait_until("the page of the operation", async || number(page, "data_out").await).await
}

/// A number of the page of an operation.
async fn number(page: &Chromium, name: &str) -> Option<u64> {
    page.text(&format!("[data-number={name}]")).await?.parse().ok()
}

/// Checks what holds for every page, in every colour and width. Writes pictures of it to the folder that
/// WAYBILL_TEST_SHOTS names, if it is set.
async fn check(page: &Chromium, name: &str) {
    assert_eq!(page.run(FAULTS).await, json!([]), "{name}");
    for element in page.find_all("a, button, input, nav, progress").await {
        let (role, called) = page.role_and_name(&element).await;
        assert!(!called.is_empty(), "{name}: a {role} has no name");
    }
    let shots = std::env::var_os("WAYBILL_TEST_SHOTS").map(PathBuf::from);
    for (look, scheme, width) in LOOKS {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.devtools("Emulation.setEmulatedMedia", media).await;
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        page.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let found = page.run("return [matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]").await;
        assert_eq!(found, json!([scheme == "dark", width]), "{name}");
        let overflow = page.run("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(overflow.as_i64() <= Some(0), "{name}, {look}: {overflow} px too wide");
        if let Some(folder) = &shots {
            std::fs::create_dir_all(folder).expect("a folder can be made");
            std::fs::write(folder.join(format!("{name}-{look}.png")), page.picture().await).expect("a picture");
        }
    }
    page.devtools("Emulation.setEmulatedMedia", json!({ "features": [] })).await;
    page.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_a_file_is_uploaded_by_keyboard_and_its_numbers_move_by_themselves() {
    let system = start().await;
    let page = Chromium::start(true).await;
    page.open(&format!("{}/api/v1/file", system.api)).await;
    heading(&page, "Upload rows").await;
    assert_eq!(page.title().await, "Upload rows – Waybill");
    assert_eq!(page.text("label[for=file]").await.as_deref(), Some("CSV file"));
    check(&page, "form").await;

    choose(&page, &write(&system, "rows.csv", rows(100))).await;
    let mut visited: Vec<String> = Vec::new();
    while !visited.last().is_some_and(|element| element.starts_with("<button")) {
        page.press(Key::Tab).await;
        let focus = page.run(FOCUS).await;
        assert_eq!((&focus["style"], &focus["width"]), (&json!("solid"), &json!("3px")), "{focus}");
        visited.push(focus["element"].as_str().expect("an element").to_owned());
        assert!(visited.len() < 10, "Tab does not reach the button: {visited:#?}");
    }
    assert!(visited[0].contains("skip") && visited[visited.len() - 2].contains("id=\"file\""), "{visited:#?}");
    page.press(Key::Enter).await;
    heading(&page, "Upload received").await;
    assert_eq!(page.title().await, "Upload received – Waybill");
    let id = page.text("code.id").await.expect("the operation's id");
    check(&page, "accepted").await;

    let sent = watch(&page).await;
    let address = page.address().await;
    assert_eq!(address, format!("{}/api/v1/file/check?uuid_id={id}", system.api));
    assert!(page.find_all("meta[http-equiv=refresh]").await.is_empty(), "the script does what a refresh would");
    // Gone with this document.
    page.run("window.isFirst = true").await;
    let moved =
        wait_until("the number to move", async || number(&page, "data_out").await.filter(|now| *now > sent)).await;
    assert!(moved < 100, "{moved}");
    assert!(page.run("return document.querySelector('progress').value").await.as_u64() > Some(sent));
    assert_eq!(page.run("return window.isFirst").await, true, "the page was not loaded again");
    // The page stays as it is meanwhile, and goes on once it reaches the server again.
    page.set_offline(true).await;
    let (role, name) = page.role_and_name(&page.find("progress").await).await;
    assert_eq!((role.as_str(), name.as_str()), ("progressbar", "Rows that have ended"));
    check(&page, "process").await;
    page.set_offline(false).await;
    heading(&page, "Done").await;
    assert_eq!(page.address().await, address);
    assert_eq!(page.run("return window.isFirst").await, Value::Null, "the page has loaded itself again");
    let mut numbers = Vec::new();
    for name in ["data_in", "data_out", "errors"] {
        numbers.push(number(&page, name).await);
    }
    assert_eq!(numbers, [Some(102), Some(100), Some(2)]);
    assert_eq!(page.text("dl > div:last-child dd").await.as_deref(), Some("done"));
    check(&page, "done").await;
    assert_eq!(page.console().await, [] as [String; 0]);

    let url = format!("{}/api/v1/file/download?uuid_id={id}", system.api);
    let link = page.find("main a.button").await;
    assert_eq!(link.attr("download").await.expect("an attribute").as_deref(), Some("result.json"));
    assert_eq!(page.run("return document.querySelector('main a.button').href").await, url.as_str());
    page.open(&url).await;
    let shown = wait_until("the result", async || page.text("pre").await).await;
    let served = reqwest::get(url).await.expect("an answer").text().await.expect("a text");
    assert_eq!(shown, served.trim_end());
    let result: Value = serde_json::from_str(&shown).expect("JSON");
    let rows = result["result"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[99]["result"]), (102, &json!("done")));
    assert_eq!(rows[100], json!({"userId": 1, "result": "error", "postId": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_all_works_without_scripts() {
    let system = start().await;
    let page = Chromium::start(false).await;
    page.open(&format!("{}/api/v1/file", system.api)).await;
    choose(&page, &write(&system, "rows.csv", rows(70))).await;
    page.click("button").await;
    heading(&page, "Upload received").await;
    let sent = watch(&page).await;
    assert!(sent < 70, "{sent}");
    let first = page.find("progress").await;
    page.find("meta[http-equiv=refresh]").await;
    wait_until("the page to be loaded again", async || first.attr("max").await.err()).await;
    heading(&page, "Done").await;
    assert_eq!((number(&page, "data_out").await, number(&page, "errors").await), (Some(70), Some(2)));
    assert!(page.find_all("meta[http-equiv=refresh]").await.is_empty(), "what has ended is not loaded again");
    check(&page, "done-without-scripts").await;
    assert_eq!(page.console().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_a_page_says_what_is_wrong_with_a_file() {
    let system = start().await;
    let page = Chromium::start(true).await;
    let form = format!("{}/api/v1/file", system.api);
    page.open(&form).await;
    page.click("button").await;
    let message = page.find("#file:invalid").await.prop("validationMessage").await.expect("a property");
    assert!(message.is_some_and(|message| !message.is_empty()), "the browser says that a file has to be chosen");

    // A browser that does not know `required` sends it.
    page.run("document.querySelector('form').noValidate = true").await;
    page.click("button").await;
    problem(&page, "No file was chosen").await;
    check(&page, "problem-empty").await;

    // The form is one click away.
    let png = write(&system, "picture.png", b"\x89PNG\r\n\x1a\n");
    let header = write(&system, "header.csv", "user,title,body\n1,a,b\n");
    for (name, file, said) in [
        ("png", png, "expected a CSV file (text/csv), found the type \"image/png\""),
        ("header", header, "The header line lacks `userId`"),
    ] {
        page.click("nav a").await;
        heading(&page, "Upload rows").await;
        choose(&page, &file).await;
        page.click("button").await;
        problem(&page, said).await;
        check(&page, &format!("problem-{name}")).await;
    }
    page.open(&format!("{form}/check?uuid_id=nothing")).await;
    problem(&page, "There is no operation \"nothing\"").await;
    assert_eq!(page.console().await, [] as [String; 0]);
    let jobs = system.get(&system.api, "/v1/jobs").await;
    assert_eq!(jobs["jobs"], json!([]));
}

/// Waits for a page that says what is wrong.
async fn problem(page: &Chromium, said: &str) {
    let what = format!("a page that says {said:?}");
    wait_until(&what, async || page.text(".notice").await.filter(|notice| notice.contains(said))).await;
}
