#!/usr/bin/env python3
"""Logs a user in by authorization code with PKCE (S256) and prints the token response.

Plays the browser: asks the authorization endpoint, fills the login form, reads the
code from the redirect (nothing listens there) and exchanges it. Works with both
authorization servers of the reference stack. Exit code 1 and the answer on stderr
when the server refuses. Needs Python 3.9 and its standard library.

    login.py --scope "openid fhirUser launch/patient patient/*.rs"
    login.py --server oidc --client opaque-app --user patient-out --scope "launch/patient patient/*.rs"
"""

import argparse
import base64
import hashlib
import html.parser
import http.client
import json
import os
import sys
import urllib.parse

KEYCLOAK = f"http://127.0.0.1:{os.environ.get('PFORTE_KEYCLOAK_PORT', '18081')}/realms/pforte/protocol/openid-connect"
OIDC = f"http://127.0.0.1:{os.environ.get('PFORTE_OIDC_PORT', '18082')}"
ENDPOINTS = {"keycloak": (f"{KEYCLOAK}/auth", f"{KEYCLOAK}/token"), "oidc": (f"{OIDC}/auth", f"{OIDC}/token")}


class Form(html.parser.HTMLParser):
    """The first form with a password field: where it goes and what it carries."""

    def __init__(self):
        super().__init__()
        self.action, self.fields, self.asks = None, {}, False

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "form" and not self.asks:
            self.action, self.fields = named.get("action"), {}
        elif tag == "input" and self.action:
            self.asks = self.asks or named.get("type") == "password"
            if named.get("name") and named.get("type") != "checkbox":
                self.fields.setdefault(named["name"], named.get("value") or "")


class Refused(Exception):
    """The server's answer, when it is not the one that leads on."""


class Browser:
    """Follows redirects and keeps cookies, `Secure` ones too: Keycloak sets them over http on loopback."""

    def __init__(self, stop):
        self.cookies, self.stop = {}, stop

    def open(self, url, form=None):
        """(url, status, body); stops before following a redirect to the client."""
        for _ in range(20):
            parts = urllib.parse.urlsplit(url)
            link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "Accept": "text/html"}
            body = None
            if form is not None:
                body, headers["Content-Type"] = urllib.parse.urlencode(form), "application/x-www-form-urlencoded"
            link.request("GET" if form is None else "POST", urllib.parse.urlunsplit(("", "", *parts[2:4], "")), body, headers)
            reply = link.getresponse()
            text = reply.read().decode(errors="replace")
            link.close()
            for line in reply.headers.get_all("Set-Cookie") or []:
                name, _, value = line.partition(";")[0].partition("=")
                if value:
                    self.cookies[name.strip()] = value
                else:
                    self.cookies.pop(name.strip(), None)
            if reply.status not in (301, 302, 303, 307):
                return url, reply.status, text
            url, form = urllib.parse.urljoin(url, reply.headers["Location"]), None
            if url.startswith(self.stop):
                return url, reply.status, ""
        raise Refused("more than 20 redirects")


def login(asked):
    authorize, token = ENDPOINTS[asked.server]
    verifier = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = os.urandom(8).hex()
    query = {
        "response_type": "code", "client_id": asked.client, "redirect_uri": asked.redirect, "scope": asked.scope,
        "state": state, "code_challenge": challenge, "code_challenge_method": "S256", "aud": asked.aud,
    }
    if "openid" in asked.scope.split():
        query["nonce"] = os.urandom(8).hex()
    browser = Browser(asked.redirect)
    url, status, page = browser.open(f"{authorize}?{urllib.parse.urlencode(query)}")
    if not url.startswith(asked.redirect):
        form = Form()
        form.feed(page)
        if not form.asks:
            raise Refused(f"{status} from {url}\n{page[:3000]}")
        fields = {**form.fields, "username": asked.user, "password": asked.password}
        url, status, page = browser.open(urllib.parse.urljoin(url, form.action), fields)
    if not url.startswith(asked.redirect):
        raise Refused(f"{status} from {url} after the login\n{page[:3000]}")
    back = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    if "code" not in back or back.get("state") != state:
        raise Refused(json.dumps(back))
    fields = {
        "grant_type": "authorization_code", "code": back["code"], "redirect_uri": asked.redirect,
        "client_id": asked.client, "code_verifier": verifier,
    }
    if asked.secret:
        fields["client_secret"] = asked.secret
    _, status, answer = Browser(asked.redirect).open(token, fields)
    if status != 200:
        raise Refused(f"{status}: {answer}")
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=ENDPOINTS, default="keycloak")
    parser.add_argument("--client", default="public-app")
    parser.add_argument("--secret", help="of a confidential client")
    parser.add_argument("--user", default="patient-in")
    parser.add_argument("--password", default="reference")
    parser.add_argument("--scope", default="openid fhirUser launch/patient patient/*.rs")
    parser.add_argument("--redirect", default="http://127.0.0.1:18090/callback")
    parser.add_argument("--aud", default=os.environ.get("PFORTE_PUBLIC_URL", "https://localhost:18443/fhir"))
    try:
        print(login(parser.parse_args()))
    except (Refused, OSError) as trouble:
        print(f"login: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
