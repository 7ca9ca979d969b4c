"""Drives the generated Python binding: orders come as JSON lines, what happens leaves as JSON lines.

    watch.py <folder of the binding> <secret of the gateways> <url>...

It is a test's puppet, and shows how an app uses the binding: a listener, a token source, one event loop.
"""

import asyncio
import base64
import gc
import hashlib
import hmac
import json
import os
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])

import odin_client as odin  # noqa: E402

SECRET, URLS = sys.argv[2], sys.argv[3:]
STDOUT = threading.Lock()


def say(**line):
    with STDOUT:
        print(json.dumps(line), flush=True)


class Listener(odin.OdinListener):
    """Prints every event; throws once when told to."""

    def __init__(self, name):
        self.name = name
        self.is_to_throw = False
        self.threads = set()
        self.is_busy = False

    def on_event(self, event):
        if self.is_busy:
            say(event="two_at_once")
        self.is_busy = True
        self.threads.add(threading.get_ident())
        try:
            self.tell(event)
        finally:
            self.is_busy = False

    def tell(self, event):
        kind = type(event).__name__.rpartition(".")[2].lower()
        fields = {name: value for name, value in vars(event).items() if not name.startswith("_")}
        if event.is_UPDATE():
            if self.is_to_throw:
                self.is_to_throw = False
                say(client=self.name, event="throwing", seq=event.update.seq)
                raise ValueError("the listener threw")
            fields = dict(vars(event.update))
        if "mode" in fields:
            fields["mode"] = fields["mode"].name
        if kind == "closed":
            fields["threads"] = len(self.threads)
        say(client=self.name, event=kind, **fields)


class Tokens(odin.OdinTokenSource):
    """Makes its own tokens: fails the first time, throws the second."""

    def __init__(self):
        self.count = 0

    async def token(self):
        self.count += 1
        if self.count == 1:
            raise odin.OdinTokenError.Failed("no token yet")
        if self.count == 2:
            raise RuntimeError("hush, a secret")
        await asyncio.sleep(0)
        part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")  # noqa: E731
        claims = {"sub": "ada", "exp": int(time.time()) + 3600}
        text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
        return (text + b"." + part(hmac.new(SECRET.encode(), text, hashlib.sha256).digest())).decode()


def connect(name, tokens, codec):
    listener = Listener(name)
    options = odin.OdinOptions(urls=URLS, codec=codec, token_source=tokens)
    return odin.OdinClient.connect(options, listener), listener


async def publish(client, channel, data):
    try:
        published = await client.publish(channel, data)
        say(answer="published", channel=published.channel, seq=published.seq)
    except odin.OdinPublishError.Refused as error:
        say(answer="refused", code=error.code)
    except odin.OdinPublishError as error:
        say(answer=type(error).__name__.lower())


async def main():
    loop = asyncio.get_running_loop()
    # the client asks for tokens from a thread that has no loop
    odin.uniffi_set_event_loop(loop)
    try:
        odin.OdinClient.connect(odin.OdinOptions(urls=["http://nowhere"]), Listener("none"))
    except odin.OdinConnectError.InvalidOptions as error:
        say(answer="invalid_options", reason=error.reason)
    tokens = Tokens()
    client, listener = connect("first", tokens, None)
    try:
        await client.subscribe("chat:>")
    except odin.OdinRequestError.Invalid:
        say(answer="invalid_channel")
    await client.subscribe("chat:lobby", mode=odin.OdinMode.ALL)
    is_forgotten = False
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        match order["do"]:
            case "publish":
                await publish(client, order["channel"], order["data"])
            case "flood":
                count = order["count"]
                await asyncio.gather(*(publish(client, order["channel"], "1") for _ in range(count)))
                say(answer="flooded")
            case "throw":
                listener.is_to_throw = True
                say(answer="will_throw")
            case "cursor":
                say(answer="cursor", cursor=client.cursor(order["channel"]))
            case "unsubscribe":
                await client.unsubscribe(order["channel"])
            case "close":
                await client.close()
                await publish(client, "chat:lobby", "1")
                try:
                    await client.subscribe("chat:lobby")
                except odin.OdinRequestError.Closed:
                    say(answer="closed")
            case "again":
                client, listener = connect("second", tokens, odin.OdinCodec.MSG_PACK)
                await client.subscribe("chat:lobby", since=order["since"], mode=odin.OdinMode.ALL)
            case "forget":
                # without closing it: letting go of it must end it
                client = None
                gc.collect()
                is_forgotten = True
    sys.stdout.flush()
    if is_forgotten:
        # nobody can wait for its threads, and one that calls an interpreter which is being taken down crashes it
        os._exit(0)


asyncio.run(main())
