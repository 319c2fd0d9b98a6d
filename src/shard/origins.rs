//! Which web pages may connect: a browser names the page's origin, and lets every page try.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use crate::base::origin::{AllowedOrigin, WebOrigin};
use crate::ws::Refusal;

/// Why a page is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginFault {
    /// Neither listed nor of the host that the request names.
    Foreign,
    /// `null`, and that is not listed.
    Null,
    /// No origin, or several.
    Malformed,
}

/// Judges a request by its `Origin`. Without one it does not come from a browser, and passes.
///
/// # Errors
/// When the page may not connect.
pub(super) fn judge_origin(
    allowed: &[AllowedOrigin],
    headers: &HeaderMap,
) -> Result<(), OriginFault> {
    let mut values = headers.get_all(ORIGIN).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let text = text.ok_or(OriginFault::Malformed)?;
    if text == "null" {
        let is_listed = allowed.contains(&AllowedOrigin::Null);
        return if is_listed { Ok(()) } else { Err(OriginFault::Null) };
    }
    let page: WebOrigin = text.parse().map_err(|_| OriginFault::Malformed)?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_allowed = allowed.iter().any(|allowed| match allowed {
        AllowedOrigin::Any => true,
        AllowedOrigin::Null => false,
        AllowedOrigin::Page(listed) => *listed == page,
    });
    if is_allowed || host.is_some_and(|host| page.is_of_host(host)) {
        return Ok(());
    }
    Err(OriginFault::Foreign)
}

impl OriginFault {
    pub fn refusal(self) -> Refusal {
        const FORBIDDEN: u16 = 403;
        Refusal::new(
            FORBIDDEN,
            match self {
                Self::Foreign => "pages of this origin may not connect; see stream.allowed_origins",
                Self::Null => "pages without an origin may not connect; see stream.allowed_origins",
                Self::Malformed => "send one Origin, or none",
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    type Outcome = Result<(), OriginFault>;

    fn outcome(allowed: &[&str], host: &str, origins: &[&[u8]]) -> Outcome {
        let allowed: Vec<AllowedOrigin> =
            allowed.iter().map(|text| text.parse().expect("an origin")).collect();
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_str(host).expect("a host"));
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_bytes(origin).expect("a value"));
        }
        judge_origin(&allowed, &headers)
    }

    #[test]
    fn the_own_host_and_what_is_listed_may_connect() {
        use OriginFault::{Foreign, Malformed, Null};
        const NONE: &[&str] = &[];
        const OPS: &[&str] = &["https://ops.example.com", "http://localhost:3000"];
        let rows: [(&[&str], &str, &str, Outcome); 25] = [
            (NONE, "here:8080", "http://here:8080", Ok(())),
            (NONE, "here:8080", "HTTP://HERE:8080", Ok(())),
            (NONE, "here", "https://here", Ok(())),
            (NONE, "here", "http://here", Ok(())),
            (NONE, "here:8080", "http://here", Err(Foreign)),
            (NONE, "here", "http://here:8080", Err(Foreign)),
            (NONE, "here", "https://evil.example", Err(Foreign)),
            (NONE, "here", "https://here.evil.example", Err(Foreign)),
            (NONE, "here", "https://evilhere", Err(Foreign)),
            (NONE, "here", "null", Err(Null)),
            (NONE, "here", "", Err(Malformed)),
            (NONE, "here", "here", Err(Malformed)),
            (NONE, "here", "https://here/", Err(Malformed)),
            (NONE, "here", "https://here https://here", Err(Malformed)),
            (OPS, "here", "https://ops.example.com", Ok(())),
            (OPS, "here", "https://OPS.example.com:443", Ok(())),
            (OPS, "here", "http://ops.example.com", Err(Foreign)),
            (OPS, "here", "https://ops.example.com:8443", Err(Foreign)),
            (OPS, "here", "https://x.ops.example.com", Err(Foreign)),
            (OPS, "here", "http://localhost:3000", Ok(())),
            (OPS, "here", "http://here", Ok(())),
            (&["*"], "here", "https://evil.example", Ok(())),
            (&["*"], "here", "null", Err(Null)),
            (&["*"], "here", "nonsense", Err(Malformed)),
            (&["null"], "here", "null", Ok(())),
        ];
        for (allowed, host, origin, expected) in rows {
            let outcome = outcome(allowed, host, &[origin.as_bytes()]);
            assert_eq!(outcome, expected, "{origin} at {host} with {allowed:?}");
        }
    }

    #[test]
    fn no_origin_passes_and_several_do_not() {
        assert_eq!(outcome(&[], "here", &[]), Ok(()));
        let twice: &[&[u8]] = &[b"http://here", b"http://here"];
        assert_eq!(outcome(&["*"], "here", twice), Err(OriginFault::Malformed));
        assert_eq!(outcome(&["*"], "here", &[b"http://h\xc3\xa9"]), Err(OriginFault::Malformed));
        assert_eq!(outcome(&[], "not a host", &[b"http://here"]), Err(OriginFault::Foreign));
    }
}
