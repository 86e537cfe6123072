"""Webhooks by the official Python SDK: made, changed and deleted by it, and each delivery checked by its own helper."""

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from elevenlabs import ElevenLabs, WebhookHmacSettings
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import BadRequestError

client = ElevenLabs(
    base_url=os.environ["STEAD_URL"],
    api_key=os.environ["STEAD_API_KEY"],
    httpx_client=httpx.Client(trust_env=False, timeout=60),
)
heard = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        heard.append((body, dict(self.headers.items())))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{receiver.server_port}/hook"


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited in vain; heard {heard}"
        time.sleep(0.01)


made = client.webhooks.create(settings=WebhookHmacSettings(name="from the SDK", webhook_url=url, auth_type="hmac"))
assert made.webhook_id and made.webhook_secret
listed = client.webhooks.list(include_usages=True).webhooks
assert [hook.webhook_id for hook in listed] == [made.webhook_id]
assert (listed[0].auth_type, listed[0].is_disabled, listed[0].usage) == ("hmac", False, [])

account = client.service_accounts.create(name="bot ü 🔑")
account_id = account.service_account_user_id
key = client.service_accounts.api_keys.create(account_id, name="ключ", permissions="all")
client.service_accounts.api_keys.delete(account_id, key.key_id)
until(lambda: len(heard) == 3)

types = []
for body, headers in heard:
    signature = {name.lower(): value for name, value in headers.items()}["elevenlabs-signature"]
    event = client.webhooks.construct_event(rawBody=body, sig_header=signature, secret=made.webhook_secret)
    assert isinstance(event["event_timestamp"], int) and key.xi_api_key not in body
    types.append(event["type"])
    for wrong in [
        {"rawBody": body + " ", "sig_header": signature, "secret": made.webhook_secret},
        {"rawBody": body, "sig_header": signature.replace("t=", "t=9"), "secret": made.webhook_secret},
        {"rawBody": body, "sig_header": signature, "secret": "wsec_0000"},
    ]:
        try:
            client.webhooks.construct_event(**wrong)
        except BadRequestError:
            continue
        raise AssertionError(f"was taken: {wrong}")
assert sorted(types) == ["api_key.created", "api_key.revoked", "service_account.created"], types

assert client.webhooks.update(made.webhook_id, is_disabled=True, name="off").status == "ok"
hook = client.webhooks.list().webhooks[0]
assert (hook.name, hook.is_disabled, hook.is_auto_disabled) == ("off", True, False)
client.webhooks.update(
    made.webhook_id, is_disabled=False, name="on", retry_enabled=True, request_headers={"X-Own": "mine"}, events=["flows"]
)
assert client.webhooks.delete(made.webhook_id).status == "ok"
assert client.webhooks.list().webhooks == []
try:
    client.webhooks.delete(made.webhook_id)
    raise AssertionError("deleted twice")
except ApiError as error:
    assert error.status_code == 404, error
print("the Python SDK took every delivery")
