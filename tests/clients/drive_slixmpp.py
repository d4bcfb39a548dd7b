#!/usr/bin/env python3
"""Drives a lab the way a bot author would: slixmpp, nothing of ours but the protocol.

    drive_slixmpp.py DIR/lab.json        ends with 0 when every step held, else names the step

The lab has one host and no machines yet. Each step reads as a sentence of the main job. Only what
stock XEPs say is used: disco (0030), ad-hoc commands (0050) with forms (0004), chat with corrections
(0308), pubsub (0060), caps (0115), ping (0199), version (0092), time (0202), vCard (0054).
"""

import asyncio
import json
import sys

from slixmpp.exceptions import IqError

from bot import COMMANDS, PATIENCE_S, STATE, Bot, Failed, check, done, note

REFUSALS = ("forbidden", "item-not-found", "service-unavailable", "not-allowed", "subscription-required")


class Story:
    """Who takes part, and how the machine bot1 is addressed over this kind of link."""

    def __init__(self, lab):
        self.server = lab["server"]
        self.people = {user["role"]: user for user in lab["users"]}
        self.host = lab["hosts"][0]["jid"]
        self.contact = self.host.split("/", maxsplit=1)[0]
        self.is_single = "@" in self.host
        self.machine = self.host if self.is_single else f"bot1@{self.host}"
        self.machine_contact = self.contact if self.is_single else self.machine
        self.bot = None

    def node(self, verb):
        """The ad-hoc node of a verb of bot1."""
        return f"machine/bot1/{verb}" if self.is_single else verb

    def words(self, line):
        """How a line is said to bot1 in a chat."""
        return f"bot1 {line}" if self.is_single else line

    async def join(self, role, **how):
        """Logs somebody in."""
        return await Bot(self.people[role], self.server, **how).login()


async def find_the_host(story):
    """Disco says what the host is and can; its presence says how it is."""
    bot = story.bot
    bot.send_presence_subscription(pto=story.contact)
    await bot.sees(story.contact, "with a status", lambda p: p["status"])
    found = (await bot.plugin["xep_0030"].get_info(story.host))["disco_info"]
    check("urn:skerry:host:0" in found["features"], "the host does not say that it is one")
    check(COMMANDS in found["features"], "the host does not say that it has commands")
    check(found["identities"], "the host has no identity")
    listed = (await bot.plugin["xep_0030"].get_items(story.host, node=COMMANDS))["disco_items"]["items"]
    nodes = {node for _, node, _ in listed}
    check({"list", "create", "whoami", "machine/start"} - nodes <= {"machine/start"}, f"missing: {nodes}")
    check(all(name for _, _, name in listed), "a command without a name")
    who = done(await bot.command(story.host, "whoami"))
    check(who["role"] == "admin", f"whoami: {who}")


async def create_by_form(story):
    """A machine is made by filling in a form; a wrong name is said and can be mended."""
    bot = story.bot
    stage = await bot.stage(story.host, "create")
    command = stage["command"]
    fields = command["form"].get_fields()
    images = [option["value"] for option in fields["image"]["options"] if option["value"]]
    check(images, "the form offers no image")
    check(fields["name"]["required"], "the name is not marked as required")
    wrong = await bot.stage(story.host, "create", command["sessionid"], "complete",
                            {"name": "../etc", "image": images[0]})
    check(note(wrong)[0] == "error" and wrong["command"]["status"] == "executing", "a bad name was taken")
    session = wrong["command"]["sessionid"]
    made = done(await bot.stage(story.host, "create", session, "complete", {"name": "bot1", "image": images[0]}))
    check(made["name"] == "bot1", f"create: {made}")
    items = (await bot.plugin["xep_0030"].get_items(story.host))["disco_items"]["items"]
    named = [item for item in items if item[2] == "bot1"]
    check(named, f"bot1 is not among the items of its host: {items}")
    jid, node, _ = named[0]
    check(jid == story.machine, f"disco leads to {jid}, not to {story.machine}")
    found = (await bot.plugin["xep_0030"].get_info(jid, node=node))["disco_info"]
    check("urn:skerry:machine:0" in found["features"], "the machine does not say that it is one")
    check(any(identity[3] == "bot1" for identity in found["identities"]), "its identity is not its name")


