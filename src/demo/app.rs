//! A SMART app in one page: discovery, authorization code with PKCE, and a few requests through the gateway.
//!
//! It has no parts from elsewhere, and keeps what it knows in `sessionStorage` of its own origin.

use super::authorization::escaped;

const PAGE: &str = include_str!("app/page.html");

/// The page, with the FHIR base it uses unless `?iss=` names another.
pub(super) fn page(base: &str, issuer: &str) -> String {
    PAGE.replace("{{base}}", &escaped(base)).replace("{{issuer}}", &escaped(issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_escapes_what_is_put_in() {
        let page = page("https://gw.example/fhir\"><script>", "http://as.example");
        assert!(!page.contains("\"><script>"), "the base is text");
        assert!(!page.contains("{{"), "every place is filled");
        assert!(page.contains("DEMO"), "marked as demo");
        for foreign in ["src=\"http", "href=\"http", "@import", "//cdn"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
