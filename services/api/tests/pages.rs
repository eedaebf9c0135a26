//! The pages and the JSON of the relay system.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fixture;

use waybill_ledger::RowTally;

use crate::fixture::{Answer, BROWSER, Fixture, JSON, form};

const ROWS: &str = "userId,title,body\n1,a,b\n,c,d\n3,e,f\n";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page without what differs from build to build.
fn stable(html: &str, id: impl ToString) -> String {
    let html = html.replace(&id.to_string(), "{id}");
    let parts: Vec<_> = html.split("?v=").collect();
    let rest = parts[1..].iter().map(|part| part.split_once('"').unwrap().1);
    std::iter::once(parts[0]).chain(rest).collect::<Vec<_>>().join("?v={v}\"")
}

#[tokio::test]
async fn a_file_is_uploaded_watched_and_its_result_downloaded() {
    let fixture = Fixture::new().await;
    let job = fixture.operation(ROWS).await;
    let check = format!("/api/v1/file/check?uuid_id={job}");
    let download = format!("/api/v1/file/download?uuid_id={job}");
    insta::assert_snapshot!(fixture.get(&check, JSON).await.text, @r#"{"data_in":3,"data_out":0,"errors":0,"result":"process"}"#);
    assert_eq!(fixture.get(&download, JSON).await.text, "{\"result\": []}\n");

    fixture.planned(job, 3).await;
    let first = r#"{"line":2,"userId":1,"result":"done","postId":101}
{"line":3,"userId":null,"result":"error","postId":null,"reason":"column `userId`: expected an integer, found nothing"}
"#;
    fixture
        .ended(
            job,
            2,
            "{\"line\":5,\"userId\":4,\"result\":\"unknown\",\"postId\":null}",
            RowTally { unknown: 1, ..RowTally::default() },
        )
        .await;
    fixture.ended(job, 0, first, RowTally { done: 1, errors: 1, unknown: 0 }).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let page = fixture.get(&check, BROWSER).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("content-security-policy"), page.header("vary")), (POLICY, "Accept"));
    assert_eq!((page.header("x-content-type-options"), page.header("cache-control")), ("nosniff", "no-store"));
    assert_eq!(page.header("referrer-policy"), "same-origin");
    insta::assert_snapshot!(stable(&page.text, job), @r##"
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Rows are being sent – Waybill</title>
    <link rel="stylesheet" href="/assets/waybill.css?v={v}">
    <script src="/assets/progress.js?v={v}" defer></script>
    <noscript><meta http-equiv="refresh" content="3"></noscript>
    </head>
    <body>
    <a class="skip" href="#content">Skip to the content</a>
    <header>
    <p class="brand">Waybill</p>
    <nav aria-label="Pages">
    <ul>
    <li><a href="/api/v1/file">Upload</a></li>
    <li><a href="/docs">API</a></li>
    </ul>
    </nav>
    </header>
    <main id="content">
    <h1>Rows are being sent</h1>

    <p>The numbers on this page stay up to date by themselves. You can close it, and come back to its address later.</p>
    <div class="card" data-live>
    <progress aria-label="Rows that have ended" max="3" value="3">3 of 3</progress>
    <dl class="numbers" aria-live="polite">
    <div><dt>In the file</dt><dd data-number="data_in">3</dd></div>
    <div><dt>Sent</dt><dd data-number="data_out">1</dd></div>
    <div><dt>Errors</dt><dd data-number="errors">1</dd></div>
    <div><dt>Unknown</dt><dd data-number="unknown">1</dd></div>
    <div><dt>Result</dt><dd>process</dd></div>
    </dl>
    </div>
    <p>Rows with errors were not sent, or the API refused them. In the result they say <code>error</code>.</p>
    <p>Of rows that are unknown the answer was lost, so that the API may have them or not. They are not sent again by
    themselves.</p>
    <p><a class="button" download="result.json" href="/api/v1/file/download?uuid_id={id}">Download the result so far</a></p>
    <p class="meta">Operation <code class="id">{id}</code>, <a href="/v1/jobs/{id}">as a job in JSON</a></p>
    </main>
    </body>
    </html>
    "##);
    insta::assert_snapshot!(fixture.get(&check, JSON).await.text, @r#"{"data_in":3,"data_out":1,"errors":1,"result":"process","unknown":1}"#);
    let so_far = fixture.get(&download, BROWSER).await;
    assert_eq!(so_far.header("waybill-pending-jobs"), job.to_string());
    assert_eq!(so_far.header("content-type"), "application/json; charset=utf-8");
    insta::assert_snapshot!(so_far.text, @r#"{"result": [{"userId":1,"result":"done","postId":101}, {"userId":null,"result":"error","postId":null}, {"userId":4,"result":"unknown","postId":null}]}"#);

    fixture
        .ended(
            job,
            1,
            "{\"line\":4,\"userId\":3,\"result\":\"done\",\"postId\":102}\n",
            RowTally { done: 1, ..RowTally::default() },
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(fixture.get(&check, JSON).await.json()["result"], "done");
    let page = fixture.get(&check, BROWSER).await.text;
    assert!(!page.contains("data-live") && !page.contains("<script") && page.contains("<h1>Done</h1>"), "{page}");
    let whole = fixture.get(&download, JSON).await;
    assert_eq!(whole.response.header("waybill-pending-jobs"), None);
    let results: Vec<_> = whole.json()["result"].as_array().unwrap().iter().map(|row| row["userId"].clone()).collect();
    assert_eq!(serde_json::to_string(&results).unwrap(), "[1,null,3,4]");
}

#[tokio::test]
async fn a_result_larger_than_a_piece_is_whole() {
    let fixture = Fixture::new().await;
    let job = fixture.operation(ROWS).await;
    fixture.planned(job, 2).await;
    let lines = |task: u64| -> String {
        let line = |n| format!("{{\"line\":{n},\"userId\":{},\"result\":\"done\",\"postId\":1}}\n", task * 30_000 + n);
        (0..30_000).map(line).collect()
    };
    for task in [0, 1] {
        fixture.ended(job, task, &lines(task.into()), RowTally::default()).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let answer = fixture.get(&format!("/api/v1/file/download?uuid_id={job}"), JSON).await.json();
    let ids: Vec<_> = answer["result"].as_array().unwrap().iter().map(|row| row["userId"].as_u64().unwrap()).collect();
    assert!(ids.into_iter().eq(0..60_000));
    // The same with the line of the file and the reason.
    let answer = fixture.get(&format!("/v1/jobs/{job}/result"), JSON).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.text == lines(0) + &lines(1));
    let other = fixture.get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/result", JSON).await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn the_form_answers_a_page_or_json() {
    let fixture = Fixture::new().await;
    let page = fixture.get("/api/v1/file", BROWSER).await;
    assert_eq!((page.status, page.header("content-security-policy")), (200, POLICY));
    insta::assert_snapshot!(stable(&page.text, "no id"), @r##"
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Upload rows – Waybill</title>
    <link rel="stylesheet" href="/assets/waybill.css?v={v}">
    </head>
    <body>
    <a class="skip" href="#content">Skip to the content</a>
    <header>
    <p class="brand">Waybill</p>
    <nav aria-label="Pages">
    <ul>
    <li><a href="/api/v1/file" aria-current="page">Upload</a></li>
    <li><a href="/docs">API</a></li>
    </ul>
    </nav>
    </header>
    <main id="content">
    <h1>Upload rows</h1>
    <p>Choose a CSV file. Each of its rows is sent to the API, as fast as the API's limit allows. Large files are fine: the
    file is checked while it arrives, and nothing is sent before it is whole.</p>
    <form class="card" method="post" enctype="multipart/form-data">
    <label for="file">CSV file</label>
    <input id="file" name="file" type="file" accept=".csv,text/csv" required aria-describedby="file-hint">
    <p id="file-hint" class="hint">Text in UTF-8, with the columns <code>userId</code>, <code>title</code>, <code>body</code> in its first line. At most 10 GB.</p>
    <button type="submit">Upload</button>
    </form>
    <h2>What happens next</h2>
    <p>You get an operation id. With it you can watch how many rows were sent, and download how each of them ended. A row that is
    not as it must be is reported, and does not stop the others.</p>
    </main>
    </body>
    </html>
    "##);

    let sent = fixture.post_form(form(ROWS), "*/*").await;
    let job = sent.header("location").strip_prefix("/v1/jobs/").unwrap();
    assert_eq!((sent.status, sent.header("content-type")), (201, "text/html; charset=utf-8"));
    insta::assert_snapshot!(stable(&sent.text, job).split_once("<main").unwrap().1, @r#"
     id="content">
    <h1>Upload received</h1>
    <p>The file has 3 rows. They will be sent in the background: you can close
    this page. Keep the operation id to come back.</p>
    <div class="card">
    <dl class="numbers">
    <div><dt>Operation id</dt><dd><code class="id">{id}</code></dd></div>
    </dl>
    </div>
    <p><a class="button" href="/api/v1/file/check?uuid_id={id}">Watch its progress</a></p>
    <p><a href="/api/v1/file">Upload another file</a></p>
    </main>
    </body>
    </html>
    "#);
    let sent = fixture.post_form(form(ROWS), JSON).await;
    assert_eq!(sent.header("location"), format!("/v1/jobs/{}", sent.json()["uuid_id"].as_str().unwrap()));
}

#[tokio::test]
async fn what_is_wrong_is_a_page_for_a_browser_and_escaped() {
    let fixture = Fixture::new().await;
    let buses =
        fixture.post_json("/v1/jobs", serde_json::json!({"source": "buses", "params": {"date": "2024-05-01"}})).await;
    let buses = buses.json()["id"].as_str().unwrap().to_owned();
    for id in ["018f3253-7a40-7c21-9d5e-6b1f0a2c4e88", "%3Cscript%3E", "", &buses] {
        for path in ["check", "download"] {
            let path = format!("/api/v1/file/{path}?uuid_id={id}");
            let (page, problem) = (fixture.get(&path, BROWSER).await, fixture.get(&path, JSON).await);
            assert_eq!((page.status, problem.status), (404, 404), "{path}");
            assert_eq!(problem.json()["type"], "/problems/not-found");
            let is_page = page.header("content-type").starts_with("text/html");
            assert_eq!(is_page, path.contains("check"), "{path}");
            assert!(!is_page || !page.text.contains("<script>"), "{}", page.text);
        }
    }
    let wrong = fixture.get("/api/v1/file/check?uuid_id=%3Cscript%3E", BROWSER).await;
    insta::assert_snapshot!(wrong.text.split_once("<main").unwrap().1, @r#"
     id="content">
    <h1>Not found</h1>
    <p class="notice">There is no operation &quot;&lt;script&gt;&quot;; it may be a job of another source, or have been deleted after 90 days.</p>
    <p class="meta">Status 404, &#x2f;problems&#x2f;not-found</p>
    </main>
    </body>
    </html>
    "#);
    assert_eq!(wrong.header("content-security-policy"), POLICY);
    let missing = fixture.get("/api/v1/file/check", BROWSER).await;
    assert_eq!((missing.status, missing.header("content-type")), (400, "text/html; charset=utf-8"));
    let refused = fixture.post_form(form("a,b\n1,2\n"), BROWSER).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("The header line lacks `userId`"), "{}", refused.text);
}

#[tokio::test]
async fn with_keys_a_browser_reads_what_to_do() {
    let fixture = Fixture::with_keys(&[&["read"]]).await;
    let page = fixture.get("/api/v1/file", BROWSER).await;
    assert_eq!((page.status, page.header("www-authenticate")), (401, "Bearer"));
    insta::assert_snapshot!(page.text.split_once("<main").unwrap().1, @r#"
     id="content">
    <h1>Unauthorized</h1>
    <p class="notice">This needs an API key that is valid here.</p>
    <p>This Waybill answers requests that carry an API key which may do this. A browser sends none with a page or a form.
    Use a program that does, or ask the operator for a proxy that signs people in and adds the key to what their browsers
    send.</p>
    <pre><code>export WAYBILL_API_KEY=wb_…
    waybill submit relay --file rows.csv --wait
    curl -H &quot;Authorization: Bearer $WAYBILL_API_KEY&quot; -F &#x27;file=@rows.csv;type=text&#x2f;csv&#x27; https:&#x2f;&#x2f;…&#x2f;api&#x2f;v1&#x2f;file</code></pre>
    <p class="meta">Status 401, &#x2f;problems&#x2f;unauthorized</p>
    </main>
    </body>
    </html>
    "#);
    let request = fixture.client.get("/api/v1/file").header("authorization", format!("Bearer {}", fixture.keys[0].key));
    let page = Answer::of(request).await;
    assert!(page.status == 200 && page.text.contains("behind a proxy"), "{}", page.text);
}

#[tokio::test]
async fn what_pages_load_is_there_without_a_key_and_kept() {
    let fixture = Fixture::with_keys(&[&["read"]]).await;
    let page = fixture.get("/api/v1/file", BROWSER).await.text;
    let href = page.split_once("href=\"/assets/").unwrap().1.split_once('"').unwrap().0;
    let css = fixture.get(&format!("/assets/{href}"), "text/css").await;
    assert_eq!((css.status, css.header("content-type")), (200, "text/css; charset=utf-8"));
    assert_eq!(css.header("cache-control"), "public, max-age=31536000, immutable");
    let again = fixture.client.get("/assets/waybill.css").header("If-None-Match", css.header("etag").to_owned());
    assert_eq!(Answer::of(again).await.status, 304);
    let script = fixture.get("/assets/progress.js", "*/*").await;
    assert_eq!(
        (script.header("content-type"), script.header("cache-control")),
        ("text/javascript; charset=utf-8", "no-cache")
    );
}
