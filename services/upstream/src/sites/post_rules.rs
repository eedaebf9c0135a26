//! What a post meets: the limit over a window, faults by chance, and faults that its title asks for.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Changes, CityFault, Faults, Options,
    sites::{post::Post, received::Counts, window::Window},
};

/// How a title asks for a fault.
const ASKS: &str = "fault:";

/// What a post meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PostFault {
    /// This status. Nothing was done with 429 and 503.
    Status(u16),
    /// This status, and `/posts/moved`.
    Moved(u16),
    /// 307, and another origin, where nobody listens.
    Elsewhere,
    /// No answer.
    HangUp,
    /// A right answer after 5 s.
    Slow,
    /// 201 with a page in HTML.
    Html,
    /// 201 without a body.
    Empty,
    /// The `id` is a string.
    WrongField,
    /// The answer ends in the middle of a member, and its length says so too.
    Truncated,
    /// The title asks for a fault that there is not.
    Unknown,
}

impl PostFault {
    /// What the title asks for when its post comes for the `n`th time, from 0.
    fn by_title(title: &str, n: u64) -> Option<Self> {
        let name = title.strip_prefix(ASKS)?.split(char::is_whitespace).next().unwrap_or_default();
        Some(match name {
            "429" | "503" if n > 0 => return None,
            "429" => Self::Status(429),
            "503" => Self::Status(503),
            "400" => Self::Status(400),
            "409" => Self::Status(409),
            "422" => Self::Status(422),
            "500" => Self::Status(500),
            "301" => Self::Moved(301),
            "307" => Self::Moved(307),
            "elsewhere" => Self::Elsewhere,
            "hang-up" => Self::HangUp,
            "slow" => Self::Slow,
            "html" => Self::Html,
            "empty" => Self::Empty,
            _ => Self::Unknown,
        })
    }

    fn of(fault: &CityFault) -> Option<Self> {
        match fault {
            CityFault::Status(status) => Some(Self::Status(*status)),
            CityFault::Html => Some(Self::Html),
            CityFault::HangUp => Some(Self::HangUp),
            CityFault::WrongField => Some(Self::WrongField),
            CityFault::Truncated => Some(Self::Truncated),
            _ => None,
        }
    }
}

/// What a request with a post meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostTurn {
    pub(crate) fault: Option<PostFault>,
    /// In seconds, with 429.
    pub(crate) retry_after: u64,
}

/// What posts meet, and what came.
#[derive(Debug)]
pub(crate) struct Posts {
    seed: u64,
    faults_by_title: bool,
    per_window: u64,
    window: Duration,
    passed: Window,
    pub(crate) received: Counts,
}

impl Posts {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            faults_by_title: options.control,
            per_window: options.posts_per_window,
            window: options.posts_window,
            passed: Window::default(),
            received: Counts::default(),
        }
    }

    /// Takes over what is named. What passed before still counts.
    pub(crate) fn change(&mut self, changes: &Changes) {
        self.per_window = changes.posts_per_window.unwrap_or(self.per_window);
        self.window = changes.posts_window.unwrap_or(self.window);
        if changes.faults.is_some() {
            self.received.forget_asked();
        }
    }

    /// Lets a request pass that arrives at `now`, which is never before an earlier one; or says how long to wait.
    pub(crate) fn arrive(&mut self, now: Instant) -> Result<(), Duration> {
        if self.per_window == 0 {
            return Ok(());
        }
        self.passed.pass(now, 1, self.per_window, self.window).inspect_err(|_| self.received.refuse(429))
    }

    /// Counts a post that was read whole, and says what it meets.
    pub(crate) fn take(&mut self, post: &Post, faults: &Faults) -> PostTurn {
        let n = self.received.ask(post);
        let by_title = self.faults_by_title.then(|| PostFault::by_title(&post.title(), n)).flatten();
        let retry_after = if by_title.is_some() { 1 } else { faults.retry_after };
        let by_chance = || faults.pick_for_post(self.seed, post.hash, n).and_then(|fault| PostFault::of(&fault));
        let fault = by_title.or_else(by_chance);
        match fault {
            Some(PostFault::Status(status @ (429 | 503))) => self.received.refuse(status),
            _ => self.received.count(post),
        }
        PostTurn { fault, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_within_the_rate_is_not_refused_for_jitter() {
        let mut posts = Posts::new(&Options::default());
        let (began, jitter) = (Instant::now(), Duration::from_millis(95));
        for second in 0..20 {
            // Seven at once, late in one second and not in the next.
            let late = if second % 2 == 0 { jitter } else { Duration::ZERO };
            for _ in 0..7 {
                assert_eq!(posts.arrive(began + Duration::from_secs(second) + late), Ok(()));
            }
        }
        assert!(posts.received.read().refused.is_empty());
    }

    #[test]
    fn an_eighth_request_in_a_second_is_refused() {
        let mut posts = Posts::new(&Options::default());
        let began = Instant::now();
        for request in 0..7 {
            assert_eq!(posts.arrive(began + Duration::from_millis(100) * request), Ok(()));
        }
        assert_eq!(posts.arrive(began + Duration::from_millis(700)), Err(Duration::from_millis(200)));
        assert_eq!(posts.arrive(began + Duration::from_millis(900)), Ok(()));
        assert_eq!(posts.received.read().refused, [(429, 1)].into());
    }

    #[test]
    fn a_rate_of_0_is_no_limit() {
        let mut posts = Posts::new(&Options { posts_per_window: 0, ..Options::default() });
        let now = Instant::now();
        assert!((0..10_000).all(|_| posts.arrive(now).is_ok()));
    }

    #[test]
    fn posts_differ_where_a_member_does() {
        let hash = |text: &str| Post::new(serde_json::from_str(text).unwrap()).hash;
        let post = hash(r#"{"userId":1,"title":"ab","body":"c"}"#);
        assert_eq!(post, hash(r#"{"body":"c","title":"ab","userId":"1","extra":1}"#));
        for other in [
            r#"{"userId":2,"title":"ab","body":"c"}"#,
            r#"{"userId":1,"title":"a","body":"bc"}"#,
            r#"{"userId":1,"title":"ab","body":"C"}"#,
            r#"{"userId":1,"title":"ab"}"#,
        ] {
            assert_ne!(post, hash(other), "{other}");
        }
    }
}
