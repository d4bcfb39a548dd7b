"""A slixmpp client that keeps what it hears, so that the steps of a story can wait for it."""

import asyncio
import json
import logging

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

# For one thing to happen: long enough for a busy machine, and never waited for when all is well.
PATIENCE_S = 60
COMMANDS = "http://jabber.org/protocol/commands"
STATE = "urn:skerry:state:0"
PLUGINS = """xep_0004 xep_0030 xep_0050 xep_0054 xep_0060 xep_0084 xep_0092 xep_0115 xep_0163 xep_0184
             xep_0199 xep_0202 xep_0308""".split()

logging.basicConfig(level=logging.ERROR)
# It complains of its own unfinished tasks when a program ends.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Failed(Exception):
    """A step did not hold."""


def check(truth, what):
    """An assertion with a sentence."""
    if not truth:
        raise Failed(what)


class Bot(ClientXMPP):
    """An account of the lab, logged in."""

    def __init__(self, account, server, wants_states=False):
        super().__init__(account["jid"] + "/bot", account["password"])
        self.lab = server
        self.said = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.items = asyncio.Queue()
        self.auto_authorize = True
        self.auto_subscribe = False
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        if wants_states:
            self.plugin["xep_0030"].add_feature(STATE + "+notify")
        self.ca_certs = server["ca"]
        self.add_event_handler("message", self.said.put_nowait)
        for kind in ("available", "away", "xa", "dnd", "unavailable", "unsubscribed"):
            self.add_event_handler("presence_" + kind, self.presences.put_nowait)
        self.add_event_handler("pubsub_publish", self.items.put_nowait)

    async def login(self):
        """Connects, and is online when it returns; a refused password is an error."""
        online = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: online.done() or online.set_result(True))
        refused = Failed(f"{self.boundjid.bare}: the login was refused")
        self.add_event_handler("failed_all_auth", lambda _: online.done() or online.set_exception(refused))
        self.connect(self.lab["address"], self.lab["port"])
        await asyncio.wait_for(online, PATIENCE_S)
        await self.get_roster()
        await self.plugin["xep_0115"].update_caps()
        self.send_presence()
        return self

    async def awaits(self, queue, wanted, what):
        """The next thing in `queue` for which `wanted` holds; what comes before it is passed over."""
        passed = []
        async def find():
            while True:
                thing = await queue.get()
                if wanted(thing):
                    return thing
                passed.append(str(thing))
        try:
            return await asyncio.wait_for(find(), PATIENCE_S)
        except asyncio.TimeoutError:
            raise Failed("\n  ".join([f"{self.boundjid.user}: {what}: never came. Instead:"] + passed)) from None

    async def says(self, jid, text, *words):
        """Says `text` to `jid`; returns the next answer with all `words` in it."""
        self.send_message(mto=jid, mbody=text, mtype="chat")
        return await self.hears(jid, *words)

    async def hears(self, jid, *words):
        """The next message of `jid` with all `words` in it, upper or lower case."""
        def fits(stanza):
            body = stanza["body"].lower()
            return stanza["from"].bare == jid and body and all(word.lower() in body for word in words)
        stanza = await self.awaits(self.said, fits, f"words of {jid} with {words}")
        check(stanza["id"], "a message without an id")
        return stanza

    async def sees(self, jid, what, wanted):
        """The next presence of `jid` for which `wanted` holds."""
        return await self.awaits(
            self.presences, lambda p: p["from"].bare == jid and wanted(p), f"presence of {jid}: {what}")

    async def learns(self, machine, state):
        """Waits for a published item that says so; returns its element."""
        def element(stanza):
            return [item["payload"] for item in stanza["pubsub_event"]["items"] if item["payload"] is not None]
        def fits(stanza):
            return any(e.get("name") == machine and e.get("state") == state for e in element(stanza))
        found = await self.awaits(self.items, fits, f"an item: {machine} is {state}")
        return element(found)[0]

    async def stage(self, jid, node, sessionid=None, action="execute", values=None):
        """One stage of a command; `values` are sent as a filled form."""
        payload = None
        if values is not None:
            payload = self.plugin["xep_0004"].make_form(ftype="submit")
            for name, value in values.items():
                payload.add_field(var=name, value=value)
        stage = await self.plugin["xep_0050"].send_command(
            jid, node, action=action, payload=payload, sessionid=sessionid, timeout=PATIENCE_S)
        self.look_over(node, stage["command"])
        return stage

    @staticmethod
    def look_over(node, command):
        """What holds for every stage of every command, that clients may show it."""
        fields = command["form"].get_fields() if command.xml.find("{jabber:x:data}x") is not None else {}
        for name, field in fields.items():
            kind = field.xml.get("type")
            check(kind, f"{node}: the field {name} has no type")
            check(kind == "hidden" or field["label"], f"{node}: the field {name} has no label")
        if command["status"] == "executing":
            check(command.xml.find(f"{{{COMMANDS}}}actions") is not None, f"{node}: a stage without actions")
            check(command["form"]["title"] and command["form"]["instructions"], f"{node}: a form says too little")
        check(len(command["notes"]) <= 1, f"{node}: more than one note")

    async def command(self, jid, node, values=None, confirm=False):
        """Runs a command through its forms, as a person with a client would. Returns the last stage."""
        stage = await self.stage(jid, node)
        for _ in range(4):
            command = stage["command"]
            if command["status"] != "executing":
                return stage
            form = command["form"]
            filled = {name: value for name, value in form.get_values().items() if value not in (None, "", [])}
            filled.update((k, v) for k, v in (values or {}).items() if k in form.get_fields())
            if "confirm" in form.get_fields():
                filled["confirm"] = confirm
            action = "complete" if "complete" in command["actions"] else "next"
            stage = await self.stage(jid, node, command["sessionid"], action, filled)
        raise Failed(f"{node} asks for ever: {stage}")

    async def refused(self, awaitable, *conditions):
        """Awaits something that has to be refused with one of these conditions; returns the text."""
        try:
            await awaitable
        except IqError as refusal:
            check(refusal.condition in conditions, f"refused with {refusal.condition}, not {conditions}")
            return refusal.text
        raise Failed(f"it was not refused with {conditions}")


def note(stage):
    """The note of a command's last stage: (kind, text)."""
    check(stage["command"]["notes"], "a command ended without a note")
    return stage["command"]["notes"][0]


def reply(stage):
    """The JSON reply (XEP-0335) in a command's last stage."""
    element = stage["command"].xml.find("{urn:xmpp:json:0}json")
    check(element is not None, "a command ended without its reply as JSON")
    return json.loads(element.text)


def done(stage):
    """The reply of a command that has to have worked."""
    kind, text = note(stage)
    check(kind == "info", f"it did not work: {kind}: {text}")
    return reply(stage)
