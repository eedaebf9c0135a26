//! A chromium that a test drives by WebDriver, beside the chromedriver that starts and ends it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Stdio,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use url::Url;
use waybill_e2e::required;

/// Far beyond what the start of a browser takes.
const START: Duration = Duration::from_secs(60);
/// Far beyond what the end of a browser takes.
const END: Duration = Duration::from_secs(10);

/// A browser with an empty profile and one window.
pub(crate) struct Chromium {
    client: Client,
    _driver: Driver,
}

impl Chromium {
    /// Starts one. `has_scripts`: whether it runs the scripts of pages.
    pub(crate) async fn start(has_scripts: bool) -> Self {
        let driver = Driver::start().await;
        let capabilities = json!({
            "goog:chromeOptions": {
                // Neither root nor most containers can have a sandbox; all pages are our own.
                "args": ["--headless=new", "--no-sandbox", "--window-size=1000,900"],
                "prefs": { "profile.managed_default_content_settings.javascript": if has_scripts { 1 } else { 2 } },
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let url = format!("http://127.0.0.1:{}", driver.port);
        let client = timeout(START, builder.capabilities(capabilities).connect(&url)).await;
        let client = client.expect("chromium starts in time").expect("chromium can be started");
        Self { client, _driver: driver }
    }

    /// Opens an address.
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page can be opened");
    }

    /// The element that a selector matches first; it must be there.
    pub(crate) async fn find(&self, css: &str) -> Element {
        self.client.find(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// All elements that a selector matches.
    pub(crate) async fn find_all(&self, css: &str) -> Vec<Element> {
        self.client.find_all(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// The text that the element shows; none where it is not there, or goes away because another page is loaded.
    pub(crate) async fn text(&self, css: &str) -> Option<String> {
        self.client.find(Locator::Css(css)).await.ok()?.text().await.ok()
    }

    /// The title of the page.
    pub(crate) async fn title(&self) -> String {
        self.client.title().await.expect("a page has a title")
    }

    /// The address of the page.
    pub(crate) async fn address(&self) -> String {
        self.client.current_url().await.expect("a page has an address").into()
    }

    /// Clicks on an element. The page that it leads to may come later.
    pub(crate) async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Presses a key, and lets it go.
    pub(crate) async fn press(&self, key: Key) {
        let value = key.into();
        let keys = KeyActions::new("keyboard".to_owned());
        let keys = keys.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        self.client.perform_actions(keys).await.expect("a key can be pressed");
    }

    /// What a script of the test returns. It runs where scripts of pages may not, too.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The window as a PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a picture can be taken")
    }

    /// What has come to the console since the last call: violations of the policy, and what scripts got wrong. Leaves out
    /// that a request was refused or could not be sent, which chromium notes there too.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.issue("se/log", Some(json!({ "type": "browser" }))).await;
        let entries = entries.as_array().expect("a list of entries").iter();
        entries.filter(|entry| entry["source"] != "network").map(Value::to_string).collect()
    }

    /// What assistive technology reads an element out as: its role and its name.
    pub(crate) async fn role_and_name(&self, element: &Element) -> (String, String) {
        let id = element.element_id();
        let [role, name] = ["computedrole", "computedlabel"].map(|what| format!("element/{}/{what}", id.as_ref()));
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        (text(self.issue(&role, None).await), text(self.issue(&name, None).await))
    }

    /// Takes the page's network away, or gives it back.
    pub(crate) async fn set_offline(&self, is_offline: bool) {
        let conditions =
            json!({ "offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        // Without it conditions are taken, and change nothing.
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    /// Sends a command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) {
        self.issue("goog/cdp/execute", Some(json!({ "cmd": command, "params": parameters }))).await;
    }

    async fn issue(&self, path: &str, body: Option<Value>) -> Value {
        let command = ChromeCommand { path: path.to_owned(), body };
        self.client.issue_cmd(command).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// A command that the client has no method for: with a body a POST, otherwise a GET.
#[derive(Debug)]
struct ChromeCommand {
    path: String,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for ChromeCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        let method = if self.body.is_some() { http::Method::POST } else { http::Method::GET };
        (method, self.body.as_ref().map(Value::to_string))
    }
}

/// A chromedriver on a port of its own.
struct Driver {
    port: u16,
    _process: Child,
    // Open as long as it runs, since it may print more.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    async fn start() -> Self {
        let mut command = Command::new(required("WAYBILL_TEST_CHROMEDRIVER"));
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("chromedriver can be started");
        let mut output = BufReader::new(process.stdout.take().expect("stdout is a pipe")).lines();
        let port = timeout(START, port(&mut output)).await.expect("chromedriver says its port in time");
        Self { port, _process: process, _output: output }
    }
}

/// The port that chromedriver prints once it listens.
async fn port(output: &mut Lines<BufReader<ChildStdout>>) -> u16 {
    let mut said = String::new();
    while let Some(line) = output.next_line().await.expect("chromedriver prints UTF-8") {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port");
        }
        said += &format!("{line}\n");
    }
    panic!("chromedriver ended without a port; it printed: {said}");
}

impl Drop for Driver {
    /// A chromedriver that is killed leaves its browser behind; one that is asked to end takes it along.
    fn drop(&mut self) {
        let shut_down = || {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            connection.set_read_timeout(Some(END))?;
            connection.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            connection.read_to_end(&mut Vec::new())
        };
        if let Err(error) = shut_down() {
            eprintln!("chromedriver was killed, and may have left a browser: {error}");
        }
    }
}