async def fill_in_step_by_step(story):
    """A long form comes in steps, forth and back; what was given is kept, what is wrong is said at its step."""
    bot, node, host = story.bot, "create", story.host
    first = await bot.stage(host, node)
    session, actions = first["command"]["sessionid"], first["command"]["actions"]
    image = first["command"]["form"].get_fields()["image"]["options"][0]["value"]
    check(actions & {"prev", "next"} == {"next"}, f"the first step offers {actions}")
    await bot.refused(bot.stage(host, node, session, "prev"), "bad-request")
    await bot.refused(bot.stage(host, node, "guessed", "next", {"name": "bot2"}), "bad-request")
    taken = await bot.stage(host, node, session, "next", {"name": "bot1", "image": image})
    check(note(taken)[0] == "error" and "name" in taken["command"]["form"].get_fields(), "a taken name went on")
    names, stage = [], await bot.stage(host, node, session, "next", {"name": "bot2", "image": image})
    given = {"memory": "64M", "disk": "data,1G", "note": "made by a bot"}
    while "next" in stage["command"]["actions"]:
        fields = stage["command"]["form"].get_fields()
        names += fields
        step = {name: value for name, value in given.items() if name in fields}
        stage = await bot.stage(host, node, session, "next", step)
    names += stage["command"]["form"].get_fields()
    check({"vcpus", "firmware", "disk", "network", "nic", "note"} <= set(names), f"asked for: {names}")
    said = stage["command"]["form"]["instructions"]
    check("name bot2" in said and "memory 64M" in said, f"the last step says: {said}")
    await bot.refused(bot.stage(host, node, session, "next", {}), "bad-request")
    back = await bot.stage(host, node, session, "prev", {"note": "made by a bot"})
    while "prev" in back["command"]["actions"]:
        back = await bot.stage(host, node, session, "prev")
    check(back["command"]["form"].get_values()["name"] == "bot2", "what was given is not kept")
    made = done(await bot.stage(host, node, session, "complete", {"name": "bot3"}))
    check(made["name"] == "bot3", f"it was made otherwise: {made}")
    machine = (host, "machine/bot3/status") if story.is_single else (f"bot3@{host}", "status")
    status = done(await bot.command(*machine))
    check((status["memory_mib"], status["note"]) == (64, "made by a bot"), f"it is otherwise: {status}")
    jid, verb = machine
    done(await bot.command(jid, verb.replace("status", "delete"), confirm=True))


async def go_forth_and_back(story):
    """A command with several stages: next, prev, the default action, cancel."""
    bot, node = story.bot, "machine/label"
    first = await bot.stage(story.host, node)
    session = first["command"]["sessionid"]
    check("next" in first["command"]["actions"], "the first of two stages has no next")
    second = await bot.stage(story.host, node, session, "next", {"machine": "bot1"})
    check("prev" in second["command"]["actions"], "the second stage has no way back")
    back = await bot.stage(story.host, node, session, "prev")
    check("machine" in back["command"]["form"].get_fields(), "prev does not lead to the first stage")
    again = await bot.stage(story.host, node, session, "execute", {"machine": "bot1"})
    check("add" in again["command"]["form"].get_fields(), "execute is not the default action")
    gone = await bot.stage(story.host, node, session, "cancel")
    check(gone["command"]["status"] == "canceled", "cancel does not cancel")
    await bot.refused(bot.stage(story.host, node, session, "complete", {"add": "x"}), "bad-request")
    done(await bot.command(story.host, node, {"machine": "bot1", "add": "prod"}))


async def start_and_be_told(story):
    """Its state comes by subscription, and by caps to who only wants it; and as presence."""
    bot = story.bot
    watcher = await story.join("viewer", wants_states=True)
    watcher.send_presence_subscription(pto=story.machine_contact)
    await watcher.sees(story.machine_contact, "after the subscription", lambda p: p["status"])
    if story.is_single:
        # An account does not ask to see people in turn; PEP tells whoever shows itself (XEP-0163 §4.3.2).
        watcher.send_presence(pto=story.contact)
    bot.send_presence_subscription(pto=story.machine_contact)
    if not story.is_single:
        await bot.sees(story.machine, "off", lambda p: p["show"] == "xa" and p["status"])
    await bot.plugin["xep_0060"].subscribe(story.machine_contact, STATE)
    done(await bot.command(story.machine, story.node("start")))
    for one in (bot, watcher):
        item = await one.learns("bot1", "running")
        check(int(item.get("generation")) > 0, "an item without a generation")
    if not story.is_single:
        await bot.sees(story.machine, "running", lambda p: p["type"] == "available" and p["status"] == "Running")
    status = done(await bot.command(story.machine, story.node("status")))
    check(status["state"] == "running", f"status: {status}")
    kept = await bot.plugin["xep_0060"].get_items(story.machine_contact, STATE)
    states = [item["payload"].get("state") for item in kept["pubsub"]["items"] if item["payload"] is not None]
    check("running" in states, f"the kept items say {states}")
    await watcher.refused(watcher.command(story.machine, story.node("kill"), confirm=True), *REFUSALS)
    watcher.disconnect()


