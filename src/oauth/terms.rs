//! What an answer says about being kept, and asked for again (RFC 9110 §13, RFC 9111 §5.2).

use std::time::Duration;

use reqwest::header::{
    AGE, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use url::Url;

/// How long an answer is fresh, and how to ask whether it has changed.
#[derive(Debug, Clone)]
pub struct Terms {
    url: Url,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
    fresh_for: Option<Duration>,
}

impl Terms {
    pub(super) fn read(url: &Url, headers: &HeaderMap) -> Self {
        Self {
            url: url.clone(),
            etag: headers.get(ETAG).cloned(),
            modified: headers.get(LAST_MODIFIED).cloned(),
            fresh_for: fresh_for(headers),
        }
    }

    /// How long the server calls it fresh, from the moment it was asked for; `None` when it does not say.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        self.fresh_for
    }

    /// What makes a question for the same address conditional: none for another, or without a validator.
    pub(super) fn conditions(&self, url: &Url) -> HeaderMap {
        let mut conditions = HeaderMap::new();
        if self.url != *url {
            return conditions;
        }
        if let Some(etag) = &self.etag {
            conditions.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(modified) = &self.modified {
            conditions.insert(IF_MODIFIED_SINCE, modified.clone());
        }
        conditions
    }

    /// The terms after a 304, which repeats only what it must (RFC 9111 §4.3.4).
    #[must_use]
    pub fn renewed(&self, later: Self) -> Self {
        Self {
            etag: later.etag.or_else(|| self.etag.clone()),
            modified: later.modified.or_else(|| self.modified.clone()),
            fresh_for: later.fresh_for.or(self.fresh_for),
            url: later.url,
        }
    }
}

/// `max-age` less the `Age` that a cache between gives it.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives = fields.flat_map(|field| field.split(',')).filter_map(|one| one.trim().split_once('='));
    let ages = directives.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
    let seconds = ages.filter_map(|(_, value)| value.trim_matches('"').parse::<u64>().ok()).min()?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// RFC 9111 §5.2.2.1, §4.2.3; of several the shortest counts.
    #[test]
    fn freshness() {
        let table: [(&[(&str, &str)], Option<u64>); 9] = [
            (&[("cache-control", "max-age=60")], Some(60)),
            (&[("cache-control", "public, Max-Age=\"60\"")], Some(60)),
            (&[("cache-control", "max-age=60, max-age=30")], Some(30)),
            (&[("cache-control", "public"), ("cache-control", "max-age=5")], Some(5)),
            (&[("cache-control", "max-age=60"), ("age", "50")], Some(10)),
            (&[("cache-control", "max-age=60"), ("age", "70")], Some(0)),
            (&[("cache-control", "s-maxage=60, no-cache")], None),
            (&[("cache-control", "max-age=soon")], None),
            (&[], None),
        ];
        for (lines, seconds) in table {
            assert_eq!(fresh_for(&headers(lines)), seconds.map(Duration::from_secs), "{lines:?}");
        }
    }

    /// Validators are for the address that gave them, and survive a 304 that does not repeat them.
    #[test]
    fn conditions_are_for_one_address() {
        let [here, there] =
            ["https://as.test/jwks", "https://as.test/keys"].map(|url| Url::parse(url).unwrap());
        let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
        let terms = Terms::read(&here, &headers(&[("etag", "W/\"1\""), ("last-modified", modified)]));
        let asked = terms.conditions(&here);
        assert_eq!(
            (&asked[IF_NONE_MATCH], &asked[IF_MODIFIED_SINCE]),
            (&"W/\"1\"".parse().unwrap(), &modified.parse().unwrap())
        );
        assert!(terms.conditions(&there).is_empty());
        let silent = terms.renewed(Terms::read(&here, &HeaderMap::new()));
        assert_eq!(silent.conditions(&here), asked);
        let told =
            terms.renewed(Terms::read(&here, &headers(&[("etag", "\"2\""), ("cache-control", "max-age=9")])));
        assert_eq!(told.conditions(&here)[IF_NONE_MATCH], "\"2\"");
        assert_eq!(told.fresh_for(), Some(Duration::from_secs(9)));
        assert!(Terms::read(&here, &HeaderMap::new()).conditions(&here).is_empty());
    }
}
