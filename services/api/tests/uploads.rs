//! Uploads over HTTP: what is taken, what is refused, and that nothing stays of what is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fixture;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use poem::Body;
use serde_json::json;

use crate::fixture::{Answer, Fixture, JSON, MAX_BYTES, field, form};

const ROWS: &str = "userId,title,body\n1,a,b\n,c,d\n";

#[tokio::test]
async fn a_job_takes_its_file_as_the_body() {
    let fixture = Fixture::new().await;
    let answer = fixture.post_csv("/v1/jobs?source=relay", ROWS).await;
    let job = answer.json();
    assert_eq!((answer.status, job["source"].as_str(), job["state"].as_str()), (202, Some("relay"), Some("queued")));
    assert_eq!(answer.header("location"), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    let job = job["id"].as_str().unwrap().parse().unwrap();
    let upload = fixture.ledger.request(job).await.unwrap().unwrap().upload.clone().unwrap();
    assert_eq!((upload.rows, upload.bytes, upload.by.as_deref()), (Some(2), ROWS.len() as u64, None));
    let bytes = fixture.ledger.read_upload(&upload, 0, 1_000).await.unwrap().unwrap();
    assert_eq!(bytes, ROWS);
    assert_eq!(fixture.get(&format!("/v1/jobs/{job}"), JSON).await.json()["rows"]["total"], 2);
}

#[tokio::test]
async fn the_same_key_with_the_same_file_is_one_job_and_one_upload() {
    let fixture = Fixture::new().await;
    let post = async |rows: &'static str| {
        let request = fixture.client.post("/v1/jobs?source=relay").content_type("text/csv; charset=utf-8");
        Answer::of(request.header("Idempotency-Key", "monday").body(rows)).await
    };
    let (first, again) = (post(ROWS).await, post(ROWS).await);
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = post("userId,title,body\n2,a,b\n").await;
    assert!(other.problem().starts_with("422 /problems/idempotency-key-reused"), "{}", other.text);
    let uploads = fixture.left().await.into_iter().filter(|key| key.starts_with("uploads/")).count();
    assert_eq!(uploads, 2, "a file and what is known of it");
}