async def talk(story):
    """Hello, help, a question, a slip; and a kill that is asked about first."""
    bot, chat = story.bot, story.machine_contact
    await bot.says(chat, "hello", "hello admin", "help")
    await bot.says(chat, "help", "kill")
    await bot.says(chat, "help start", "usage:")
    await bot.says(chat, story.words("status"), "bot1", "running")
    await bot.says(chat, story.words("stauts"), "did you mean status?")
    question = await bot.says(chat, story.words("kill"), "bot1", "yes")
    responses = question.xml.findall("{urn:xmpp:tmp:quick-response}response")
    check(responses and responses[0].get("value").startswith("yes"), "no answers are offered (XEP-0439)")
    await bot.says(chat, "no", "nothing was done")
    await bot.says(chat, "yes", "nothing to confirm")
    await bot.says(chat, story.words("kill"), "yes")
    await bot.says(chat, "yes", "bot1")
    await bot.learns("bot1", "stopped")
    await bot.says(chat, story.words("status"), "bot1", "off")


async def delete_and_take_back(story):
    """Nothing is deleted without a yes, and what was deleted can be taken back."""
    bot = story.bot
    stage = await bot.command(story.machine, story.node("delete"), confirm=False)
    check(note(stage)[0] == "warn", f"delete without a yes: {note(stage)}")
    done(await bot.command(story.machine, story.node("delete"), confirm=True))
    listed = done(await bot.command(story.host, "list"))
    check(not listed["machines"], f"it is still listed: {listed}")
    trash = done(await bot.command(story.host, "trash"))
    check("bot1" in [line["name"] for line in trash["machines"]], f"the trash: {trash}")
    done(await bot.command(story.host, "undelete", {"name": "bot1"}))
    status = done(await bot.command(story.machine, story.node("status")))
    check(status["labels"] == ["prod"], f"it came back otherwise: {status}")


async def ask_small_things(story):
    """Version, time, ping, vCard and avatar."""
    bot = story.bot
    version = await bot.plugin["xep_0092"].get_version(story.host)
    check("skerry" in version["software_version"]["name"].lower(), "the version does not name skerry")
    moment = await bot.plugin["xep_0202"].get_entity_time(story.host)
    # slixmpp 1.17 cannot read the time zone of RFC 3339, so the text itself is looked at.
    check(moment.xml.findtext(".//{urn:xmpp:time}utc"), "no time was told")
    await bot.plugin["xep_0199"].send_ping(story.host)
    if story.is_single:
        # An account's server answers for it, with what was published there.
        return
    card = (await bot.plugin["xep_0054"].get_vcard(story.machine_contact))["vcard_temp"]
    check(card["FN"] or card["NICKNAME"], "the vCard has no name")
    check(card["PHOTO"]["BINVAL"], "the vCard has no picture")
    metadata = await bot.plugin["xep_0060"].get_items(story.machine_contact, "urn:xmpp:avatar:metadata")
    ids = [item["id"] for item in metadata["pubsub"]["items"]]
    check(ids, "there is no avatar")
    picture = await bot.plugin["xep_0084"].retrieve_avatar(story.machine_contact, ids[0])
    data = picture["pubsub"]["items"]["item"]["avatar_data"]["value"]
    check(data.startswith(b"\x89PNG"), "the avatar is no PNG")


async def turn_people_away(story):
    """A stranger is refused politely, an operator may not create, a viewer may not start."""
    stranger = await story.join("stranger")
    text = await stranger.refused(stranger.command(story.machine, story.node("start")), *REFUSALS)
    print("  a stranger is told:", text)
    listed = (await stranger.plugin["xep_0030"].get_items(story.host))["disco_items"]["items"]
    check(not listed, f"a stranger sees {listed}")
    stranger.send_presence_subscription(pto=story.contact)
    await stranger.sees(story.contact, "a refusal", lambda p: p["type"] == "unsubscribed")
    await stranger.says(story.contact, "start bot1", "role")
    stranger.disconnect()
    operator = await story.join("operator")
    await operator.refused(operator.command(story.host, "create", {"name": "x"}), "forbidden")
    done(await operator.command(story.machine, story.node("start")))
    operator.disconnect()
    viewer = await story.join("viewer")
    text = await viewer.refused(viewer.command(story.machine, story.node("start")), "forbidden")
    print("  a viewer is told:", text)
    done(await viewer.command(story.machine, story.node("status")))
    viewer.disconnect()


STEPS = (find_the_host, create_by_form, fill_in_step_by_step, go_forth_and_back, start_and_be_told, talk,
         delete_and_take_back, ask_small_things, turn_people_away)


async def drive(lab):
    """The main job, through the eyes of a bot."""
    story = Story(lab)
    story.bot = await story.join("admin")
    for step in STEPS:
        try:
            await asyncio.wait_for(step(story), 5 * PATIENCE_S)
        except (Failed, IqError, asyncio.TimeoutError) as broken:
            raise Failed(f"{step.__name__}: {broken!r}") from broken
        print("held:", step.__doc__.split(";")[0].rstrip("."))
    story.bot.disconnect()


def main():
    """Reads lab.json and drives it."""
    with open(sys.argv[1], encoding="utf-8") as file:
        lab = json.load(file)
    try:
        asyncio.run(drive(lab))
    except Failed as broken:
        print("failed:", broken, file=sys.stderr)
        return 1
    print("every step held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
