//! What a journal's entries and its view have to be.

/// Why a view refuses a snapshot that is well-formed protobuf.
pub type InvalidSnapshot = Box<dyn std::error::Error + Send + Sync>;

/// A state that is folded from entries.
///
/// The laws, on which every guarantee of this crate rests. For views `a`, `b`, `c` and an entry `e`:
/// - merging is idempotent (`a + a = a`), commutative (`a + b = b + a`) and associative (`(a + b) + c = a + (b + c)`);
/// - the default view is neutral (`a + default = a`);
/// - applying is merging: `a.apply(e)` leads to `a + default.apply(e)`;
/// - a snapshot loses nothing: `from_snapshot(a.to_snapshot()) = a`.
///
/// So a view must remember what it needs to refuse an entry that comes once more: a fact that was removed comes back
/// with the next old snapshot, unless something that outranks it stays.
pub trait View: Default + Send + Sync + 'static {
    /// One fact.
    type Entry: prost::Message + Default + 'static;
    /// The whole view, as a snapshot holds it.
    type Snapshot: prost::Message + Default;

    /// Counts up whenever an entry or a snapshot gets a field or a variant that older programs would lose. While a
    /// release is rolled out, an older program then reports the newer objects as unreadable and leaves them alone.
    const SCHEMA: u16;

    /// Adds one fact.
    fn apply(&mut self, entry: &Self::Entry);

    /// Adds everything that another view holds.
    fn merge(&mut self, other: Self);

    /// The view as a message.
    fn to_snapshot(&self) -> Self::Snapshot;

    /// The view of a message.
    ///
    /// # Errors
    /// Where the message cannot come from [`Self::to_snapshot`]. The object is then reported as unreadable.
    fn from_snapshot(snapshot: Self::Snapshot) -> Result<Self, InvalidSnapshot>;
}
