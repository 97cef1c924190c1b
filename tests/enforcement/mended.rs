//! What these laws found and is not mended yet. Where a constant is false, the cases that show the fault are not made, or
//! not held against the program; set it to true with the mend.

/// `ct`, the cursor of Microsoft's servers, is one (SRCH-25): it is no ordinary parameter of a request, and no `self` link
/// that holds it is readable.
pub const CURSOR_CT: bool = false;

/// URLs in streamed XML are found where element names have a namespace prefix.
pub const PREFIXED_NAMES: bool = false;

/// `POST C/id/T/_search` is sent on with its `_search` when it is narrowed.
pub const FORM_IN_COMPARTMENT: bool = false;

/// The answer to a conditional create names an existing record only to who was found to reach it (RESP-9), where the type
/// is reached in part.
pub const MATCHED_RECORD: bool = false;

/// An XML element that may be there once and is there twice makes a resource unreadable (REST-10), or matches no criterion.
pub const DOUBLED_ELEMENTS: bool = false;

/// The id in the body of a create says nothing: `POST Patient` is never the user who is a patient (COMP-11), and
/// `POST Encounter` never the launch encounter.
pub const NEW_IDENTITIES: bool = false;

/// An operation is asked for a patient only when a scope that covers it reaches that patient: the launch patient is not
/// the user, nor the user the launch patient.
pub const OPERATION_OF_USER: bool = false;

/// `303 See Other` to a write names the other record only to who is known to reach it (RESP-9).
pub const SEE_OTHER: bool = false;
