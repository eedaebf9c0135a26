//! The pages of the relay as people use them: in chromium, with scripts and without, by mouse and by keyboard.

mod chromium;

use std::path::{Path, PathBuf};

use fantoccini::key::Key;
use serde_json::{Value, json};
use waybill_e2e::{Mode, System, wait_until};
use waybill_upstream::Options;

use crate::chromium::Chromium;

/// Returns what is wrong with a page for those who do not see it, or not as others do.
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

/// Returns the element that has the keyboard, and the style and the width of its outline.
const FOCUS: &str = r#"
const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
return [document.activeElement.outerHTML.split(">")[0], outlineStyle, outlineWidth];
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

/// Uploads a file by mouse, and follows to the page that shows its progress.
async fn upload(page: &Chromium, system: &System, file: &Path) {
    page.open(&format!("{}/api/v1/file", system.api)).await;
    choose(page, file).await;
    page.click("button").await;
    assert_eq!(heading(page).await, "Upload received");
    page.click("main a.button").await;
}

async fn heading(page: &Chromium) -> String {
    page.text("h1").await.expect("a heading")
}

/// A number of the page of an operation.
async fn number(page: &Chromium, name: &str) -> Option<u64> {
    page.text(&format!("[data-number={name}]")).await?.parse().ok()
}

/// Waits until the page says that all is done.
async fn done(page: &Chromium) {
    wait_until("the page to say that all is done", async || {
        page.text("h1").await.filter(|heading| heading == "Done").map(drop)
    })
    .await;
}

/// What every page must be, in every colour and width. With WAYBILL_TEST_SHOTS, a folder, pictures of it lie there.
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
async fn a_file_is_uploaded_by_keyboard_and_its_numbers_move_by_themselves() {
    let system = start().await;
    let page = Chromium::start(true).await;
    page.open(&format!("{}/api/v1/file", system.api)).await;
    assert_eq!(page.title().await, "Upload rows – Waybill");
    assert_eq!(heading(&page).await, "Upload rows");
    let label = page.find("label[for=file]").await;
    assert_eq!(label.text().await.expect("a text"), "CSV file");
    let (_, name) = page.role_and_name(&page.find("#file").await).await;
    assert!(name.contains("CSV file"), "{name}");
    check(&page, "form").await;

    choose(&page, &write(&system, "rows.csv", rows(70))).await;
    let mut visited = Vec::new();
    while !visited.last().is_some_and(|element: &String| element.starts_with("<button")) {
        page.press(Key::Tab).await;
        let [element, style, width] =
            page.run(FOCUS).await.as_array().expect("three").clone().try_into().expect("three");
        assert_eq!((&style, &width), (&json!("solid"), &json!("3px")), "the keyboard is at {element}");
        visited.push(element.as_str().expect("an element").to_owned());
        assert!(visited.len() < 10, "the keyboard does not come to the button: {visited:?}");
    }
    assert!(visited[0].contains("skip") && visited[visited.len() - 2].contains("id=\"file\""), "{visited:?}");
    page.press(Key::Enter).await;
    wait_until("the file to be received", async || page.text("code.id").await).await;
    assert_eq!(
        (page.title().await, heading(&page).await),
        ("Upload received – Waybill".to_owned(), "Upload received".to_owned())
    );
    let id = page.text("code.id").await.expect("the operation's id");
    uuid::Uuid::parse_str(&id).expect("an id");
    check(&page, "accepted").await;

    page.click("main a.button").await;
    let address = page.address().await;
    assert_eq!(address, format!("{}/api/v1/file/check?uuid_id={id}", system.api));
    assert!(
        page.find_all("meta[http-equiv=refresh]").await.is_empty(),
        "only without scripts the page is loaded again"
    );
    // Gone with this document.
    page.run("window.isFirst = true").await;
    let sent = number(&page, "data_out").await.expect("a number");
    let moved =
        wait_until("the number to move", async || number(&page, "data_out").await.filter(|now| *now > sent)).await;
    assert!(moved < 70, "{moved}");
    let bar = page.find("progress").await;
    let (role, name) = page.role_and_name(&bar).await;
    assert_eq!((role.as_str(), name.as_str()), ("progressbar", "Rows that have ended"));
    assert!(page.run("return document.querySelector('progress').value").await.as_u64() > Some(sent));
    assert_eq!(page.run("return window.isFirst").await, true, "the page was not loaded again");
    check(&page, "process").await;
    done(&page).await;
    assert_eq!(page.address().await, address);
    assert_eq!(page.run("return window.isFirst").await, Value::Null, "the page has loaded itself again");
    let mut numbers = Vec::new();
    for name in ["data_in", "data_out", "errors"] {
        numbers.push(number(&page, name).await);
    }
    assert_eq!(numbers, [Some(72), Some(70), Some(2)]);
    assert_eq!(page.text("dl > div:last-child dd").await.as_deref(), Some("done"));
    check(&page, "done").await;
    assert_eq!(page.console().await, [], "no page broke its own policy, or anything else");

    page.click("main a.button").await;
    let url = format!("{}/api/v1/file/download?uuid_id={id}", system.api);
    assert_eq!(page.address().await, url);
    let shown: Value = serde_json::from_str(&page.text("pre").await.expect("a text")).expect("JSON");
    let served: Value = reqwest::get(url).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(shown, served);
    let rows = shown["result"].as_array().expect("rows");
    assert_eq!(
        (rows.len(), &rows[69]["result"], &rows[70]),
        (72, &json!("done"), &json!({"userId": 1, "result": "error", "postId": null}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_works_without_scripts() {
    let system = start().await;
    let page = Chromium::start(false).await;
    upload(&page, &system, &write(&system, "rows.csv", rows(35))).await;
    let first = page.find("progress").await;
    page.find("meta[http-equiv=refresh]").await;
    let sent = number(&page, "data_out").await.expect("a number");
    assert!(sent < 35, "{sent}");
    wait_until("the page to be loaded again", async || first.attr("max").await.err()).await;
    done(&page).await;
    assert_eq!((number(&page, "data_out").await, number(&page, "errors").await), (Some(35), Some(2)));
    assert!(page.find_all("meta[http-equiv=refresh]").await.is_empty(), "what has ended is not loaded again");
    check(&page, "done-without-scripts").await;
    assert_eq!(page.console().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_what_is_wrong_with_a_file() {
    let system = start().await;
    let page = Chromium::start(true).await;
    let form = format!("{}/api/v1/file", system.api);
    page.open(&form).await;
    page.click("button").await;
    assert_eq!(heading(&page).await, "Upload rows", "the browser sends no form without a file");
    let invalid = page.find("#file:invalid").await.prop("validationMessage").await.expect("a message");
    assert!(invalid.is_some_and(|message| !message.is_empty()));

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
        assert_eq!(page.address().await, form);
        choose(&page, &file).await;
        page.click("button").await;
        problem(&page, said).await;
        check(&page, &format!("problem-{name}")).await;
    }
    page.open(&format!("{form}/check?uuid_id=nothing")).await;
    problem(&page, "There is no operation \"nothing\"").await;
    let (network, others): (Vec<_>, Vec<_>) =
        page.console().await.into_iter().partition(|(source, _)| source == "network");
    assert_eq!((network.len(), others), (4, Vec::new()), "chromium notes each refusal, and nothing else");
    let jobs = system.get(&system.api, "/v1/jobs").await;
    assert_eq!(jobs["jobs"], json!([]));
}

async fn problem(page: &Chromium, said: &str) {
    let notice = page.text(".notice").await.unwrap_or_default();
    assert!(notice.contains(said), "{notice:?}");
}
