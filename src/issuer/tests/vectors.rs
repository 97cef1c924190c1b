//! Vectors of RFC 7515 Appendix A and RFC 8037 Appendix A, through our own readers.

use aws_lc_rs::signature::Ed25519KeyPair;

use super::*;
use crate::issuer::keys::{KeySet, Verdict};
use crate::token::Jws;

const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const A2_HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
const A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_HEADER: &str = "eyJhbGciOiJFUzI1NiJ9";
const A3_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const A3_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const ED_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED_MESSAGE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn verdict(jwk: &Value, token: &str) -> Verdict {
    let url = "https://as.test/jwks".parse().unwrap();
    let keys = KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes(), &url).unwrap();
    let token = AccessToken::new(token).unwrap();
    keys.verify(&Jws::read(&token).unwrap())
}

/// The first character changed: the last one has bits that do not count.
fn spoilt(signature: &str) -> String {
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    std::iter::once(first).chain(signature.chars().skip(1)).collect()
}

/// RFC 7515 A.2 (RS256), A.3 (ES256); RFC 8037 A.1, A.4 (Ed25519). Each beside a spoilt signature and another's key.
#[test]
fn published_signatures() {
    let rsa = json!({"kty": "RSA", "n": A2_N, "e": "AQAB"});
    let curve = json!({"kty": "EC", "crv": "P-256", "x": A3_X, "y": A3_Y});
    let edwards = json!({"kty": "OKP", "crv": "Ed25519", "x": ED_X});
    let pair = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let own = Ed25519KeyPair::from_seed_and_public_key(&pair(ED_D), &pair(ED_X)).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(own.sign(ED_MESSAGE.as_bytes())), ED_SIGNATURE, "RFC 8037 A.4");
    // What A.4 signs is no claims set, which our reader wants: the same key signs one here.
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
    let signature = URL_SAFE_NO_PAD.encode(own.sign(format!("{header}.{CLAIMS}").as_bytes()));
    let table = [
        (&rsa, A2_HEADER, A2_SIGNATURE),
        (&curve, A3_HEADER, A3_SIGNATURE),
        (&edwards, header.as_str(), signature.as_str()),
    ];
    for (key, header, signature) in table {
        let token = |signature: &str| format!("{header}.{CLAIMS}.{signature}");
        assert_eq!(verdict(key, &token(signature)), Verdict::Verified, "{key}");
        assert_eq!(verdict(key, &token(&spoilt(signature))), Verdict::Wrong, "{key}");
        for (other, ..) in table.iter().filter(|(other, ..)| *other != key) {
            assert_eq!(verdict(other, &token(signature)), Verdict::NoKey, "{other} for {header}");
        }
    }
}

/// RFC 7515 A.1 is HMAC, A.5 is unsigned: neither is read, whatever key is there.
#[test]
fn published_examples_that_are_refused() {
    let tokens = [
        format!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        ),
        format!("eyJhbGciOiJub25lIn0.{CLAIMS}."),
    ];
    for token in tokens {
        let token = AccessToken::new(&token).unwrap();
        assert_eq!(Jws::read(&token).unwrap_err().reason_id(), "token_algorithm_refused");
    }
}