#[tokio::test]
async fn a_file_is_sent_first_and_named_later() {
    let fixture = Fixture::new().await;
    let sent = fixture.post_csv("/v1/uploads?source=relay", ROWS).await;
    let upload = sent.json();
    let id = upload["id"].as_str().unwrap();
    assert_eq!((sent.status, sent.header("location")), (201, format!("/v1/uploads/{id}").as_str()));
    insta::assert_snapshot!(sent.text.replace(id, "{id}"), @r#"{"bytes":29,"id":"{id}","rows":2,"sha256":"608f379b3cfeacad661b0baa99b7bd0438349223ae77640ceaa031581ef6c5cf","source":"relay"}"#);
    assert_eq!(fixture.get(sent.header("location"), JSON).await.json(), upload);

    let submit = async |body| fixture.post_json("/v1/jobs", body).await;
    let job = submit(json!({"source": "relay", "upload": id})).await;
    assert_eq!(job.status, 202, "{}", job.text);
    let mut refused = String::new();
    for body in [
        json!({"source": "relay"}),
        json!({"source": "relay", "upload": "monday"}),
        json!({"source": "relay", "upload": "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88"}),
        json!({"source": "buses", "params": {"date": "2024-05-01"}, "upload": id}),
    ] {
        refused += &(submit(body).await.problem() + "\n");
    }
    for path in [
        "/v1/jobs?source=buses&date=2024-05-01",
        "/v1/uploads?source=buses",
        "/v1/jobs",
        "/v1/jobs?source=x",
        "/v1/jobs?source=relay&date=1",
    ] {
        refused += &(fixture.post_csv(path, ROWS).await.problem() + "\n");
    }
    refused +=
        &Answer::of(fixture.client.post("/v1/jobs?source=relay").content_type("image/png").body("x")).await.problem();
    refused += "\n";
    refused += &Answer::of(fixture.client.post("/v1/uploads?source=relay").body("x")).await.problem();
    insta::assert_snapshot!(refused, @r#"
    422 /problems/upload-required: the items of the source `relay` are the rows of a CSV, and this job comes without one
    422 /problems/invalid-body: `upload`: expected the id of an upload, as `POST /v1/uploads` answers it, found "monday"
    422 /problems/unknown-upload: there is no upload 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88 that a job may name: it waits for its job for a day
    422 /problems/upload-not-taken: the source `buses` takes no file: leave it out (`--file`, `upload`), and submit its job in JSON
    422 /problems/upload-not-taken: the source `buses` takes no file: leave it out (`--file`, `upload`), and submit its job in JSON
    422 /problems/upload-not-taken: the source `buses` takes no file: leave it out (`--file`, `upload`), and submit its job in JSON
    400 /problems/invalid-parameter: parameter `source`: expected the name of a source, as in `?source=relay`, found nothing
    404 /problems/unknown-source: there is no source called "x"; expected one of `author`, `book`, `buses`, `movie`, `relay`, `review`, `stream`, `user`, `weather`
    400 /problems/invalid-parameter: parameter `date`: unknown; this route has only `source`
    415 /problems/unsupported-media-type: header `Content-Type`: expected application/json, text/csv or application/x-ndjson, found "image/png"
    415 /problems/unsupported-media-type: header `Content-Type`: expected text/csv, found none
    "#);
}

#[tokio::test]
async fn a_file_that_is_loaded_is_received_in_its_format() {
    let fixture = Fixture::new().await;
    let post = async |path: &str, content_type: &str, body: &'static str| {
        Answer::of(fixture.client.post(path).content_type(content_type).body(body)).await
    };
    let sent = post("/v1/uploads?source=author", JSON, "[{\"metadata\":{\"name\":\"a\"}}]").await;
    let upload = sent.json();
    let id = upload["id"].as_str().unwrap();
    assert_eq!((sent.status, upload.get("rows")), (201, None), "{}", sent.text);
    let job = fixture.post_json("/v1/jobs", json!({"source": "author", "upload": id})).await;
    assert_eq!((job.status, &job.json()["links"]["result"]), (202, &json!(null)), "{}", job.text);
    let result = format!("/v1/jobs/{}/result", job.json()["id"].as_str().unwrap());
    assert_eq!(fixture.get(&result, JSON).await.status, 404);
    let movies = post("/v1/jobs?source=movie", "text/csv; charset=utf-8", "size_mb,title\n1,a\n").await;
    assert_eq!(movies.status, 202, "{}", movies.text);
    let keys: Vec<_> = fixture.left().await.into_iter().filter(|key| key.starts_with("uploads/")).collect();
    let mut names: Vec<_> = keys.iter().map(|key| key.split_once('.').unwrap().1).collect();
    names.sort_unstable();
    assert_eq!(names, ["csv", "file.json", "json", "json"]);
    for key in keys.iter().filter(|key| key.ends_with(".file.json")) {
        assert_eq!(fixture.store.head(key).await.unwrap().unwrap().size, 27);
    }

    let mut refused = String::new();
    for (path, content_type, body) in [
        ("/v1/uploads?source=author", "text/csv", "name\na\n"),
        ("/v1/uploads?source=author", JSON, "name\na\n"),
        ("/v1/uploads?source=author", JSON, ""),
        ("/v1/uploads?source=movie", JSON, "[]"),
        ("/v1/uploads?source=movie", "text/csv", "name\na\n"),
        ("/v1/jobs?source=movie", "application/x-ndjson", "{}"),
        ("/v1/jobs?source=movie", "text/csv", ""),
    ] {
        refused += &(post(path, content_type, body).await.problem() + "\n");
    }
    refused += &fixture.post_json("/v1/jobs", json!({"source": "movie"})).await.problem();
    insta::assert_snapshot!(refused, @r#"
    415 /problems/unsupported-media-type: header `Content-Type`: expected application/json, found "text/csv"
    422 /problems/invalid-upload: record 1, byte 0: expected an array of records, found name
    422 /problems/invalid-upload: record 1, byte 0: expected an array of records, found end of file
    415 /problems/unsupported-media-type: header `Content-Type`: expected text/csv, found "application/json"
    422 /problems/invalid-upload: the header line lacks `title`, `duration_mins`, `original_language`, `size_mb`, and has `name`: names must be equal to the letter
    415 /problems/unsupported-media-type: header `Content-Type`: expected text/csv, found "application/x-ndjson"
    422 /problems/invalid-upload: the file is empty: its first line must name the columns `title`
    422 /problems/upload-required: a job of the source `movie` loads a file, and this one comes without
    "#);
    assert_eq!(fixture.left().await.iter().filter(|key| key.starts_with("uploads/")).count(), 4);
}

#[tokio::test]
async fn only_the_beginning_of_a_loaded_file_is_read() {
    let fixture = Fixture::new().await;
    let rows = "title,size_mb\n".to_owned() + &"a,x\n".repeat(20_000) + "\"";
    assert!(rows.len() > 65_536);
    let answer = fixture.post_csv("/v1/jobs?source=movie", rows).await;
    assert_eq!(answer.status, 202, "its rows are the load's matter: {}", answer.text);
}

#[tokio::test]
async fn an_upload_belongs_to_the_key_that_sent_it() {
    let fixture = Fixture::with_keys(&[&["submit", "read"], &["submit", "read"], &["admin"], &["read"]]).await;
    let bearer = |key: usize| format!("Bearer {}", fixture.keys[key].key);
    let post = || fixture.client.post("/v1/uploads?source=relay").content_type("text/csv").body(ROWS);
    assert_eq!(Answer::of(post().header("authorization", bearer(3))).await.status, 403);
    let upload = Answer::of(post().header("authorization", bearer(0))).await.json();
    let id = upload["id"].as_str().unwrap();
    for (key, status) in [(1, 403), (0, 202), (2, 202)] {
        let body = json!({"source": "relay", "upload": id}).to_string();
        let answer = fixture.client.post("/v1/jobs").content_type(JSON).body(body);
        let answer = Answer::of(answer.header("authorization", bearer(key))).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let seen = fixture.client.get(format!("/v1/uploads/{id}")).header("authorization", bearer(key));
        let seen = Answer::of(seen).await;
        assert_eq!(seen.status == 200, status == 202);
    }
}

#[tokio::test]
async fn a_bad_file_is_refused_and_nothing_stays() {
    let fixture = Fixture::new().await;
    let cut = || {
        let chunks = [Ok(Bytes::from(ROWS)), Err(std::io::Error::other("connection reset"))];
        Body::from_bytes_stream(stream::iter(chunks))
    };
    let large = || {
        let header = stream::iter([Ok::<_, std::io::Error>(Bytes::from("userId,title,body\n"))]);
        let rows = stream::repeat_with(|| Ok(Bytes::from("1,a,b\n".repeat(1_000))));
        Body::from_bytes_stream(header.chain(rows))
    };
    let files: [(&str, &dyn Fn() -> Body); 10] = [
        ("empty", &|| "".into()),
        ("header only", &|| "userId,title,body\n".into()),
        ("no header", &|| "\n1,a,b\n".into()),
        ("missing column", &|| "userId,title\n1,a\n".into()),
        ("semicolons", &|| "userId;title;body\n1;a;b\n".into()),
        ("PNG", &|| b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec().into()),
        ("not UTF-8", &|| b"userId,title,body\n1,a,\xe9\n".to_vec().into()),
        ("twice", &|| "userId,title,body,title\n1,a,b,c\n".into()),
        ("cut", &cut),
        ("too large", &large),
    ];
    let mut seen = String::new();
    for (name, file) in files {
        let alone = fixture.post_csv("/v1/jobs?source=relay", file()).await.problem();
        let upload = fixture.post_csv("/v1/uploads?source=relay", file()).await.problem();
        assert_eq!(alone, upload);
        let (before, after) = (field("file", "rows.csv", "text/csv", ""), "\r\n--XX--\r\n");
        let before = Bytes::from(before.trim_end_matches("\r\n").to_owned() + "\r\n\r\n");
        let ends = |bytes| stream::iter([Ok(bytes)]);
        let form = ends(before).chain(file().into_bytes_stream()).chain(ends(Bytes::from(after)));
        let form = fixture.post_form(Body::from_bytes_stream(form), JSON).await.problem();
        assert_eq!(alone, form, "{name}");
        seen += &format!("{name}: {alone}\n");
    }
    let announced = fixture.client.post("/v1/jobs?source=relay").content_type("text/csv").body("x");
    let announced = Answer::of(announced.header("Content-Length", MAX_BYTES + 1)).await;
    seen += &announced.problem();
    insta::assert_snapshot!(seen, @r#"
    empty: 422 /problems/invalid-upload: the file is empty: its first line must name the columns `userId`, `title`, `body`
    header only: 422 /problems/invalid-upload: the file has a header line and no rows: add a line for each row
    no header: 422 /problems/invalid-upload: the header line lacks `userId`, `title`, `body`: it is an empty line
    missing column: 422 /problems/invalid-upload: the header line lacks `body`, and has `userId`, `title`: names must be equal to the letter
    semicolons: 422 /problems/invalid-upload: the header line lacks `userId`, `title`, `body`, and has `userId;title;body`: columns seem to be separated by `;`; save the file with `,`
    PNG: 422 /problems/invalid-upload: the file is a PNG image: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    not UTF-8: 422 /problems/invalid-upload: line 2, byte 22: expected UTF-8, found \xe9: save the file as UTF-8
    twice: 422 /problems/invalid-upload: the header line has the column `title` more than once: leave one, since each row has one value of it
    cut: 400 /problems/invalid-body: the body ended before it was complete
    too large: 413 /problems/payload-too-large: the body is too large; expected at most 200000 bytes
    413 /problems/payload-too-large: the body is too large; expected at most 200000 bytes
    "#);
    assert_eq!(fixture.left().await, [""; 0]);
}

#[tokio::test]
async fn a_bad_form_is_refused_and_nothing_stays() {
    let fixture = Fixture::new().await;
    let whole = form(ROWS);
    let csv = |name| field("file", name, "application/octet-stream", ROWS);
    let forms = [
        ("no field", "--XX--\r\n".to_owned()),
        ("empty", String::new()),
        ("another field", field("data", "rows.csv", "text/csv", ROWS) + "--XX--\r\n"),
        ("two fields", field("file", "rows.csv", "text/csv", ROWS) + &whole),
        ("no file chosen", field("file", "", "application/octet-stream", "") + "--XX--\r\n"),
        ("PNG", field("file", "rows.csv", "image/png", ROWS) + "--XX--\r\n"),
        ("octets", csv("rows.bin") + "--XX--\r\n"),
        (
            "no type",
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"rows.csv\"\r\n\r\n".to_owned()
                + ROWS
                + "\r\n--XX--",
        ),
        ("no closing boundary", whole.replace("--XX--\r\n", "")),
        ("cut in the boundary", whole[..whole.len() - 4].to_owned()),
        ("cut in a row", whole[..whole.len() - 20].to_owned()),
        ("cut in the head", whole[..40].to_owned()),
    ];
    let mut seen = String::new();
    for (name, form) in forms {
        seen += &format!("{name}: {}\n", fixture.post_form(form, JSON).await.problem());
    }
    for content_type in ["text/csv", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let request = fixture.client.post("/api/v1/file").content_type(content_type).header("Accept", JSON);
        seen += &format!("{content_type}: {}\n", Answer::of(request.body(whole.clone())).await.problem());
    }
    insta::assert_snapshot!(seen, @r#"
    no field: 422 /problems/invalid-body: the form has no field `file`
    empty: 400 /problems/invalid-body: the form ended before it was complete
    another field: 422 /problems/invalid-body: the form has no field `file`
    two fields: 422 /problems/invalid-body: the form has more than one field `file`
    no file chosen: 422 /problems/invalid-body: no file was chosen
    PNG: 415 /problems/unsupported-media-type: field `file`: expected a CSV file (text/csv), found the type "image/png"
    octets: 415 /problems/unsupported-media-type: field `file`: expected a CSV file (text/csv), found the type "application/octet-stream"
    no type: 415 /problems/unsupported-media-type: field `file`: expected a CSV file (text/csv), found the type none
    no closing boundary: 400 /problems/invalid-body: the form ended before it was complete
    cut in the boundary: 400 /problems/invalid-body: the form ended before it was complete
    cut in a row: 400 /problems/invalid-body: the form ended before it was complete
    cut in the head: 400 /problems/invalid-body: the form ended before it was complete
    text/csv: 415 /problems/unsupported-media-type: header `Content-Type`: expected multipart/form-data, found "text/csv"
    application/x-www-form-urlencoded: 415 /problems/unsupported-media-type: header `Content-Type`: expected multipart/form-data, found "application/x-www-form-urlencoded"
    multipart/form-data: 400 /problems/invalid-body: the form cannot be read: multipart boundary not found in Content-Type
    "#);
    assert_eq!(fixture.left().await, [""; 0]);
    // As browsers on Windows send it.
    for content_type in ["application/vnd.ms-excel", "application/octet-stream", "Text/CSV"] {
        let form = field("file", "ROWS.CSV", content_type, ROWS) + "--XX--\r\n";
        assert_eq!(fixture.post_form(form, JSON).await.status, 201, "{content_type}");
    }
}

#[tokio::test]
async fn four_files_come_at_once_and_one_more_is_told_to_wait() {
    let fixture = Fixture::new().await;
    let endless = || {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(ROWS))]);
        Body::from_bytes_stream(begun.chain(stream::pending()))
    };
    let mut uploads: Vec<_> =
        (0..4).map(|_| fixture.post_csv("/v1/jobs?source=relay", endless()).boxed_local()).collect();
    for upload in &mut uploads {
        assert!(upload.now_or_never().is_none());
    }
    let refused = fixture.post_csv("/v1/uploads?source=relay", ROWS).await;
    insta::assert_snapshot!(refused.problem(), @"503 /problems/too-many-uploads: 4 uploads are under way here, which is as many as are taken at once");
    assert_eq!(refused.header("retry-after"), "10");
    uploads.pop();
    assert_eq!(fixture.post_csv("/v1/uploads?source=relay", ROWS).await.status, 201);
}
