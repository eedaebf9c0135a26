//! What the upstream of a test answers.

/// An answer, or a way not to give one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Hang up after so many bytes of the body.
    pub(super) cut: Option<usize>,
    /// Say nothing, and keep the connection.
    pub(super) silent: bool,
    /// Hang up without a word.
    pub(super) hang_up: bool,
    /// Send the body in chunks, without saying how long it is.
    pub(super) chunked: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::body(value.to_string())
    }

    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    pub(crate) fn hang_up() -> Self {
        Self { hang_up: true, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The part from `start`, as a 206.
    pub(crate) fn from(mut self, start: usize) -> Self {
        let total = self.body.len();
        self.body.drain(..start);
        self.status = 206;
        self.header("Content-Range", format!("bytes {start}-{}/{total}", total - 1))
    }

    pub(super) fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let length = self.body.len();
        match self.chunked {
            _ if self.status == 304 => {}
            true => head += "Transfer-Encoding: chunked\r\n",
            false => head += &format!("Content-Length: {length}\r\n"),
        }
        head + "\r\n"
    }
}
