//! What these laws found and is not mended yet. Where a constant is false, the cases that show the fault are not made; set
//! it to true with the mend.

/// `ct`, the cursor of Microsoft's servers, is one (SRCH-25): it is no ordinary parameter of a request, and no `self` link
/// that holds it is readable.
pub const CURSOR_CT: bool = false;

/// URLs in streamed XML are found where element names have a namespace prefix.
pub const PREFIXED_NAMES: bool = false;

/// `303 See Other` to a write names the other record only to who is known to reach it (RESP-9).
pub const SEE_OTHER: bool = false;
